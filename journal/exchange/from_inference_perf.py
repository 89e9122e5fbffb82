"""Reports of inference-perf (summary_lifecycle_metrics.json, stage_N_lifecycle_metrics.json): their
figures alone."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from journal.exchange.fields import Count, ForeignPart, Natural, Number, Rate
from journal.exchange.foreign import Foreign, given, singles, without_requests
from journal.records.figure import Figure

TOOL = "inference-perf"
LATENCIES = {
    "request_latency": "e2e_s",
    "time_to_first_token": "ttft_s",
    "time_per_output_token": "tpot_s",
    "inter_token_latency": "icl_s",
}
RATES = {
    "requests_per_sec": "requests_per_s",
    "output_tokens_per_sec": "output_tokens_per_s",
    "total_tokens_per_sec": "total_tokens_per_s",
}
STATISTICS = {"mean": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}


class _Spread(ForeignPart):
    mean: Number | None = None
    median: Number | None = None
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None


class _Latencies(ForeignPart):
    request_latency: _Spread | None = None
    time_to_first_token: _Spread | None = None
    time_per_output_token: _Spread | None = None
    inter_token_latency: _Spread | None = None


class _Throughput(ForeignPart):
    requests_per_sec: Number | None = None
    output_tokens_per_sec: Number | None = None
    total_tokens_per_sec: Number | None = None


class _Successes(ForeignPart):
    count: Natural
    latency: _Latencies = _Latencies()
    throughput: _Throughput = _Throughput()
    prompt_len: _Spread | None = None
    prompt_tokens: _Spread | None = None
    output_len: _Spread | None = None


class _Failures(ForeignPart):
    count: Natural = 0


class _Load(ForeignPart):
    count: Natural | None = None
    requested_rate: Rate | None = None
    achieved_rate: Number | None = None
    send_duration: Number | None = None
    concurrency: Count | None = None


class _Report(ForeignPart):
    load_summary: _Load
    successes: _Successes
    failures: _Failures = Field(default_factory=_Failures)


def is_from_inference_perf(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a report of inference-perf."""
    return "load_summary" in data and "successes" in data


def inference_perf_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a report. Raises pydantic's ValidationError for values that are not valid."""
    report = _Report.model_validate(data)
    load, good = report.load_summary, report.successes
    requests = good.count + report.failures.count
    prompts = good.prompt_len if good.prompt_tokens is None else good.prompt_tokens
    return (
        Foreign(
            tool=TOOL,
            model=None,
            batch=load.concurrency,
            rate=None if load.concurrency else load.requested_rate,
            started_at=None,
            duration_s=_duration_s(good),
            requests=requests,
            prompt_tokens=_mean(prompts),
            output_tokens=_mean(good.output_len),
            figures=_figures(report, requests),
            notes=(without_requests("never"),),
        ),
    )


def _duration_s(good: _Successes) -> float | None:
    """The time in s over which the report counts its rates; None where it gives none."""
    rate = good.throughput.requests_per_sec
    return good.count / rate if rate else None


def _mean(spread: _Spread | None) -> int | None:
    return None if spread is None or spread.mean is None else round(spread.mean)


def _figures(report: _Report, requests: int) -> dict[str, Figure]:
    good = report.successes
    figures = singles({"requests": requests, "errors": report.failures.count})
    for theirs, family in LATENCIES.items():
        spread = getattr(good.latency, theirs)
        if spread is None:
            continue
        own = {name: getattr(spread, statistic) for name, statistic in STATISTICS.items()}
        own["p50"] = spread.p50 if own["p50"] is None else own["p50"]
        figures |= given(family, own, good.count)
    rates = {name: getattr(good.throughput, theirs) for theirs, name in RATES.items()}
    return figures | singles({**rates, "achieved_rate_per_s": report.load_summary.achieved_rate})
