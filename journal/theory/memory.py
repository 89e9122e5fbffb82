"""Bytes of weights and KV cache, from the sizes of a model alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType

from journal.errors import SpecError
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS
from journal.theory.architecture import Architecture, parameters
from journal.theory.kv_types import Kv, KvType, cached_bytes
from journal.theory.layers import Cache, Layer

# Bytes for one weight of a layer's matrices, its scales included. Embedding, head, norms, biases
# and routers stay in 16 bits (in 32 under fp32).
#   fp8            one byte; its scales, one for a channel or a tensor, are below 0.1%
#   awq, gptq      4 bits; each 128 share a scale of 16 bits and a zero point of 4
#                  (Lin et al. 2023, "AWQ"; Frantar et al. 2022, "GPTQ"; 128 is usual)
#   bitsandbytes   4 bits; each 64 share a scale of 32 bits (Dettmers et al. 2023, "QLoRA")
#   nvfp4, mxfp4   4 bits; each 16 or 32 share a scale of 8 (OCP Microscaling Formats 1.0, 2023)
#   gguf           by llama.cpp's blocks, of which an engine keeps the file's own
BYTES_PER_WEIGHT: Mapping[str, float] = MappingProxyType(
    {
        "fp32": 4.0,
        "fp16": 2.0,
        "fp8": 1.0,
        "awq": 0.5 + (2 + 0.5) / 128,
        "gptq": 0.5 + (2 + 0.5) / 128,
        "bitsandbytes": 0.5 + 4 / 64,
        "nvfp4": 0.5 + 1 / 16,
        "mxfp4": 0.5 + 1 / 32,
        "int8": 1.0,
    }
)
DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
)
# Engines pad the experts of gpt-oss (2,880 wide) for their kernels: to 3,072 by 2,944 with Marlin,
# to 3,072 in one direction with Triton. The middle of both is within 1.5% of either.
PADDED = {("gpt_oss", "mxfp4"): 1.08}
ENDLESS = 2**24  # tokens of a sequence where a config sets no limit
MIXED_FROM = 1.5  # groups take the size of the larger kind where it is not much larger


def weight_bytes(model: Architecture, precision: str = "fp16") -> int:
    """Bytes of the weights of `model` in a `precision` of BYTES_PER_WEIGHT, or in the packing of
    its checkpoint where `precision` names that. Raises SpecError where the architecture cannot be
    counted."""
    count = parameters(model)
    layers = sum(
        matrix_bytes(model, layer, number, precision) for number, layer in enumerate(model.plan)
    )
    return round(layers + plain_bytes(precision) * (count.total - count.linear))


def plain_bytes(precision: str) -> int:
    """Bytes of a weight that no packing touches."""
    return 4 if precision == "fp32" else 2


def matrix_bytes(model: Architecture, layer: Layer, number: int, precision: str) -> float:
    """Bytes of the matrices of one layer, the `number`th: in the checkpoint's own packing, which
    may leave some of them as they are, or all of them in `precision`."""
    packed = bytes_per_weight(model, precision)
    if model.packing is None or precision != model.packing.name:
        return packed * sum(part.weights for part in layer.matrices)
    padding = PADDED.get((model.kind, precision), 1.0)
    return sum(
        part.weights * (packed * padding if model.packing.packs(part.place, number) else 2)
        for part in layer.matrices
    )


def bytes_per_weight(model: Architecture, precision: str) -> float:
    """Bytes for one weight of a layer's matrices, its share of the scales included: by the
    checkpoint's own bits and groups where `precision` is its packing and it states them, else by
    BYTES_PER_WEIGHT. Raises SpecError for a precision that neither knows."""
    own = model.packing
    if own is not None and precision == own.name and own.weight_bytes is not None:
        return own.weight_bytes
    if precision not in BYTES_PER_WEIGHT:
        raise SpecError(f"how many bytes a weight takes in {precision!r} is not known here")
    return BYTES_PER_WEIGHT[precision]


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that keep the same: `layers` of them, those included that an engine adds to make its
    groups of layers equal. A token takes `token_bytes` in each, and of a long sequence `window`
    tokens are kept (None: all)."""

    cache: Cache
    layers: int
    token_bytes: float


def groups(model: Architecture, kv: Kv = 2) -> tuple[Group, ...]:
    """The groups of the layers of `model` by what they keep. Where layers differ, an engine divides
    them into groups of one size and pads the last of each kind (vLLM's
    _get_kv_cache_groups_uniform_page_size). Raises SpecError where `kv` has no layout for them."""
    counts = model.cache_counts
    kinds = {(cache.kind, cache.window): 0 for cache in counts if cache.kind != "index"}
    for cache, number in counts.items():
        if cache.kind != "index":
            kinds[cache.kind, cache.window] += number
    size = _group_size([*kinds.values(), model.states[0]])
    return tuple(_groups(counts, kv, size))


def _groups(counts: Mapping[Cache, int], kv: Kv, size: int) -> Iterator[Group]:
    for cache, number in counts.items():
        token = cached_bytes(cache, kv)
        if token is None:
            name = kv.name if isinstance(kv, KvType) else kv
            raise SpecError(f"a KV cache in {name} is not known for layers of this kind")
        padded = number if cache.kind == "index" else ceil(number / size) * size
        yield Group(cache, padded, token)


def _group_size(counts: list[int]) -> int:
    """The number of layers in each group of a model whose kinds of layers have those `counts`."""
    present = [count for count in counts if count]
    if len(present) < 2:
        return 1
    least, most = min(present), max(present)
    return most if most < MIXED_FROM * least else least


def kv_bytes_per_token(model: Architecture, element_bytes: Kv = 2) -> int:
    """Bytes of one token in the KV cache while all layers keep it: 2 (key and value) x layers x
    kv_heads x head_dim x element_bytes; with MLA layers x latent x element_bytes. `element_bytes`
    is 2 for 16 bits, 1 for an fp8 cache, or one of KV_TYPES. Layers that an engine adds to pad its
    groups count; a state of constant size and what is kept of an encoder do not.

    Source: Shazeer 2019, "Fast Transformer Decoding"; MLA: DeepSeek-AI 2024, "DeepSeek-V2".
    """
    return round(
        sum(
            group.layers * group.token_bytes
            for group in groups(model, element_bytes)
            if group.cache.kind != "cross"
        )
    )


def kv_bytes(
    model: Architecture, tokens: int, element_bytes: Kv = 2, *, batched_tokens: int = 0
) -> int:
    """Bytes of the KV cache of one sequence of `tokens`, its state of constant size included.
    Layers with a sliding window keep its last tokens only (Beltagy et al. 2020, "Longformer"; Jiang
    et al. 2023, "Mistral 7B"); while a prompt is read, up to `batched_tokens` beside them."""
    kept = sum(
        group.layers * group.token_bytes * _kept(group.cache, tokens, batched_tokens)
        for group in groups(model, element_bytes)
    )
    return round(kept) + held_state_bytes(model, element_bytes)


def _kept(cache: Cache, tokens: int, batched_tokens: int) -> int:
    if cache.window is None:
        return tokens
    if cache.kind == "cross":
        return cache.window
    return min(tokens, cache.window + batched_tokens)


def held_state_bytes(model: Architecture, element_bytes: Kv = 2) -> int:
    """Bytes that one sequence takes for its state, however long it is. An engine keeps a state in a
    block of its KV cache, which it makes large enough: each state takes whole blocks of 16
    tokens."""
    layers, biggest = model.states
    if not layers:
        return 0
    tokens = [g.token_bytes for g in groups(model, element_bytes) if g.cache.kind == "full"]
    unit = BLOCK_TOKENS * max(tokens, default=0)
    page = ceil(biggest / unit) * unit if unit else biggest
    full = sum(number for c, number in model.cache_counts.items() if c.kind == "full")
    size = _group_size([full, layers])
    return round(ceil(layers / size) * size * page)


def tokens_that_fit(
    model: Architecture,
    pool_bytes: int,
    element_bytes: Kv = 2,
    *,
    context: int | None = None,
    batched_tokens: int = 0,
) -> int | None:
    """The number of tokens that a pool of `pool_bytes` holds, all sequences together. Where layers
    keep different spans the number depends on the sequences: with `context`, those of that length
    (as vLLM counts it since 0.20), else while all layers keep all. None where the cache does not
    grow with the tokens, or is not known."""
    if context is not None and model.mixed:
        each = kv_bytes(model, context, element_bytes, batched_tokens=batched_tokens)
        return int(max(0, pool_bytes) / each * context) if each else None
    token = kv_bytes_per_token(model, element_bytes)
    return max(0, pool_bytes) // token if token else None


def sequences_that_fit(
    model: Architecture,
    pool_bytes: int,
    tokens: int,
    element_bytes: Kv = 2,
    *,
    batched_tokens: int = 0,
) -> int:
    """The number of sequences of `tokens` that a pool of `pool_bytes` holds, each in whole
    blocks."""
    in_blocks = ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
    each = kv_bytes(model, in_blocks, element_bytes, batched_tokens=batched_tokens)
    return max(0, pool_bytes) // each if each else 0


def longest_that_fits(
    model: Architecture,
    pool_bytes: int,
    sequences: int,
    element_bytes: Kv = 2,
    *,
    batched_tokens: int = 0,
) -> int:
    """The length in tokens to which all of `sequences` can grow in a pool of `pool_bytes`, in
    whole blocks; at most `model.context`, where the config gives one."""
    share = max(0, pool_bytes) / sequences
    limit = model.context or ENDLESS
    low, high = 0, limit // BLOCK_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        size = kv_bytes(model, middle * BLOCK_TOKENS, element_bytes, batched_tokens=batched_tokens)
        low, high = (middle, high) if size <= share else (low, middle - 1)
    return low * BLOCK_TOKENS
