"""The floor under latency: no server is faster than the memory and arithmetic of its GPU allow.

A decode step reads every weight and the KV cache of every sequence once, and multiplies; the
slower of the two bounds it. Measured times lie above the floor, since kernels reach neither peak,
and launch, sampling and scheduling come on top.

Sources: Williams et al. 2009, "Roofline"; Kaplan et al. 2020, "Scaling Laws for Neural Language
Models", 2.1 (2 FLOP for each weight and token); Pope et al. 2022, "Efficiently Scaling Transformer
Inference".
"""

from dataclasses import dataclass
from typing import Literal

from journal.theory.architecture import Architecture, matrix_weights, parameters
from journal.theory.gpu_table import GpuKind
from journal.theory.kv_types import Kv
from journal.theory.memory import bytes_per_weight, kv_bytes, weight_bytes

Bound = Literal["memory", "compute"]


@dataclass(frozen=True, slots=True)
class Floor:
    """A lower bound of a time in s: the larger of the time to read memory and that to compute."""

    memory_s: float
    compute_s: float

    @property
    def seconds(self) -> float:
        """The bound in s."""
        return max(self.memory_s, self.compute_s)

    @property
    def bound(self) -> Bound:
        """The side that sets the bound."""
        return "memory" if self.memory_s >= self.compute_s else "compute"


def decode_floor(
    model: Architecture,
    gpu: GpuKind,
    *,
    batch: int,
    context: int,
    precision: str = "fp16",
    kv_element_bytes: Kv = 2,
) -> Floor:
    """The least time of one decode step for `batch` sequences of `context` tokens each: a floor
    under TPOT and ITL. Where a router picks experts, the step reads those that its `batch` tokens
    are expected to pick. Raises SpecError where the parameters cannot be counted."""
    count = parameters(model)
    cached = batch * kv_bytes(model, context, kv_element_bytes)
    read = _weights_read(model, precision, tokens=batch) + cached
    flops = batch * (2 * (count.used + _head(model)) + _attention_flops(model, context))
    return Floor(read / gpu.bandwidth, flops / _flops_per_s(gpu, precision))


def prefill_floor(
    model: Architecture,
    gpu: GpuKind,
    *,
    prompt_tokens: int,
    batch: int = 1,
    precision: str = "fp16",
) -> Floor:
    """The least time to read `batch` prompts of `prompt_tokens` at once: a floor under TTFT. The
    head is applied to the last token of each prompt only; attention to earlier tokens is half a
    square. Where a router picks experts, the prompts read those that all their tokens are expected
    to pick. Raises SpecError where the parameters cannot be counted."""
    count = parameters(model)
    tokens = batch * prompt_tokens
    attention = batch * prompt_tokens * _attention_flops(model, prompt_tokens) / 2
    flops = 2 * tokens * count.used + attention + 2 * batch * _head(model)
    read = _weights_read(model, precision, tokens)
    return Floor(read / gpu.bandwidth, flops / _flops_per_s(gpu, precision))


def _weights_read(model: Architecture, precision: str, tokens: int) -> int:
    """The bytes of weights that one pass over `tokens` tokens reads: all but the rows of an untied
    embedding, and but the experts that no token picks.

    Of E experts, k for each token, n tokens are expected to pick E * (1 - (1 - k/E)^n) in each
    layer under even routing (the coupon collector's problem with draws of k: Stadje 1990, "The
    Collector's Problem with Group Drawings"; even routing is what the balancing loss of Fedus et
    al. 2021, "Switch Transformers", 2.2, trains for). Uneven routing reads fewer.
    """
    count = parameters(model)
    untouched = (1 - model.experts_used / model.experts) ** tokens
    experts_idle = round(matrix_weights(model.plan, "experts") * untouched)
    table = 0 if model.tied else count.embedding  # a pass reads only the rows of its tokens
    idle_bytes = round(experts_idle * bytes_per_weight(model, precision)) + 2 * table
    return weight_bytes(model, precision) - idle_bytes


def _head(model: Architecture) -> int:
    return model.vocabulary * model.hidden


def _attention_flops(model: Architecture, context: int) -> float:
    """FLOP of one token's attention to `context` tokens: 2 for each product with a key and 2 with
    a value, over all heads; layers with a sliding window attend to no more than the window."""
    positions = sum(
        context if cache.window is None else min(context, cache.window)
        for cache in model.caches
        if cache.kind != "index"
    )
    return 4 * model.heads * model.head_dim * positions


def _flops_per_s(gpu: GpuKind, precision: str) -> float:
    """FLOP/s at `precision`: FP8 weights are multiplied in FP8 where the GPU can, 4-bit weights
    are unpacked to 16 bits."""
    if precision == "fp8" and gpu.fp8_flops is not None:
        return gpu.fp8_flops
    return gpu.fp16_flops
