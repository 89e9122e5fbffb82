"""Summaries of LLMPerf (NAME_summary.json): their figures alone. Its time per token counts the
first token too, and is left out."""

from collections.abc import Mapping
from typing import Any

from journal.exchange.fields import checked_number, epoch_time, shown
from journal.exchange.foreign import Foreign, given, known, singles, without_requests
from journal.records.figure import Figure

TOOL = "LLMPerf"
PREFIX = "results_"
LATENCIES = {"ttft_s": "ttft_s", "end_to_end_latency_s": "e2e_s"}
RATE = "mean_output_throughput_token_per_s"


def is_from_llmperf(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a summary of LLMPerf."""
    return "model" in data and any(name.startswith(f"{PREFIX}ttft_s") for name in data)


def llmperf_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a summary. Raises UsageError for values that are not valid."""
    sent = _whole(data, "num_requests_started")
    errors = _whole(data, "number_errors")
    done = _whole(data, "num_completed_requests")
    if done is None and sent is not None:
        done = sent - (0 if errors is None else errors)
    batch = _number(data, "num_concurrent_requests")
    per_minute = _number(data, f"{PREFIX}num_completed_requests_per_min")
    return (
        Foreign(
            tool=TOOL,
            version=_version(data),
            model=str(data["model"])[:500],
            batch=round(batch) if batch else _whole(data, "num_concurrent_requests"),
            rate=None,
            started_at=epoch_time(data.get("timestamp"), "timestamp"),
            duration_s=done * 60 / per_minute if done and per_minute else None,
            requests=next((n for n in (sent, done) if n is not None), 1),
            prompt_tokens=_length(data, "input"),
            output_tokens=_length(data, "output"),
            figures=_figures(data, sent, done, errors),
            notes=(without_requests("never"),),
        ),
    )


def _figures(
    data: Mapping[str, Any], sent: int | None, done: int | None, errors: int | None
) -> dict[str, Figure]:
    per_minute = _number(data, f"{PREFIX}num_completed_requests_per_min")
    figures = singles(
        {
            "requests": sent,
            "errors": errors,
            "requests_per_s": None if per_minute is None else per_minute / 60,
            "output_tokens_per_s": _number(data, PREFIX + RATE),
        }
    )
    for theirs, family in LATENCIES.items():
        own = {"mean": _number(data, f"{PREFIX}{theirs}_mean")}
        for name in ("p50", "p90", "p95", "p99"):
            own[name] = _number(data, f"{PREFIX}{theirs}_quantiles_{name}")
        figures |= given(family, own, done)
    return known(figures)


def _number(data: Mapping[str, Any], name: str) -> float | None:
    return checked_number(data.get(name), name)


def _whole(data: Mapping[str, Any], name: str) -> int | None:
    value = _number(data, PREFIX + name)
    return None if value is None else round(value)


def _length(data: Mapping[str, Any], which: str) -> int | None:
    """The mean length in tokens of what was read (`which` "input") or written ("output"): as
    counted, else as asked for."""
    counted = _number(data, f"{PREFIX}number_{which}_tokens_mean")
    value = _number(data, f"mean_{which}_tokens") if counted is None else counted
    return None if value is None else round(value)


def _version(data: Mapping[str, Any]) -> str | None:
    version = data.get("version")
    return None if version is None else shown(version).strip("'")
