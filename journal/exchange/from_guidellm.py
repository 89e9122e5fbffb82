"""Reports of GuideLLM 0.5 to 0.8 (JSON): every request with its first and its last token, or the
figures of the report where it lists no requests."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from annotated_types import Ge, MinLen

from journal.errors import UsageError
from journal.exchange.fields import (
    AGAIN,
    Clock,
    Count,
    Epoch,
    ForeignPart,
    Name,
    Natural,
    Number,
    Rate,
    Seconds,
    Tokens,
)
from journal.exchange.foreign import (
    Foreign,
    answered,
    failed,
    given,
    singles,
    typical,
    without_requests,
)
from journal.records.doubt import Values
from journal.records.figure import Figure
from journal.records.request import Trace

TOOL = "GuideLLM"
READ = "GuideLLM 0.5 to 0.8"
AT_ONCE = "throughput"  # the strategy that sends all requests at once
CLOSED = ("synchronous", "concurrent", AT_ONCE)  # a rate beside these is no schedule
ROOM_S = 1e-3  # by which the clocks of one request may differ
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
    cached_tokens: Tokens | None = None
    output_metrics: _Output | None = None


class _Requests(ForeignPart):
    successful: list[_Request] | None = None
    errored: list[_Request] | None = None
    incomplete: list[Any] | None = None


class _Strategy(ForeignPart):
    type_: Name
    rate: Rate | None = None
    streams: Count | None = None
    max_concurrency: Count | None = None

    @property
    def schedule(self) -> float | None:
        """The rate in requests/s at which requests are sent; None in a closed loop."""
        return None if self.type_ in CLOSED else self.rate


class _Backend(ForeignPart):
    model: Name | None = None


class _Config(ForeignPart):
    strategy: _Strategy
    backend: _Backend = _Backend()


class _Percentiles(ForeignPart):
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None


class _Spread(ForeignPart):
    mean: Number | None = None
    median: Number | None = None
    count: Natural | None = None
    percentiles: _Percentiles = _Percentiles()


class _OfSuccesses(ForeignPart):
    successful: _Spread | None = None


class _Totals(ForeignPart):
    successful: Natural | None = None
    errored: Natural | None = None


class _Metrics(ForeignPart):
    request_totals: _Totals = _Totals()
    time_to_first_token_ms: _OfSuccesses = _OfSuccesses()
    inter_token_latency_ms: _OfSuccesses = _OfSuccesses()
    request_latency: _OfSuccesses = _OfSuccesses()
    prompt_token_count: _OfSuccesses = _OfSuccesses()
    output_token_count: _OfSuccesses = _OfSuccesses()


class _Scheduler(ForeignPart):
    measure_start_time: Clock | None = None
    measure_end_time: Clock | None = None


class _Benchmark(ForeignPart):
    config: _Config
    requests: _Requests = _Requests()
    metrics: _Metrics = _Metrics()
    scheduler_metrics: _Scheduler | None = None
    start_time: Epoch
    duration: Seconds


class _Report(ForeignPart):
    metadata: _Metadata = _Metadata()
    benchmarks: Annotated[list[_Benchmark], MinLen(1)]


# The journal's figures by GuideLLM's latencies: its time per token is a mean over all tokens.
LATENCIES = {
    "time_to_first_token_ms": ("ttft_from_send_s", 1e-3),
    "inter_token_latency_ms": ("tpot_of_tokens_s", 1e-3),
    "request_latency": ("e2e_from_send_s", 1.0),
}
ALONE = {"ttft_from_send_s": "ttft_s", "tpot_of_tokens_s": "tpot_s", "e2e_from_send_s": "e2e_s"}


def is_from_guidellm(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a report of GuideLLM."""
    metadata, benchmarks = data.get("metadata"), data.get("benchmarks")
    named = isinstance(metadata, dict) and "guidellm_version" in metadata
    first = benchmarks[0] if isinstance(benchmarks, list) and benchmarks else None
    alike = isinstance(first, dict) and "config" in first and "scheduler_metrics" in first
    return "benchmarks" in data and (named or alike)


def guidellm_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """A run for each benchmark of the report. Raises UsageError and pydantic's ValidationError for
    values that are not valid."""
    report = _Report.model_validate(data)
    version = report.metadata.guidellm_version
    return tuple(_run(benchmark, version) for benchmark in report.benchmarks)


def _run(benchmark: _Benchmark, version: str | None) -> Foreign:
    strategy, requests = benchmark.config.strategy, benchmark.requests
    traces = _traces(benchmark)
    measured = [trace for trace in traces if not trace.warmup]
    if traces and not measured:
        raise UsageError(
            f"measure_start_time and measure_end_time leave no request to count: {AGAIN}"
        )
    metrics = benchmark.metrics
    figures = {} if traces else _figures(metrics)
    count = len(measured) if traces else _count(metrics.request_totals)
    at_once = count if strategy.type_ == AT_ONCE else None
    limit = strategy.streams or strategy.max_concurrency or at_once
    known = measured or None
    return Foreign(
        tool=TOOL,
        version=version,
        model=benchmark.config.backend.model,
        batch=None if strategy.schedule else (1 if strategy.type_ == "synchronous" else limit),
        rate=strategy.schedule,
        burstiness=SMOOTHNESS.get(strategy.type_, 1.0),
        started_at=datetime.fromtimestamp(benchmark.start_time, UTC),
        duration_s=benchmark.duration,
        requests=count,
        prompt_tokens=typical([trace.prompt_tokens for trace in known])
        if known
        else _mean(metrics.prompt_token_count),
        output_tokens=typical([trace.output_tokens for trace in known])
        if known
        else _mean(metrics.output_token_count),
        traces=traces,
        every_chunk=False,
        figures=figures,
        own=_own(metrics) if traces else {},
        notes=_notes(traces, len(requests.incomplete or ())),
    )


def _notes(traces: Sequence[Trace], incomplete: int) -> tuple[Values, ...]:
    outside = sum(trace.warmup for trace in traces)
    notes: list[Values] = [{"variant": "imported_no_gaps"} if traces else without_requests("empty")]
    notes += [{"variant": "imported_cut_short", "requests": incomplete}] if incomplete else []
    notes += [{"variant": "imported_window", "requests": outside}] if outside else []
    return tuple(notes)


# ---- the requests ----------------------------------------------------------------------------


def _traces(benchmark: _Benchmark) -> tuple[Trace, ...]:
    requests = benchmark.requests
    every = [
        *((one, True) for one in requests.successful or ()),
        *((one, False) for one in requests.errored or ()),
    ]
    every.sort(key=lambda pair: pair[0].info.timings.request_start)
    zero = every[0][0].info.timings.request_start if every else 0.0
    return tuple(_trace(n, one, zero, benchmark, ok=ok) for n, (one, ok) in enumerate(every))


def _trace(index: int, one: _Request, zero: float, benchmark: _Benchmark, *, ok: bool) -> Trace:
    at = one.info.timings
    start_s = at.request_start - zero
    ended = next((end for end in (at.request_end, at.resolve_end) if end), at.request_start)
    meant_s = _meant(at, benchmark.config.strategy, zero)
    outside = _outside(at, benchmark.scheduler_metrics)
    if not ok or at.first_token_iteration is None:
        error = one.info.error or ""
        return failed(index, start_s, ended - zero, error, meant_s, warmup=outside)
    first, last = at.first_token_iteration, at.last_token_iteration
    ends = [first, first if last is None else last]
    times = (at.request_start, *ends, at.request_end or ends[-1])
    if any(later < earlier - ROOM_S for earlier, later in pairwise(times)):
        raise UsageError(f"the timings of request {index} go back in time: {AGAIN}")
    return answered(
        index,
        start_s,
        [moment - zero for moment in ends],
        ended - zero,
        prompt_tokens=one.prompt_tokens,
        output_tokens=one.output_tokens,
        cached_tokens=one.cached_tokens,
        scheduled_s=meant_s,
        output_chars=one.output_metrics.text_characters if one.output_metrics else None,
        warmup=outside,
        ends_only=True,
    )


def _meant(at: _Timings, strategy: _Strategy, zero: float) -> float | None:
    """The time at which a request was due; None without a rate, since GuideLLM then writes some
    other time into the same field: in 0.5 the start of the benchmark."""
    if strategy.schedule is None or at.targeted_start is None:
        return None
    return min(at.targeted_start, at.request_start) - zero


def _outside(at: _Timings, window: _Scheduler | None) -> bool:
    """Whether a request began in the warm-up or in the cool-down."""
    if window is None:
        return False
    start, end = window.measure_start_time, window.measure_end_time
    early = start is not None and at.request_start < start
    return early or (end is not None and at.request_start >= end)


# ---- the figures of the report ---------------------------------------------------------------


def _own(metrics: _Metrics) -> dict[str, float]:
    """The figures of the report that are compared with its requests'."""
    totals = metrics.request_totals
    own: dict[str, float | None] = {"errors": totals.errored}
    if totals.successful is not None and totals.errored is not None:
        own["requests"] = totals.successful + totals.errored
    for theirs, (family, scale) in LATENCIES.items():
        for name, value in _statistics(getattr(metrics, theirs).successful).items():
            own[f"{family}.{name}"] = None if value is None else value * scale
    return {name: value for name, value in own.items() if value is not None}


def _statistics(spread: _Spread | None) -> dict[str, float | None]:
    if spread is None:
        return {}
    at = spread.percentiles
    half = at.p50 if spread.median is None else spread.median
    return {"mean": spread.mean, "p50": half, "p90": at.p90, "p95": at.p95, "p99": at.p99}


def _figures(metrics: _Metrics) -> dict[str, Figure]:
    """The figures of a report that lists no requests. Raises UsageError where it has none
    either."""
    totals = metrics.request_totals
    errors = 0 if totals.errored is None else totals.errored
    figures = singles({"requests": _count(totals), "errors": errors})
    for theirs, (family, scale) in LATENCIES.items():
        spread = getattr(metrics, theirs).successful
        figures |= given(ALONE[family], _statistics(spread), totals.successful, scale)
    return figures


def _count(totals: _Totals) -> int:
    """The requests of a report that lists none. Raises UsageError where it does not count them."""
    if totals.successful is None:
        raise UsageError(f"it has neither requests nor metrics.request_totals: {AGAIN}")
    return totals.successful + (0 if totals.errored is None else totals.errored)


def _mean(part: _OfSuccesses) -> int | None:
    spread = part.successful
    return None if spread is None or spread.mean is None else round(spread.mean)
