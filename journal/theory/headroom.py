"""Does a model fit on a card, in which precision, at which context and batch? By arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
from journal.theory.architecture import Architecture
from journal.theory.gpu_table import Card
from journal.theory.memory import BYTES_PER_WEIGHT, kv_bytes, longest_that_fits, sequences_that_fit
from journal.theory.parallelism import Piece, piece_weight_bytes, pieces
from journal.units import data_size

GIB = 2**30
# Activations, CUDA graphs and what the driver keeps for a process. An assumption: for models of
# 7 to 8 billion parameters vLLM's start-up lines speak of 1.2 to 1.4 GiB of activations, 0.1 to
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
    """One precision on one card, or on the fullest of several that share the model. `pool_bytes`
    is what weights and overhead leave there for the KV cache (negative: they do not fit
    themselves), `kv_bytes` what the asked `batch` sequences of `context` tokens need of it.
    `sequences` of that context fit, and a batch of that size may grow to `longest` tokens each.
    `needed_bytes` is the smallest memory of a card on which all fits. `runs`: engines have kernels
    for the precision on this card."""

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
        return self.runs and self.kv_bytes <= self.pool_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The `choices`, the least packed first; `best` is the first that fits; `advice` says in a
    sentence what to take, or what to change when nothing fits. `vram_bytes` is that of each of
    the `cards`."""

    vram_bytes: int
    cards: int
    context: int
    batch: int
    choices: tuple[Choice, ...]
    advice: str

    @property
    def best(self) -> Choice | None:
        return next((choice for choice in self.choices if choice.fits), None)


def fit(
    model: Architecture,
    on: Card | int,
    *,
    context: int,
    batch: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    share: float = GPU_MEMORY_UTILIZATION,
) -> Fit:
    """What fits on a card like `on` (or of so many bytes), of which the engine may use `share`,
    for `batch` sequences of `context` tokens; or on tensor_parallel x pipeline_parallel of them,
    counted for the fullest. A model that is packed already is reckoned as it is. Raises SpecError
    for an architecture that cannot be counted."""
    vram_bytes = on.memory_bytes if isinstance(on, Card) else on
    packed = model.quantisation
    known = model.bits is not None or packed in BYTES_PER_WEIGHT
    precisions = (packed,) if packed is not None and known else PRECISIONS
    without = on.without if isinstance(on, Card) else ()
    cut = tuple(pieces(model, tensor_parallel, pipeline_parallel))
    choices = []
    for precision in precisions:
        each = [_choice(model, one, precision, vram_bytes, context, batch, share) for one in cut]
        fullest = max(each, key=lambda choice: choice.needed_bytes)
        choices.append(
            replace(
                fullest,
                sequences=min(choice.sequences for choice in each),
                longest=min(choice.longest for choice in each),
                runs=precision not in without,
            )
        )
    cards = tensor_parallel * pipeline_parallel
    return Fit(
        vram_bytes=vram_bytes,
        cards=cards,
        context=context,
        batch=batch,
        choices=tuple(choices),
        advice=_advice(choices, vram_bytes, cards, context, batch),
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
    wanted = batch * kv_bytes(piece.cache, context)
    fixed = weights + OVERHEAD_BYTES
    pool = int(vram_bytes * share) - fixed
    return Choice(
        precision=precision,
        weight_bytes=weights,
        kv_bytes=wanted,
        pool_bytes=pool,
        needed_bytes=round((fixed + wanted) / share),
        sequences=sequences_that_fit(piece.cache, pool, context),
        longest=longest_that_fits(piece.cache, pool, batch),
    )


def words(precision: str) -> str:
    """A precision as people say it."""
    return WORDS.get(precision, f"{precision} build")


def _advice(
    choices: Sequence[Choice], vram_bytes: int, cards: int, context: int, batch: int
) -> str:
    asked = f"{batch} x {context:,} tokens"
    each = " of each card" if cards > 1 else ""
    first, last = choices[0], min(choices, key=lambda choice: choice.weight_bytes)
    best = next((choice for choice in choices if choice.fits), None)
    if best is first:
        return (
            f"Take the {words(first.precision)}: {asked} fit, and there is room for a batch of"
            f" {first.sequences}."
        )
    if best is not None:
        return (
            f"Take the {words(best.precision)}: {asked} fit. The {words(first.precision)} needs"
            f" {data_size(first.needed_bytes)}{each} for them."
        )
    if last.longest > 0:
        return (
            f"{asked} do not fit. With the {words(last.precision)} a batch of {batch} may grow to"
            f" {last.longest:,} tokens each; of {context:,} tokens it holds {last.sequences}."
        )
    return (
        f"It does not fit: even the {words(last.precision)} needs {data_size(last.needed_bytes)}"
        f"{each} for {asked}, and there are {data_size(vram_bytes)}."
    )
