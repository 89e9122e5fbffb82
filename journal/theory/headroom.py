"""The room that a model leaves on a GPU: precisions, contexts and batches that fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION, batch_sizes
from journal.theory.architecture import Architecture
from journal.theory.gpu_table import GpuKind
from journal.theory.kv_types import Kv
from journal.theory.memory import (
    BYTES_PER_WEIGHT,
    kv_bytes,
    longest_that_fits,
    sequences_that_fit,
    tokens_that_fit,
)
from journal.theory.overhead import (
    DRIVER_BYTES,
    ByteRange,
    LargestBatch,
    overhead_bytes,
    pool_range,
)
from journal.theory.parallelism import Piece, piece_weight_bytes, pieces
from journal.units import data_size

PRECISIONS = ("fp16", "fp8", "awq", "gptq")
WORDS = {
    "fp32": "32-bit checkpoint",
    "fp16": "16-bit checkpoint",
    "fp8": "FP8 build",
    "awq": "AWQ build (4 bits)",
    "gptq": "GPTQ build (4 bits)",
    "bitsandbytes": "bitsandbytes build (4 bits)",
    "mxfp4": "MXFP4 build (4 bits)",
    "gguf": "GGUF file",
    "modelopt": "ModelOpt build",
    "compressed-tensors": "compressed-tensors build",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAs:
    """How an engine is to serve a model: the `share` of the memory that it may use (0 to 1), its
    limits (None: vLLM's own for that GPU), the type of its KV cache, its version as (major, minor)
    (None: the newest known), and whether it captures no graphs. `correction_bytes` is what engines
    on this host took beyond the estimate beside weights and pool."""

    share: float = GPU_MEMORY_UTILIZATION
    sequences: int | None = None
    batched_tokens: int | None = None
    kv: Kv = 2
    version: tuple[int, int] | None = None
    eager: bool = False
    correction_bytes: float = 0.0

    def load(self, gpu_name: str, memory_bytes: float) -> LargestBatch:
        """The largest batch on a GPU of that name and memory."""
        tokens, sequences = batch_sizes(gpu_name, memory_bytes)
        return LargestBatch(
            batched_tokens=tokens if self.batched_tokens is None else self.batched_tokens,
            sequences=sequences if self.sequences is None else self.sequences,
            version=self.version,
            eager=self.eager,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One precision on one GPU, or on the fullest of several that share the model.

    `overhead` is what the engine takes beside weights and KV cache, and `pool_bytes` to
    `pool_most_bytes` the room that is left for the cache (negative: the weights do not fit
    themselves), `kv_bytes` the part of it that the batch needs. `tokens` to `tokens_most` is the
    size of that pool as vLLM counts it, None where it does not count in tokens. `sequences` is the
    largest batch of that context that fits, and `longest` the length in tokens to which a batch of
    the asked size can grow, both by the least pool, `sequences_most` and `longest_most` by the
    largest. `needed_bytes` is the smallest memory of a GPU on which all fits. `runs` says whether
    engines have kernels for the precision on this GPU."""

    precision: str
    weight_bytes: int
    kv_bytes: int
    overhead: ByteRange
    pool_bytes: int
    pool_most_bytes: int
    needed_bytes: int
    sequences: int
    sequences_most: int
    longest: int
    longest_most: int
    tokens: int | None = None
    tokens_most: int | None = None
    runs: bool = True

    @property
    def fits(self) -> bool:
        """Whether engines run the precision and its KV cache has room even in the least pool."""
        return self.runs and self.kv_bytes <= self.pool_bytes

    @property
    def may_fit(self) -> bool:
        """Whether the KV cache has room in the largest pool."""
        return self.runs and self.kv_bytes <= self.pool_most_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The `choices`, the least packed first, for `batch` sequences of `context` tokens on
    `gpu_count` GPUs of `vram_bytes` each, with the largest batch (`load`) of the engine. `advice`
    is a sentence: the choice to take, or the change to make where nothing fits."""

    vram_bytes: int
    gpu_count: int
    context: int
    batch: int
    choices: tuple[Choice, ...]
    load: LargestBatch
    advice: str

    @property
    def best(self) -> Choice | None:
        """The least packed choice that fits; None where none does."""
        return next((choice for choice in self.choices if choice.fits), None)


WeightsOf = Callable[[Piece, str], int]


def headroom(
    model: Architecture,
    on: GpuKind | int,
    *,
    context: int,
    batch: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    served: ServedAs | None = None,
    name: str = "",
    stored: WeightsOf | None = None,
) -> Headroom:
    """The precisions in which `model` fits on a GPU of the kind `on` (or of so many bytes, called
    `name`) with `batch` sequences of `context` tokens, as it is `served`. Several GPUs,
    tensor_parallel x pipeline_parallel, are judged by the fullest. A model that is packed already,
    or whose checkpoint gives the weights of each piece (`stored`), has its own precision as its
    only choice. Raises SpecError for an architecture that cannot be counted, and for a type of KV
    cache without a layout for it."""
    served = ServedAs() if served is None else served
    vram_bytes = on.memory_bytes if isinstance(on, GpuKind) else on
    load = served.load(on.name if isinstance(on, GpuKind) else name, vram_bytes)
    without = on.without if isinstance(on, GpuKind) else ()
    cut = tuple(pieces(model, tensor_parallel, pipeline_parallel))
    weights = stored or (lambda piece, precision: piece_weight_bytes(model, piece, precision))
    choices = []
    for precision in _precisions(model, stored is not None):
        by_piece = [
            _choice(model, piece, precision, vram_bytes, context, batch, served, load, weights)
            for piece in cut
        ]
        choices.append(replace(_of_all(by_piece), runs=precision not in without))
    gpu_count = tensor_parallel * pipeline_parallel
    return Headroom(
        vram_bytes=vram_bytes,
        gpu_count=gpu_count,
        context=context,
        batch=batch,
        choices=tuple(choices),
        load=load,
        advice=_advice(choices, vram_bytes, gpu_count, context, batch),
    )


def _precisions(model: Architecture, stored: bool) -> tuple[str, ...]:
    packed = model.quantisation
    if packed is not None and (stored or model.bits is not None or packed in BYTES_PER_WEIGHT):
        return (packed,)
    if stored and model.counts is None:
        return ("fp16",)
    return PRECISIONS


def _of_all(by_piece: Sequence[Choice]) -> Choice:
    """The choice on the fullest GPU, with the sizes to which all of them agree."""
    fullest = max(by_piece, key=lambda choice: choice.needed_bytes)
    least, most = ([c.tokens for c in by_piece], [c.tokens_most for c in by_piece])
    return replace(
        fullest,
        sequences=min(choice.sequences for choice in by_piece),
        sequences_most=min(choice.sequences_most for choice in by_piece),
        longest=min(choice.longest for choice in by_piece),
        longest_most=min(choice.longest_most for choice in by_piece),
        tokens=min((n for n in least if n is not None), default=None),
        tokens_most=min((n for n in most if n is not None), default=None),
    )


def _choice(
    model: Architecture,
    piece: Piece,
    precision: str,
    vram_bytes: int,
    context: int,
    batch: int,
    served: ServedAs,
    load: LargestBatch,
    weights_of: WeightsOf,
) -> Choice:
    weights, kv, cut = weights_of(piece, precision), served.kv, load.batched_tokens
    cache_bytes = batch * kv_bytes(piece.cache, context, kv, batched_tokens=cut)
    usable = (vram_bytes - DRIVER_BYTES) * served.share
    beside = overhead_bytes(model, piece, load) + served.correction_bytes
    pool = pool_range(usable - weights, beside)
    overhead = ByteRange(round(usable - weights - pool.high), round(usable - weights - pool.low))
    longest_context = model.context or context
    tokens = [
        tokens_that_fit(piece.cache, end, kv, context=longest_context, batched_tokens=cut)
        for end in (pool.low, pool.high)
    ]
    sequences = [
        sequences_that_fit(piece.cache, end, context, kv, batched_tokens=cut)
        for end in (pool.low, pool.high)
    ]
    longest = [
        longest_that_fits(piece.cache, end, batch, kv, batched_tokens=cut)
        for end in (pool.low, pool.high)
    ]
    needed = (weights + cache_bytes + overhead.high) / served.share + DRIVER_BYTES
    return Choice(
        precision=precision,
        weight_bytes=weights,
        kv_bytes=cache_bytes,
        overhead=overhead,
        pool_bytes=pool.low,
        pool_most_bytes=pool.high,
        needed_bytes=round(needed),
        sequences=sequences[0],
        sequences_most=sequences[1],
        longest=longest[0],
        longest_most=longest[1],
        tokens=tokens[0],
        tokens_most=tokens[1],
    )


def build_name(precision: str) -> str:
    """A precision in words, such as "AWQ build (4 bits)"."""
    return WORDS.get(precision, f"{precision} build")


def _advice(
    choices: Sequence[Choice], vram_bytes: int, gpu_count: int, context: int, batch: int
) -> str:
    load = f"{batch} x {context:,} tokens"
    of_each = " of each GPU" if gpu_count > 1 else ""
    first, last = choices[0], min(choices, key=lambda choice: choice.weight_bytes)
    perhaps = next((choice for choice in choices if choice.may_fit), None)
    best = next((choice for choice in choices if choice.fits), None)
    if best is first:
        return (
            f"Take the {build_name(first.precision)}: {load} fit, and there is room for a batch of"
            f" {first.sequences}."
        )
    if best is not None:
        return (
            f"Take the {build_name(best.precision)}: {load} fit. The {build_name(first.precision)}"
            f" needs {data_size(first.needed_bytes)}{of_each} for them."
        )
    if perhaps is not None:
        return (
            f"{load} may just fit with the {build_name(perhaps.precision)}: the room for the KV"
            f" cache is {data_size(perhaps.pool_bytes)} to {data_size(perhaps.pool_most_bytes)},"
            f" and they need {data_size(perhaps.kv_bytes)}."
        )
    if last.longest > 0:
        return (
            f"{load} do not fit. With the {build_name(last.precision)} a batch of {batch} may grow"
            f" to {last.longest:,} tokens each; of {context:,} tokens it holds {last.sequences}."
        )
    return (
        f"It does not fit: even the {build_name(last.precision)} needs"
        f" {data_size(last.needed_bytes)}{of_each} for {load},"
        f" and there are {data_size(vram_bytes)}."
    )
