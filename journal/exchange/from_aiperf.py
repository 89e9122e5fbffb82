"""AIPerf's JSON export (profile_export_aiperf.json), with its requests from profile_export.jsonl
where that file lies beside it. Without it the run has the figures of the export alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

from journal.errors import UsageError
from journal.exchange.foreign import (
    Count,
    Foreign,
    ForeignPart,
    Name,
    Number,
    Rate,
    answered,
    failed,
    local_time,
    stamps,
)
from journal.metrics.statistics import PERCENTILES, needed_samples
from journal.records.figure import Figure
from journal.records.request import Trace

TOOL = "AIPerf"
REQUESTS = "profile_export.jsonl"
SMOOTHNESS = {"constant": 0.0, "poisson": 1.0}  # the gamma shape, 0 for a constant gap
MOST_TOKENS = 10**8

# The journal's metrics by AIPerf's names.
SPREADS = {
    "time_to_first_token": "ttft_s",
    "inter_chunk_latency": "icl_s",
    "inter_token_latency": "tpot_s",  # of each request (last - first) / (tokens - 1)
    "request_latency": "e2e_s",
}
SINGLE = {
    "output_token_throughput": "output_tokens_per_s",
    "total_token_throughput": "total_tokens_per_s",
    "request_throughput": "requests_per_s",
    "total_isl": "prompt_tokens",
    "total_osl": "output_tokens",
    "benchmark_duration": "duration_s",
}
SCALE = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}


Natural = Annotated[int, Ge(0), Le(10**9)]
Nanoseconds = Annotated[int, Ge(0), Le(10**20)]


class _Spread(ForeignPart):
    unit: Name
    avg: Number | None = None
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    count: Natural | None = None


class _Model(ForeignPart):
    name: Name


class _Models(ForeignPart):
    items: Annotated[list[_Model], MinLen(1)]


class _Phase(ForeignPart):
    type: Name
    kind: Name = "profiling"
    concurrency: Count | None = None
    rate: Rate | None = None


class _Config(ForeignPart):
    models: _Models
    phases: Annotated[list[_Phase], MinLen(1)]


class _Export(ForeignPart):
    aiperf_version: Name | None = None
    input_config: _Config
    start_time: Name
    request_count: _Spread | None = None
    error_request_count: _Spread | None = None
    input_sequence_length: _Spread | None = None
    output_sequence_length: _Spread | None = None
    benchmark_duration: _Spread | None = None


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


class _Metadata(ForeignPart):
    request_start_ns: Nanoseconds
    request_end_ns: Nanoseconds
    credit_issued_ns: Nanoseconds | None = None
    benchmark_phase: Name = "profiling"


class _Error(ForeignPart):
    code: int | None = None
    message: str = ""


class _Line(ForeignPart):
    metadata: _Metadata
    metrics: _Metrics
    error: _Error | None = None


def is_from_aiperf(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a JSON export of AIPerf."""
    return "aiperf_version" in data and "input_config" in data


def aiperf_runs(
    data: Mapping[str, Any], lines: Iterable[bytes] | None = None
) -> tuple[Foreign, ...]:
    """The one run of an export; `lines` are the lines of its file of requests (None: no such
    file). Raises UsageError and pydantic's ValidationError for values that are not valid."""
    export = _Export.model_validate(data)
    phases = export.input_config.phases
    profiling = (phase for phase in phases if phase.kind == "profiling")
    phase = next(profiling, phases[-1])
    traces = _traces([_Line.model_validate_json(line) for line in lines], phase) if lines else ()
    errors = _whole(export.error_request_count)
    duration = export.benchmark_duration
    return (
        Foreign(
            tool=TOOL,
            version=export.aiperf_version,
            model=export.input_config.models.items[0].name,
            batch=None if phase.rate else phase.concurrency or 1,
            rate=phase.rate,
            burstiness=SMOOTHNESS.get(phase.type, 1.0),
            started_at=local_time(export.start_time),
            duration_s=(_seconds(duration, duration.avg) or 0.0) if duration else 0.0,
            requests=len(traces) or _whole(export.request_count) + errors,
            prompt_tokens=_whole(export.input_sequence_length),
            output_tokens=_whole(export.output_sequence_length),
            traces=traces,
            figures={} if traces else _figures(data, export, errors),
            notes=() if traces else ({"variant": "imported_no_requests", "file": REQUESTS},),
        ),
    )


def _whole(spread: _Spread | None) -> int:
    value = None if spread is None else spread.avg if spread.p50 is None else spread.p50
    return 0 if value is None else round(value)


def _seconds(spread: _Spread | _Value | _Values, value: float | None) -> float | None:
    if spread.unit not in SCALE:
        raise UsageError(
            f"this file of {TOOL} has times in {spread.unit!r}: the journal reads ns to s"
        )
    return None if value is None else value * SCALE[spread.unit]


# ---- the figures of the export ---------------------------------------------------------------


def _figures(data: Mapping[str, Any], export: _Export, errors: int) -> dict[str, Figure]:
    """The figures of the export, by the journal's names; a percentile only where it rests on
    enough samples."""
    done = _whole(export.request_count)
    figures = {"requests": Figure(float(done + errors)), "errors": Figure(float(errors))}
    for theirs, ours in SPREADS.items():
        if theirs in data:
            spread = _Spread.model_validate(data[theirs])
            figures |= {f"{ours}.{name}": figure for name, figure in _spread(spread).items()}
    for theirs, ours in SINGLE.items():
        if theirs in data:
            figures[ours] = Figure(_Spread.model_validate(data[theirs]).avg)
    return figures


def _spread(spread: _Spread) -> dict[str, Figure]:
    count = spread.count or 0
    figures = {"mean": Figure(_seconds(spread, spread.avg), count=count)}
    for name, at in PERCENTILES.items():
        value = getattr(spread, name) if count >= needed_samples(at) else None
        figures[name] = Figure(_seconds(spread, value), count=count)
    return figures


# ---- the requests beside the export ----------------------------------------------------------


def _traces(lines: Sequence[_Line], phase: _Phase) -> tuple[Trace, ...]:
    measured = [line for line in lines if line.metadata.benchmark_phase == "profiling"]
    measured.sort(key=lambda line: line.metadata.request_start_ns)
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
    gaps_s = [_seconds(gaps, value) or 0.0 for value in gaps.value] if gaps else []
    return answered(
        index,
        start_s,
        stamps(start_s, _seconds(first, first.value) or 0.0, gaps_s),
        end_s,
        prompt_tokens=_tokens(metrics.input_sequence_length),
        output_tokens=_tokens(metrics.output_sequence_length),
        scheduled_s=meant_s,
    )


def _tokens(value: _Value | None) -> int | None:
    return None if value is None else min(round(value.value), MOST_TOKENS)
