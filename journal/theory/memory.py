"""Bytes of weights and KV cache, from the sizes of a model alone."""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

from journal.errors import SpecError
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS
from journal.theory.architecture import Architecture, parameters

# Bytes for one weight of a layer's matrices, its scales included. Embedding, head, norms, biases
# and routers stay in 16 bits (in 32 under fp32).
#   fp8            one byte; its scales, one for a channel or a tensor, are below 0.1%
#   awq, gptq      4 bits; each 128 share a scale of 16 bits and a zero point of 4
#                  (Lin et al. 2023, "AWQ"; Frantar et al. 2022, "GPTQ"; 128 is usual)
#   bitsandbytes   4 bits; each 64 share a scale of 32 bits (Dettmers et al. 2023, "QLoRA")
BYTES_PER_WEIGHT: Mapping[str, float] = MappingProxyType(
    {
        "fp32": 4.0,
        "fp16": 2.0,
        "fp8": 1.0,
        "awq": 0.5 + (2 + 0.5) / 128,
        "gptq": 0.5 + (2 + 0.5) / 128,
        "bitsandbytes": 0.5 + 4 / 64,
    }
)
DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
)


def weight_bytes(model: Architecture, precision: str = "fp16") -> int:
    """Bytes of the weights of `model` in a `precision` of BYTES_PER_WEIGHT, or in the packing of
    its checkpoint where `precision` names that. Raises SpecError where the architecture cannot be
    counted."""
    count = parameters(model)
    plain = 4 if precision == "fp32" else 2
    packed = round(count.linear * bytes_per_weight(model, precision))
    return packed + plain * (count.total - count.linear)


def bytes_per_weight(model: Architecture, precision: str) -> float:
    """Bytes for one weight of a layer's matrices, its share of the scales included: by the
    checkpoint's own bits and groups where `precision` is its packing and it states them, else by
    BYTES_PER_WEIGHT. Raises SpecError for a precision that neither knows."""
    if precision == model.quantisation and model.bits is not None:
        scales = 0.0 if model.group is None else (2 + model.bits / 8) / model.group
        return (
            BYTES_PER_WEIGHT[precision]
            if precision == "bitsandbytes" and model.bits == 4
            else model.bits / 8 + scales
        )
    if precision not in BYTES_PER_WEIGHT:
        raise SpecError(f"how many bytes a weight takes in {precision!r} is not known here")
    return BYTES_PER_WEIGHT[precision]


def kv_bytes_per_token(model: Architecture, element_bytes: float = 2) -> int:
    """Bytes of one token in the KV cache while all layers keep it: 2 (key and value) x layers x
    kv_heads x head_dim x element_bytes; with MLA layers x latent x element_bytes. `element_bytes`
    is 2 for 16 bits, 1 for an fp8 cache.

    Source: Shazeer 2019, "Fast Transformer Decoding"; MLA: DeepSeek-AI 2024, "DeepSeek-V2".
    """
    return round(model.layers * _layer_bytes(model, element_bytes))


def kv_bytes(model: Architecture, tokens: int, element_bytes: float = 2) -> int:
    """Bytes of the KV cache of one sequence of `tokens`. Layers with a sliding window keep its
    last tokens only (Beltagy et al. 2020, "Longformer"; Jiang et al. 2023, "Mistral 7B")."""
    kept = tokens if model.window is None else min(tokens, model.window)
    full = model.layers - model.windowed_layers
    positions = full * tokens + model.windowed_layers * kept
    return round(positions * _layer_bytes(model, element_bytes))


def tokens_that_fit(model: Architecture, pool_bytes: int, element_bytes: float = 2) -> int:
    """The number of tokens that a pool of `pool_bytes` holds, all sequences together; with a
    sliding window, long sequences leave room for more."""
    return max(0, pool_bytes) // kv_bytes_per_token(model, element_bytes)


def sequences_that_fit(
    model: Architecture, pool_bytes: int, tokens: int, element_bytes: float = 2
) -> int:
    """The number of sequences of `tokens` that a pool of `pool_bytes` holds, each in whole
    blocks."""
    in_blocks = ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
    return max(0, pool_bytes) // kv_bytes(model, in_blocks, element_bytes)


def longest_that_fits(
    model: Architecture, pool_bytes: int, sequences: int, element_bytes: float = 2
) -> int:
    """The length in tokens to which all of `sequences` can grow in a pool of `pool_bytes`, in
    whole blocks; at most `model.context`, where the config gives one."""
    share = max(0, pool_bytes) / sequences
    tokens = share / _layer_bytes(model, element_bytes) / model.layers
    full = model.layers - model.windowed_layers
    if model.window is not None and tokens > model.window:
        windows = model.windowed_layers * model.window * _layer_bytes(model, element_bytes)
        room = share - windows
        tokens = room / _layer_bytes(model, element_bytes) / full if full else float("inf")
    limit = tokens if model.context is None else min(tokens, model.context)
    return int(limit) // BLOCK_TOKENS * BLOCK_TOKENS


def _layer_bytes(model: Architecture, element_bytes: float) -> float:
    """Bytes of one token in the KV cache of one layer."""
    if model.latent is not None:
        return model.latent * element_bytes
    return 2 * model.kv_heads * model.head_dim * element_bytes
