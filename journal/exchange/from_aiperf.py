"""AIPerf's JSON export (profile_export_aiperf.json), with its requests from profile_export.jsonl
where that file lies beside it. Without it the run has the figures of the export alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen
from pydantic import Field, ValidationError

from journal.errors import UsageError
from journal.exchange.aiperf_figures import (
    SINGLE,
    SPREADS,
    Spread,
    figures_of,
    in_seconds,
    scale_of,
)
from journal.exchange.fields import (
    AGAIN,
    Count,
    ForeignPart,
    Name,
    Natural,
    Number,
    Rate,
    local_time,
)
from journal.exchange.foreign import Foreign, answered, failed, stamps
from journal.records.doubt import Values
from journal.records.figure import Figure
from journal.records.request import Trace

TOOL = "AIPerf"
REQUESTS = "profile_export.jsonl"
SMOOTHNESS = {"constant": 0.0, "poisson": 1.0}  # the gamma shape, 0 for a constant gap
MOST_TOKENS = 10**8

COMPARED = {
    "ttft_s": "ttft_from_send_s",
    "icl_s": "icl_s",
    "tpot_s": "tpot_s",
    "e2e_s": "e2e_from_send_s",
    "requests_per_s": "requests_per_s",
    "output_tokens_per_s": "output_tokens_per_s",
    "output_tokens": "output_tokens",
}
WARM_UP = "warm"  # what the name of a phase that is not measured begins with

Nanoseconds = Annotated[int, Ge(0), Le(10**20)]


class _Model(ForeignPart):
    name: Name


class _Models(ForeignPart):
    items: Annotated[list[_Model], MinLen(1)]


class _Phase(ForeignPart):
    type: Name = ""
    name: Name = ""
    kind: Name = ""
    exclude_from_results: bool = False
    concurrency: Count | None = None
    rate: Rate | None = None

    @property
    def measured(self) -> bool:
        """Whether the phase counts: it is no warm-up by its mark, its name or its kind."""
        names = (self.name.lower(), self.kind.lower())
        return not self.exclude_from_results and not any(n.startswith(WARM_UP) for n in names)


class _Endpoint(ForeignPart):
    model_names: list[Name] = Field(default_factory=list)


class _Loadgen(ForeignPart):
    concurrency: Count | None = None
    request_rate: Rate | None = None
    request_rate_mode: Name | None = None
    arrival_pattern: Name | None = None


class _Config(ForeignPart):
    models: _Models | None = None
    phases: Annotated[list[_Phase], MinLen(1)] | None = None
    endpoint: _Endpoint = _Endpoint()
    loadgen: _Loadgen = _Loadgen()

    @property
    def model(self) -> str | None:
        """The first model; None where the configuration names none."""
        names = [item.name for item in self.models.items] if self.models else []
        return next(iter([*names, *self.endpoint.model_names]), None)

    @property
    def phase(self) -> _Phase:
        """The first phase that counts; in the form of AIPerf 0.1 to 0.4 its load generator."""
        phases = self.phases or ()
        measured = next((phase for phase in phases if phase.measured), None)
        if measured:
            return measured
        load = self.loadgen
        mode = load.arrival_pattern or load.request_rate_mode or "poisson"
        return _Phase(type=mode, concurrency=load.concurrency, rate=load.request_rate)

    @property
    def unmeasured(self) -> frozenset[str]:
        """The names and kinds of the phases that do not count."""
        phases = [phase for phase in self.phases or () if not phase.measured]
        return frozenset(word for phase in phases for word in (phase.name, phase.kind) if word)


class _ErrorCount(ForeignPart):
    count: Natural


class _Export(ForeignPart):
    aiperf_version: Name | None = None
    input_config: _Config
    start_time: Name | None = None
    was_cancelled: bool = False
    error_summary: list[_ErrorCount] | None = None
    request_count: Spread | None = None
    error_request_count: Spread | None = None
    input_sequence_length: Spread | None = None
    output_sequence_length: Spread | None = None
    benchmark_duration: Spread | None = None
    request_latency: Spread | None = None
    time_to_first_token: Spread | None = None


class _Value(ForeignPart):
    value: Number
    unit: Name


class _Values(ForeignPart):
    value: list[Number]
    unit: Name


class _Metrics(ForeignPart):
    time_to_first_token: _Value | None = None
    request_latency: _Value | None = None
    inter_chunk_latency: _Values | None = None
    input_sequence_length: _Value | None = None
    output_sequence_length: _Value | None = None
    usage_prompt_tokens: _Value | None = None
    usage_completion_tokens: _Value | None = None
    usage_prompt_cache_read_tokens: _Value | None = None


class _Metadata(ForeignPart):
    request_start_ns: Nanoseconds
    request_end_ns: Nanoseconds
    was_cancelled: bool = False
    credit_issued_ns: Nanoseconds | None = None
    benchmark_phase: Name = "profiling"


class _Error(ForeignPart):
    code: int | None = None
    message: str = ""


class _Line(ForeignPart):
    metadata: _Metadata
    metrics: _Metrics = _Metrics()
    error: _Error | None = None


def is_from_aiperf(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a JSON export of AIPerf."""
    config = data.get("input_config")
    if not isinstance(config, dict):
        return False
    return "aiperf_version" in data or "loadgen" in config or "phases" in config


def is_request(data: Mapping[str, Any]) -> bool:
    """Whether `data` is one request of the file that lies beside an export."""
    metadata = data.get("metadata")
    return isinstance(metadata, dict) and "request_start_ns" in metadata


def aiperf_runs(
    data: Mapping[str, Any], lines: Iterable[bytes] | None = None
) -> tuple[Foreign, ...]:
    """The one run of an export; `lines` are the lines of its file of requests (None: no such
    file). Raises UsageError and pydantic's ValidationError for values that are not valid."""
    export = _Export.model_validate(data)
    phase = export.input_config.phase
    every = [_line(n, line) for n, line in enumerate(lines or (), 1) if line.strip()]
    measured = _measured(every, export.input_config.unmeasured)
    whole = [line for line in measured if not line.metadata.was_cancelled]
    traces = _traces(whole, phase)
    cut = len(measured) - len(whole)
    notes: list[Values] = [] if traces else [{"variant": "imported_no_requests", "file": REQUESTS}]
    notes += [{"variant": "imported_cut_short", "requests": cut}] if cut else []
    errors = _errors(export)
    done = _done(export)
    figures = figures_of(data, SPREADS, SINGLE, done)
    return (
        Foreign(
            tool=TOOL,
            version=export.aiperf_version,
            model=export.input_config.model,
            batch=None if phase.rate else phase.concurrency,
            rate=phase.rate,
            burstiness=SMOOTHNESS.get(phase.type, 1.0),
            started_at=None if export.start_time is None else local_time(export.start_time),
            duration_s=in_seconds(export.benchmark_duration),
            requests=len(traces) if traces else errors + (0 if done is None else done),
            prompt_tokens=_whole(export.input_sequence_length),
            output_tokens=_whole(export.output_sequence_length),
            traces=traces,
            figures={} if traces else figures | _counts(done, errors),
            own=_own(figures, done, errors) if traces else {},
            notes=tuple(notes),
            cancelled=export.was_cancelled,
        ),
    )


def _whole(spread: Spread | None) -> int | None:
    value = None if spread is None else spread.avg if spread.p50 is None else spread.p50
    return None if value is None else round(value)


def _done(export: _Export) -> int | None:
    """The requests that succeeded: as a figure, else as many as have a latency; None where the
    file tells neither."""
    counted = _whole(export.request_count)
    spreads = (export.request_latency, export.time_to_first_token)
    counts = (spread.count for spread in spreads if spread is not None)
    return next((n for n in (counted, *counts) if n is not None), None)


def _errors(export: _Export) -> int:
    """The number of failed requests: as a figure, or summed over the kinds of errors."""
    told = _whole(export.error_request_count)
    return sum(error.count for error in export.error_summary or ()) if told is None else told


def _counts(done: int | None, errors: int) -> dict[str, Figure]:
    requests = None if done is None else float(done + errors)
    return {"requests": Figure(requests), "errors": Figure(float(errors))}


# ---- the figures of the export ---------------------------------------------------------------


def _own(figures: Mapping[str, Figure], done: int | None, errors: int) -> dict[str, float]:
    """The figures of the export that are compared with its requests': AIPerf's times count from
    the moment of sending, and its tokens are those that it counts itself."""
    own: dict[str, float] = {"errors": float(errors)}
    if done is not None:
        own["requests"] = float(done + errors)
    for name, figure in figures.items():
        family, _, statistic = name.partition(".")
        compared = COMPARED.get(family)
        if compared and figure.value is not None:
            own[f"{compared}.{statistic}" if statistic else compared] = figure.value
    return own


# ---- the requests beside the export ----------------------------------------------------------


def _line(number: int, line: bytes) -> _Line:
    try:
        return _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))[:200]
        what = f"{place}: {first['msg'].lower()[:200]}" if place else "it is not whole JSON"
        raise UsageError(f"{REQUESTS}, line {number}: {what}: {AGAIN}") from error


def _measured(lines: Sequence[_Line], unmeasured: frozenset[str]) -> list[_Line]:
    """The lines of phases that count, in order of start."""

    def counts(phase: str) -> bool:
        return phase not in unmeasured and not phase.lower().startswith(WARM_UP)

    measured = [line for line in lines if counts(line.metadata.benchmark_phase)]
    return sorted(measured, key=lambda line: line.metadata.request_start_ns)


def _traces(measured: Sequence[_Line], phase: _Phase) -> tuple[Trace, ...]:
    zero = min((_meant(line, phase) for line in measured), default=0)
    return tuple(_trace(n, line, zero, phase) for n, line in enumerate(measured))


def _meant(line: _Line, phase: _Phase) -> int:
    """The time in ns at which the request was due: in open loop the time of its credit."""
    at = line.metadata
    credit_ns = at.credit_issued_ns if phase.rate else None
    return at.request_start_ns if credit_ns is None else min(credit_ns, at.request_start_ns)


def _trace(index: int, line: _Line, zero: int, phase: _Phase) -> Trace:
    at, metrics = line.metadata, line.metrics
    start_s, end_s = (at.request_start_ns - zero) / 1e9, (at.request_end_ns - zero) / 1e9
    meant_s = (_meant(line, phase) - zero) / 1e9
    first, gaps = metrics.time_to_first_token, metrics.inter_chunk_latency
    if line.error is not None or first is None:
        reason = f"{line.error.code or ''} {line.error.message}".strip() if line.error else ""
        return failed(index, start_s, end_s, reason, meant_s)
    gaps_s = [value * scale_of(gaps.unit) for value in gaps.value] if gaps else []
    asked = _tokens(metrics.input_sequence_length)
    counted = _tokens(metrics.usage_prompt_tokens)
    written = _tokens(metrics.usage_completion_tokens)
    return answered(
        index,
        start_s,
        stamps(start_s, first.value * scale_of(first.unit), gaps_s),
        end_s,
        prompt_tokens=asked if counted is None else counted,
        prompt_tokens_asked=asked,
        output_tokens=_tokens(metrics.output_sequence_length) if written is None else written,
        cached_tokens=_tokens(metrics.usage_prompt_cache_read_tokens),
        scheduled_s=meant_s,
    )


def _tokens(value: _Value | None) -> int | None:
    return None if value is None else min(round(value.value), MOST_TOKENS)
