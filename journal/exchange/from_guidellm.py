"""Reports of GuideLLM (JSON, its version 2, as GuideLLM 0.8 writes it)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from annotated_types import Ge, MinLen

from journal.exchange.foreign import (
    Clock,
    Count,
    Epoch,
    Foreign,
    ForeignPart,
    Name,
    Rate,
    Seconds,
    Tokens,
    answered,
    failed,
    typical,
)
from journal.records.doubt import Values
from journal.records.request import Trace

TOOL = "GuideLLM"
SMOOTHNESS = {"constant": 0.0, "poisson": 1.0}  # the gamma shape, 0 for a constant gap


class _Metadata(ForeignPart):
    guidellm_version: Name | None = None


class _Timings(ForeignPart):
    targeted_start: Clock | None = None
    request_start: Clock
    first_token_iteration: Clock | None = None
    last_token_iteration: Clock | None = None
    request_end: Clock | None = None
    resolve_end: Clock | None = None


class _Info(ForeignPart):
    error: str | None = None
    timings: _Timings


class _Output(ForeignPart):
    text_characters: Annotated[int, Ge(0)] | None = None


class _Request(ForeignPart):
    info: _Info
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    output_metrics: _Output = _Output()


class _Requests(ForeignPart):
    successful: list[_Request]
    errored: list[_Request]
    incomplete: list[Any] | None = None


class _Strategy(ForeignPart):
    type_: Name
    streams: Count | None = None
    max_concurrency: Count | None = None
    rate: Rate | None = None


class _Backend(ForeignPart):
    model: Name | None = None


class _Config(ForeignPart):
    strategy: _Strategy
    backend: _Backend = _Backend()


class _Benchmark(ForeignPart):
    config: _Config
    requests: _Requests
    start_time: Epoch
    duration: Seconds


class _Report(ForeignPart):
    metadata: _Metadata
    benchmarks: Annotated[list[_Benchmark], MinLen(1)]


def is_from_guidellm(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a report of GuideLLM."""
    metadata = data.get("metadata")
    return "benchmarks" in data and isinstance(metadata, dict) and "guidellm_version" in metadata


def guidellm_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """A run for each benchmark of the report. Raises pydantic's ValidationError for values that
    are not valid."""
    report = _Report.model_validate(data)
    version = report.metadata.guidellm_version
    return tuple(_run(benchmark, version) for benchmark in report.benchmarks)


def _run(benchmark: _Benchmark, version: str | None) -> Foreign:
    strategy, requests = benchmark.config.strategy, benchmark.requests
    traces = _traces(requests.successful, requests.errored)
    left_out = len(requests.incomplete or ())
    notes: list[Values] = [{"variant": "imported_no_gaps"}]
    notes += [{"variant": "imported_cut_short", "requests": left_out}] if left_out else []
    return Foreign(
        tool=TOOL,
        version=version,
        model=benchmark.config.backend.model or "unnamed",
        batch=None if strategy.rate else strategy.streams or strategy.max_concurrency or 1,
        rate=strategy.rate,
        burstiness=SMOOTHNESS.get(strategy.type_, 1.0),
        started_at=datetime.fromtimestamp(benchmark.start_time, UTC),
        duration_s=benchmark.duration,
        requests=len(traces),
        prompt_tokens=typical([trace.prompt_tokens for trace in traces]),
        output_tokens=typical([trace.output_tokens for trace in traces]),
        traces=traces,
        every_chunk=False,
        notes=tuple(notes),
    )


def _traces(successful: Sequence[_Request], errored: Sequence[_Request]) -> tuple[Trace, ...]:
    every = [*((one, True) for one in successful), *((one, False) for one in errored)]
    every.sort(key=lambda pair: pair[0].info.timings.request_start)
    zero = every[0][0].info.timings.request_start if every else 0.0
    return tuple(_trace(n, one, zero, ok=ok) for n, (one, ok) in enumerate(every))


def _trace(index: int, one: _Request, zero: float, *, ok: bool) -> Trace:
    at = one.info.timings
    start_s = at.request_start - zero
    ended = at.request_end or at.resolve_end or at.request_start
    meant_s = None if at.targeted_start is None else min(at.targeted_start - zero, start_s)
    if not ok or at.first_token_iteration is None:
        return failed(index, start_s, ended - zero, one.info.error or "", meant_s)
    ends = [at.first_token_iteration, at.last_token_iteration or at.first_token_iteration]
    return answered(
        index,
        start_s,
        [moment - zero for moment in ends],
        ended - zero,
        prompt_tokens=one.prompt_tokens,
        output_tokens=one.output_tokens,
        scheduled_s=meant_s,
        output_chars=one.output_metrics.text_characters,
    )
