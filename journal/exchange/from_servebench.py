"""Results of servebench (run.json): a run for each level of its load, with every request and the
time of every chunk."""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from pydantic import AllowInfNan, Field

from journal.errors import UsageError
from journal.exchange.fields import (
    AGAIN,
    ForeignPart,
    Name,
    Natural,
    Number,
    Seconds,
    Tokens,
    local_time,
    shown,
)
from journal.exchange.foreign import (
    Foreign,
    answered,
    failed,
    from_send,
    given,
    given_values,
    known,
    singles,
    typical,
    without_requests,
)
from journal.records.figure import Figure
from journal.records.request import Trace

TOOL = "servebench"
LATENCIES = {"ttft": "ttft_s", "tpot": "tpot_s", "itl": "icl_s", "e2e": "e2e_s"}
RATES = {"request_throughput": "requests_per_s", "output_throughput": "output_tokens_per_s"}
SAFE = 1e7


class _Request(ForeignPart):
    start: Seconds
    ok: bool = True
    error: str | None = None
    ttft: Seconds | None = None
    e2e: Seconds | None = None
    chunk_times: list[Seconds] = Field(default_factory=list)
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens = 0


class _Spread(ForeignPart):
    mean: Number | None = None
    p50: Number | None = None
    p90: Number | None = None
    p99: Number | None = None
    count: Natural = 0


class _Summary(ForeignPart):
    completed: Natural
    failed: Natural
    duration: Seconds
    request_throughput: Number | None = None
    output_throughput: Number | None = None
    output_tokens_mean: Number | None = None
    ttft: _Spread = _Spread()
    tpot: _Spread = _Spread()
    itl: _Spread = _Spread()
    e2e: _Spread = _Spread()


class _Level(ForeignPart):
    mode: Literal["concurrency", "rate"]
    value: Annotated[float, AllowInfNan(True)] | str
    duration: Seconds
    requests: list[_Request] | None = None
    summary: _Summary


class _Config(ForeignPart):
    model: Name
    input_len: Tokens | None = None
    output_len: Tokens | None = None
    burstiness: Number = 1.0


class _Environment(ForeignPart):
    servebench_version: Name | None = None
    timestamp: Name | None = None


class _Run(ForeignPart):
    config: _Config
    environment: _Environment
    levels: Annotated[list[_Level], MinLen(1)]


def is_from_servebench(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a result of servebench."""
    environment = data.get("environment")
    return (
        "levels" in data and isinstance(environment, dict) and "servebench_version" in environment
    )


def servebench_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """A run for each level. Raises UsageError and pydantic's ValidationError for values that are
    not valid."""
    run = _Run.model_validate(data)
    return tuple(_level(level, run) for level in run.levels)


def _level(level: _Level, run: _Run) -> Foreign:
    traces = tuple(_trace(n, one) for n, one in enumerate(level.requests or ()))
    summary = level.summary
    count = len(traces) if traces else summary.completed + summary.failed
    rate, batch = _load(level, count)
    lengths = [trace.output_tokens for trace in traces]
    figures = _figures(summary)
    return Foreign(
        tool=TOOL,
        version=run.environment.servebench_version,
        model=run.config.model,
        batch=batch,
        rate=rate,
        burstiness=run.config.burstiness,
        started_at=_time(run.environment.timestamp),
        duration_s=level.duration,
        requests=max(1, count),
        prompt_tokens=typical([t.prompt_tokens for t in traces]) or run.config.input_len,
        output_tokens=typical(lengths) or run.config.output_len,
        traces=traces,
        figures={} if traces else figures,
        own=given_values(figures) if traces else {},
        notes=from_send(rate) if traces else (without_requests("empty"),),
    )


def _time(written: str | None) -> datetime | None:
    return None if written is None else local_time(written)


def _load(level: _Level, count: int) -> tuple[float | None, int | None]:
    """The rate and the batch of a level; one of them is None. An infinite rate sends all requests
    at once."""
    try:
        value = float(level.value)
    except ValueError as error:
        raise UsageError(f"value is {shown(level.value)}, which is no number: {AGAIN}") from error
    if not value > 0:
        raise UsageError(f"value is {value}, and a load is above 0: {AGAIN}")
    if level.mode == "rate" and value <= SAFE:
        return value, None
    return None, round(value) if level.mode == "concurrency" and value <= SAFE else max(1, count)


def _trace(index: int, one: _Request) -> Trace:
    ended_s = one.start + (0.0 if one.e2e is None else one.e2e)
    if not one.ok or one.ttft is None:
        return failed(index, one.start, ended_s, one.error or "")
    times = one.chunk_times if one.chunk_times else [one.ttft]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise UsageError(f"chunk_times of request {index} go back in time: {AGAIN}")
    return answered(
        index,
        one.start,
        [one.start + at for at in times],
        ended_s,
        prompt_tokens=one.prompt_tokens,
        output_tokens=one.output_tokens,
    )


def _figures(summary: _Summary) -> dict[str, Figure]:
    """The figures of a level's own summary, by the names of metrics."""
    counts = {"requests": summary.completed + summary.failed, "errors": summary.failed}
    rates = {name: getattr(summary, theirs) for theirs, name in RATES.items()}
    figures = singles({**counts, **rates})
    for theirs, family in LATENCIES.items():
        spread = getattr(summary, theirs)
        own = {"mean": spread.mean, "p50": spread.p50, "p90": spread.p90, "p99": spread.p99}
        figures |= given(family, own, spread.count)
    return known(figures)
