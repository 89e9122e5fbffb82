"""The memory that an engine takes beside weights and KV pool, as a range.

vLLM profiles a step with its largest batch when it starts: what the step takes at its peak, what
the driver and the libraries hold and, since 0.21, an estimate of the CUDA graphs are kept free, and
the pool gets the rest. The peak is that of the sampler, which sorts the logits of all sequences, or
that of the widest layer. Its sizes were read from vLLM's profile_run; the constants below are set
by public reports (docs/accuracy.md, which says how often the range was right).
"""

from dataclasses import dataclass

from journal.theory.architecture import Architecture
from journal.theory.parallelism import Piece

GIB = 2**30
# A total that engines see is below the one of nvidia-smi: 0.44 to 0.75 GiB of it on nine kinds.
DRIVER_BYTES = GIB // 2
# Bytes that the sampler takes at its peak for each logit: several copies in 32 bits and the
# indices of a sort in 64; fewer, and divided over the GPUs of a stage, in newer engines.
LOGIT_BYTES_BEFORE, LOGIT_BYTES = 32, 16
SAMPLER_SINCE, GRAPHS_SINCE, SAMPLED_SINCE = (0, 17), (0, 21), (0, 8)
FIRST_BATCH = 8192  # tokens of a batch in 0.7 whatever the GPU
LEAST_HALF_BYTES = 0.5 * GIB  # of the range, to each side
HALF = 0.35  # of the estimate, to each side
MOST_OF_POOL = 0.074  # of the pool, to each side: reports were within it in 9 of 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestBatch:
    """The largest batch that an engine allows: `batched_tokens` of a step and `sequences` at once.
    `version` of vLLM is (major, minor); None: the newest known. `eager`: it captures no graphs."""

    batched_tokens: int
    sequences: int
    version: tuple[int, int] | None = None
    eager: bool = False

    def since(self, version: tuple[int, int]) -> bool:
        """Whether the engine is of that version or a newer one."""
        return self.version is None or self.version >= version


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an engine takes beside weights, pool and the peak of its activations, in bytes: `base`
    for libraries beside torch and workspaces of kernels, `shared` for buffers of NCCL and of the
    all-reduce, `stage` for what stages hand on, `graphs` for the estimate of the CUDA graphs that
    is kept free, and `tower` for each parameter of a tower while it reads its largest images."""

    base: float
    shared: float
    stage: float
    graphs: float
    tower: float


FITTED = Terms(
    base=0.3 * GIB, shared=0.2 * GIB, stage=0.1 * GIB, graphs=0.3 * GIB, tower=4.0
)  # to public reports


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A size in bytes that lies between `low` and `high`."""

    low: int
    high: int

    @property
    def middle(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2


def overhead_bytes(
    model: Architecture, piece: Piece, load: LargestBatch, terms: Terms = FITTED
) -> float:
    """Bytes that an engine takes on one GPU of a stage beside weights and pool, as an estimate by
    `terms`."""
    width = piece.tensor_parallel
    total = terms.base + activation_bytes(model, piece, load)
    if width > 1:
        total += terms.shared
    if not (piece.first and piece.last):
        total += terms.stage
    if load.since(GRAPHS_SINCE) and not load.eager:
        total += terms.graphs
    if piece.first and model.counts is not None:
        total += terms.tower * model.counts.tower / width
    return total


def pool_range(room_bytes: float, overhead: float) -> ByteRange:
    """The KV pool that is left of `room_bytes` beside an `overhead` estimated so."""
    pool = room_bytes - overhead
    half = max(LEAST_HALF_BYTES, HALF * overhead)
    if pool > 0:
        half = min(half, MOST_OF_POOL * pool)
    return ByteRange(round(pool - half), round(pool + half))


def activation_bytes(model: Architecture, piece: Piece, load: LargestBatch) -> float:
    """Bytes of a profiled step at its peak: the states of all its tokens, and beside them the
    widest layer or the sampler, which only the last stage runs."""
    tokens, width = load.batched_tokens, piece.tensor_parallel
    states = 3 * 2 * tokens * model.hidden
    inner = model.intermediate / width
    if model.experts > 1:
        inner = model.experts_used * (_expert_width(model) / width) + 2 * model.hidden / 3
    layer = 2 * 3 * tokens * inner
    if not piece.last:
        return states + layer
    logits = min(tokens, load.sequences) * model.vocabulary
    if not load.since(SAMPLED_SINCE):  # the head over every token of the batch
        sampler = 2.0 * max(tokens, FIRST_BATCH) * model.vocabulary
        states = 3 * 2 * max(tokens, FIRST_BATCH) * model.hidden
    elif load.since(SAMPLER_SINCE):
        sampler = LOGIT_BYTES * logits / width
    else:
        sampler = LOGIT_BYTES_BEFORE * logits
    return states + max(layer, sampler)


def _expert_width(model: Architecture) -> float:
    """The inner width of an expert, by the number of its weights."""
    weights = sum(
        part.used for layer in model.plan for part in layer.matrices if part.place == "experts"
    )
    layers = sum(any(part.place == "experts" for part in layer.matrices) for layer in model.plan)
    used = layers * model.experts_used * 3 * model.hidden
    return weights / used if used else model.intermediate
