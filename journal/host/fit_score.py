"""How well predictions of memory did on this host: each engine that was started, by its log, beside
what `journal fit` says of its model; and the correction that follows."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from journal.errors import SpecError
from journal.records.run import Record
from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
from journal.theory.accuracy import Reported, Scored, scored
from journal.theory.headroom import ServedAs
from journal.theory.kv_types import kv_type
from journal.theory.memory import DTYPE_BYTES
from journal.theory.overhead import DRIVER_BYTES

FEWEST_STARTS = 3  # before a correction is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScore:
    """The `starts` of engines that a journal holds, each with its predictions. `weights_error` is
    the median of the sizes of their relative errors, `token_error` the largest of the KV cache of a
    token; `within` of `ranged` pools lay in the predicted range. `correction_bytes` is the median
    of what engines took beside weights and pool less the estimate: None from fewer than
    FEWEST_STARTS."""

    starts: tuple[Scored, ...]
    weights_error: float | None
    token_error: float | None
    within: int
    ranged: int
    correction_bytes: float | None


def fit_score(records: Iterable[Record]) -> FitScore:
    """The score of all engine starts among `records`: those whose log gave weights or pool. A pool
    whose size the user pinned, or of an engine on the CPU, has no range."""
    starts: dict[object, Scored] = {}
    for record in records:
        facts, reported = record.facts, _reported(record)
        key = (
            *(facts.start_s, facts.log_path, facts.weights_bytes, facts.kv_pool_bytes),
            *(facts.kv_pool_tokens, record.cell.model),
        )
        if reported is None or key in starts:
            continue
        try:
            starts[key] = scored(reported)
        except SpecError:  # a model that theory does not know
            continue
    scores = tuple(starts.values())
    weights = [abs(error) for one in scores if (error := one.weights_error) is not None]
    tokens = [abs(error) for one in scores if (error := one.token_error) is not None]
    inside = [one.within for one in scores if one.within is not None]
    beyond = [more for one in scores if (more := _beyond(one)) is not None]
    return FitScore(
        starts=scores,
        weights_error=median(weights) if weights else None,
        token_error=max(tokens, default=None),
        within=sum(inside),
        ranged=len(inside),
        correction_bytes=median(beyond) if len(beyond) >= FEWEST_STARTS else None,
    )


def _beyond(score: Scored) -> float | None:
    """What an engine took beside weights and pool, less the estimate."""
    told = score.reported
    if score.overhead is None or told.usable_bytes is None or told.pool_bytes is None:
        return None
    weights = score.weights_bytes if told.weights_bytes is None else told.weights_bytes
    return told.usable_bytes * told.served.share - weights - told.pool_bytes - score.overhead


def _reported(record: Record) -> Reported | None:
    """What the engine of `record` reported; None where its model or what it took is not known."""
    facts, engine = record.facts, record.cell.engine
    kv = kv_type(facts.kv_cache_dtype, DTYPE_BYTES.get(facts.dtype or "", 2))
    known = facts.weights_bytes is not None or facts.kv_pool_bytes is not None
    if engine is None or facts.config is None or kv is None or not known:
        return None
    total = record.environment.get("gpu_0_total_bytes")
    on_gpu = facts.card is not None and isinstance(total, int | float)
    single = DTYPE_BYTES.get(facts.dtype or "") == 4  # sizes by theory are those of 16 bits
    share = engine.gpu_memory_utilization
    return Reported(
        model=engine.model,
        config=facts.config,
        gpu=facts.card or "CPU",
        engine=facts.version or "",
        served=ServedAs(
            share=GPU_MEMORY_UTILIZATION if share is None else share,
            sequences=_number(engine.flags, "--max-num-seqs"),
            batched_tokens=_number(engine.flags, "--max-num-batched-tokens"),
            kv=kv,
            version=_version(facts.version),
            eager="--enforce-eager" in engine.flags,
        ),
        tensor_parallel=engine.tensor_parallel,
        pipeline_parallel=engine.pipeline_parallel,
        usable_bytes=float(total) - DRIVER_BYTES if on_gpu and total is not None else None,
        share_known=engine.kv_cache_memory_bytes is None,
        weights_bytes=None if single else facts.weights_bytes,
        pool_bytes=facts.kv_pool_bytes,
        pool_tokens=facts.kv_pool_tokens,
    )


def _number(flags: tuple[str, ...], name: str) -> int | None:
    """The number after a flag, or behind its equals sign."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    return next((int(v) for k, v in pairwise(words) if k == name and v.isdigit()), None)


def _version(text: str | None) -> tuple[int, int] | None:
    parts = (text or "").split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
