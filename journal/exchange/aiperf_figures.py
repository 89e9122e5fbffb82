"""The figures of an export of AIPerf or of GenAI-Perf, which are alike."""

from collections.abc import Mapping
from typing import Any

from journal.errors import UsageError
from journal.exchange.fields import AGAIN, ForeignPart, Name, Natural, Number, shown
from journal.exchange.foreign import given
from journal.records.figure import Figure

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
STATISTICS = {"mean": "avg", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
SCALE = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
}


class Spread(ForeignPart):
    """A figure of an export: its unit, and the statistics that it has."""

    unit: Name
    avg: Number | None = None
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    count: Natural | None = None


def in_seconds(spread: Spread | None) -> float | None:
    """The mean of a time of an export in s; None without one. Raises UsageError for a unit that is
    not known."""
    if spread is None or spread.avg is None:
        return None
    return spread.avg * scale_of(spread.unit)


def scale_of(unit: str) -> float:
    """The seconds in a time of 1 in `unit`."""
    if unit.lower() not in SCALE:
        raise UsageError(f"a time is in {shown(unit)}, and ns, us, ms and s can be read: {AGAIN}")
    return SCALE[unit.lower()]


def figures_of(
    data: Mapping[str, Any],
    spreads: Mapping[str, str],
    singles: Mapping[str, str],
    requests: int | None,
) -> dict[str, Figure]:
    """The figures of an export of AIPerf or of GenAI-Perf, by the names of metrics; a percentile
    only where it rests on enough samples, which are `requests` where it does not tell them."""
    figures: dict[str, Figure] = {}
    for theirs, ours in spreads.items():
        if data.get(theirs) is None:
            continue
        spread = Spread.model_validate(data[theirs])
        count = requests if spread.count is None else spread.count
        own = {name: getattr(spread, theirs) for name, theirs in STATISTICS.items()}
        figures |= given(ours, own, count, scale_of(spread.unit))
    for theirs, ours in singles.items():
        if data.get(theirs) is not None:
            spread = Spread.model_validate(data[theirs])
            times = (
                spread.unit.lower() in SCALE and ours.endswith("_s") and not ours.endswith("per_s")
            )
            figures[ours] = Figure(in_seconds(spread) if times else spread.avg)
    return figures
