"""The room that a model leaves on a GPU: precisions, contexts and batches that fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
from journal.theory.architecture import Architecture
from journal.theory.gpu_table import GpuKind
from journal.theory.memory import BYTES_PER_WEIGHT, kv_bytes, longest_that_fits, sequences_that_fit
from journal.theory.parallelism import Piece, piece_weight_bytes, pieces
from journal.units import data_size

GIB = 2**30
# Activations, CUDA graphs and the driver's memory for a process. An assumption: for models of
# 7 to 8 billion parameters vLLM's start-up lines give 1.2 to 1.4 GiB of activations, 0.1 to
# 0.2 GiB outside torch and about half a GiB of graphs.
OVERHEAD_BYTES = 2 * GIB
PRECISIONS = ("fp16", "fp8", "awq", "gptq")
WORDS = {
    "fp32": "32-bit checkpoint",
    "fp16": "16-bit checkpoint",
    "fp8": "FP8 build",
    "awq": "AWQ build (4 bits)",
    "gptq": "GPTQ build (4 bits)",
    "bitsandbytes": "bitsandbytes build (4 bits)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One precision on one GPU, or on the fullest of several that share the model. `pool_bytes`
    is the room for the KV cache beside weights and overhead (negative: those do not fit
    themselves), `kv_bytes` the part of it that the batch needs. `sequences` is the largest batch
    of that context that fits, and `longest` the length in tokens to which a batch of the asked
    size can grow. `needed_bytes` is the smallest memory of a GPU on which all fits. `runs` says
    whether engines have kernels for the precision on this GPU."""

    precision: str
    weight_bytes: int
    kv_bytes: int
    pool_bytes: int
    needed_bytes: int
    sequences: int
    longest: int
    runs: bool = True

    @property
    def fits(self) -> bool:
        """Whether engines run the precision and its KV cache has room."""
        return self.runs and self.kv_bytes <= self.pool_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The `choices`, the least packed first, for `batch` sequences of `context` tokens on
    `gpu_count` GPUs of `vram_bytes` each. `advice` is a sentence: the choice to take, or the
    change to make where nothing fits."""

    vram_bytes: int
    gpu_count: int
    context: int
    batch: int
    choices: tuple[Choice, ...]
    advice: str

    @property
    def best(self) -> Choice | None:
        """The least packed choice that fits; None where none does."""
        return next((choice for choice in self.choices if choice.fits), None)


def headroom(
    model: Architecture,
    on: GpuKind | int,
    *,
    context: int,
    batch: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    share: float = GPU_MEMORY_UTILIZATION,
) -> Headroom:
    """The precisions in which `model` fits on a GPU of the kind `on` (or of so many bytes) with
    `batch` sequences of `context` tokens, where the engine may use `share` of the memory (0 to
    1). Several GPUs, tensor_parallel x pipeline_parallel, are judged by the fullest. A model that
    is packed already has its own precision as the only choice. Raises SpecError for an
    architecture that cannot be counted."""
    vram_bytes = on.memory_bytes if isinstance(on, GpuKind) else on
    packed = model.quantisation
    known = model.bits is not None or packed in BYTES_PER_WEIGHT
    precisions = (packed,) if packed is not None and known else PRECISIONS
    without = on.without if isinstance(on, GpuKind) else ()
    cut = tuple(pieces(model, tensor_parallel, pipeline_parallel))
    choices = []
    for precision in precisions:
        by_piece = [
            _choice(model, piece, precision, vram_bytes, context, batch, share) for piece in cut
        ]
        fullest = max(by_piece, key=lambda choice: choice.needed_bytes)
        choices.append(
            replace(
                fullest,
                sequences=min(choice.sequences for choice in by_piece),
                longest=min(choice.longest for choice in by_piece),
                runs=precision not in without,
            )
        )
    gpu_count = tensor_parallel * pipeline_parallel
    return Headroom(
        vram_bytes=vram_bytes,
        gpu_count=gpu_count,
        context=context,
        batch=batch,
        choices=tuple(choices),
        advice=_advice(choices, vram_bytes, gpu_count, context, batch),
    )


def _choice(
    model: Architecture,
    piece: Piece,
    precision: str,
    vram_bytes: int,
    context: int,
    batch: int,
    share: float,
) -> Choice:
    weights = piece_weight_bytes(model, piece, precision)
    cache_bytes = batch * kv_bytes(piece.cache, context)
    fixed = weights + OVERHEAD_BYTES
    pool = int(vram_bytes * share) - fixed
    return Choice(
        precision=precision,
        weight_bytes=weights,
        kv_bytes=cache_bytes,
        pool_bytes=pool,
        needed_bytes=round((fixed + cache_bytes) / share),
        sequences=sequences_that_fit(piece.cache, pool, context),
        longest=longest_that_fits(piece.cache, pool, batch),
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
