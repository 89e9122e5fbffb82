"""Predictions set against what engines reported: weights, KV cache of a token, and pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from journal.theory.architecture import architecture
from journal.theory.headroom import ServedAs
from journal.theory.kv_types import Kv
from journal.theory.memory import kv_bytes_per_token, tokens_that_fit
from journal.theory.overhead import FITTED, GIB, ByteRange, Terms, overhead_bytes, pool_range
from journal.theory.parallelism import Piece, piece_weight_bytes, pieces

SHORT_CONTEXT = 4096  # tokens; few engines are started with less
SEQUENCES_SINCE = (0, 20)  # vLLM counts the tokens of its longest sequences where layers differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What an engine reported of one GPU, the fullest: bytes of the weights and of the KV pool, and
    the pool's tokens (None: not reported), and what is known of how it was started. `usable_bytes`
    is the memory that the engine saw."""

    model: str
    config: Mapping[str, Any]
    gpu: str
    engine: str
    served: ServedAs
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    usable_bytes: float | None = None
    share_known: bool = True
    weights_bytes: float | None = None
    pool_bytes: float | None = None
    pool_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One report with its predictions: weights, KV bytes of a token (None where layers keep
    different spans: then tokens are no rate) and the range of the pool in bytes and tokens (None
    where the memory or its share is not known). `overhead` is the estimate beside weights and
    pool."""

    reported: Reported
    weights_bytes: int
    token_bytes: int | None
    pool: ByteRange | None
    tokens: ByteRange | None
    overhead: float | None

    @property
    def weights_error(self) -> float | None:
        """The relative error of the weights; None where none were reported."""
        told = self.reported.weights_bytes
        return None if told is None else self.weights_bytes / told - 1

    @property
    def token_error(self) -> float | None:
        """The relative error of the KV bytes of a token; None where they are not known."""
        pool, tokens = self.reported.pool_bytes, self.reported.pool_tokens
        if self.token_bytes is None or pool is None or not tokens:
            return None
        return self.token_bytes / (pool / tokens) - 1

    @property
    def token_span(self) -> ByteRange | None:
        """The tokens that the reported pool holds in sequences of SHORT_CONTEXT, and of the longest
        that the model allows, where an engine's count is that of sequences of a length which was
        not reported; None where tokens are a rate, or no pool was reported."""
        told = self.reported
        if self.token_bytes is not None or told.pool_bytes is None or told.pool_tokens is None:
            return None
        model = architecture(told.config)
        cut = tuple(pieces(model, told.tensor_parallel, told.pipeline_parallel))
        pool = ByteRange(round(told.pool_bytes), round(told.pool_bytes))
        ends = [
            _tokens(cut, [pool] * len(cut), told.served.kv, context, 0)
            for context in (SHORT_CONTEXT, model.context)
        ]
        low, high = ends
        return None if low is None or high is None else ByteRange(low.low, high.high)

    @property
    def within(self) -> bool | None:
        """Whether the reported pool lies in the predicted range; None where there is no such."""
        if self.tokens is not None and self.reported.pool_tokens is not None:
            return self.tokens.low <= self.reported.pool_tokens <= self.tokens.high
        if self.pool is not None and self.reported.pool_bytes is not None:
            return self.pool.low <= self.reported.pool_bytes <= self.pool.high
        return None


def scored(reported: Reported, terms: Terms = FITTED) -> Scored:
    """The predictions for one report, by `terms` of the memory beside weights and pool. Raises
    SpecError for a model that cannot be sized."""
    model = architecture(reported.config)
    cut = tuple(pieces(model, reported.tensor_parallel, reported.pipeline_parallel))
    own, kv = model.quantisation or "fp16", reported.served.kv
    weights = [piece_weight_bytes(model, piece, own) for piece in cut]
    token = max(kv_bytes_per_token(piece.cache, kv) for piece in cut)
    by_blocks = (reported.served.version or SEQUENCES_SINCE) < SEQUENCES_SINCE
    rate = token if by_blocks or not model.mixed else None
    if reported.usable_bytes is None or not reported.share_known:
        return Scored(
            reported=reported,
            weights_bytes=max(weights),
            token_bytes=rate,
            pool=None,
            tokens=None,
            overhead=None,
        )
    load = reported.served.load(reported.gpu, reported.usable_bytes)
    room = reported.usable_bytes * reported.served.share
    beside = [overhead_bytes(model, piece, load, terms) for piece in cut]
    ranges = [pool_range(room - w, over) for w, over in zip(weights, beside, strict=True)]
    context = None if by_blocks else model.context
    tokens = _tokens(cut, ranges, kv, context, load.batched_tokens)
    least = min(range(len(cut)), key=lambda n: ranges[n].low)
    return Scored(
        reported=reported,
        weights_bytes=max(weights),
        token_bytes=rate,
        pool=ranges[least],
        tokens=tokens,
        overhead=beside[least],
    )


def _tokens(
    cut: Sequence[Piece],
    ranges: Sequence[ByteRange],
    kv: Kv,
    context: int | None,
    batched_tokens: int,
) -> ByteRange | None:
    """The range of the pool in tokens, of the stage that holds the fewest; None where an engine
    does not count in tokens."""
    ends = []
    for end in ("low", "high"):
        sizes = [
            tokens_that_fit(
                piece.cache, getattr(pool, end), kv, context=context, batched_tokens=batched_tokens
            )
            for piece, pool in zip(cut, ranges, strict=True)
        ]
        ends.append(min((size for size in sizes if size is not None), default=None))
    low, high = ends
    return None if low is None or high is None else ByteRange(low, high)


def of_receipt(receipt: Mapping[str, Any]) -> Reported:
    """A public report as tests/theory/memory_receipts.json has it."""
    weights, pool, usable = (
        None if receipt[name] is None else receipt[name] * GIB
        for name in (
            *("reported_weights_gib_per_gpu", "reported_kv_pool_gib_per_gpu"),
            "usable_gib",
        )
    )
    share = receipt["gpu_memory_utilization"]
    return Reported(
        model=receipt["model"],
        config=receipt["config"],
        gpu=receipt["gpu"],
        engine=receipt["vllm"],
        served=ServedAs(
            share=share or 1.0,
            kv=receipt["kv_element_bytes"],
            version=_version(receipt["vllm"]),
            eager="eager" in receipt["vllm"],
        ),
        tensor_parallel=receipt["tensor_parallel"],
        pipeline_parallel=receipt["pipeline_parallel"],
        usable_bytes=usable,
        share_known=share is not None,
        weights_bytes=weights,
        pool_bytes=pool,
        pool_tokens=receipt["reported_kv_pool_tokens"],
    )


def _version(text: str) -> tuple[int, int] | None:
    """The first two numbers of a version; of "0.2x" the one from which on most were posted."""
    whole, _, rest = text.partition(".")
    digits = "".join(character for character in rest[:2] if character.isdigit())
    if not whole.isdigit() or not digits:
        return None
    return (int(whole), int(digits) * 10 + 1 if rest[1:2] == "x" else int(digits))
