"""Summaries of `evalscope perf` (benchmark_summary.json), with benchmark_percentile.json and
benchmark_args.json where these lie beside it: their figures alone."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from journal.errors import UsageError
from journal.exchange.fields import checked_number, shown
from journal.exchange.foreign import Foreign, given, singles, without_requests
from journal.metrics.statistics import PERCENTILES
from journal.records.figure import Figure

TOOL = "evalscope perf"
PERCENTILE_FILE, ARGUMENTS = "benchmark_percentile.json", "benchmark_args.json"

# Each fact by its names: that of evalscope 1.x with a short name, then that of its first versions.
DURATION = ("Test Duration (s)", "Time taken for tests (s)")
BATCH = ("Concurrency", "Number of concurrency")
RATE = ("Request Rate (req/s)", "Request rate (req/s)")
REQUESTS = ("Total Requests", "Total requests")
DONE = ("Success Requests", "Succeed requests")
FAILED = ("Failed Requests", "Failed requests")
PROMPT = ("Avg Input Tokens", "Average input tokens per request")
OUTPUT = ("Avg Output Tokens", "Average output tokens per request")
RATES = {
    "requests_per_s": ("Req Throughput (req/s)", "Request throughput (req/s)"),
    "output_tokens_per_s": ("Output Throughput (tok/s)", "Output token throughput (tok/s)"),
    "total_tokens_per_s": ("Total Throughput (tok/s)", "Total token throughput (tok/s)"),
}
MEANS = {
    "ttft_s": (("Avg TTFT (ms)", 1e-3), ("Average time to first token (s)", 1.0)),
    "tpot_s": (("Avg TPOT (ms)", 1e-3), ("Average time per output token (s)", 1.0)),
    "icl_s": (("Avg ITL (ms)", 1e-3), ("Average inter-token latency (s)", 1.0)),
    "e2e_s": (("Avg Latency (s)", 1.0), ("Average latency (s)", 1.0)),
}
COLUMNS = {
    "ttft_s": (("TTFT (ms)", 1e-3), ("TTFT (s)", 1.0)),
    "tpot_s": (("TPOT (ms)", 1e-3), ("TPOT (s)", 1.0)),
    "icl_s": (("ITL (ms)", 1e-3), ("ITL (s)", 1.0)),
    "e2e_s": (("Latency (s)", 1.0),),
}


def is_from_evalscope(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a summary of evalscope perf."""
    return any(name in data for name in DURATION) and any(name in data for name in REQUESTS)


def evalscope_runs(
    data: Mapping[str, Any], percentiles: Any = None, arguments: Any = None
) -> tuple[Foreign, ...]:
    """The one run of a summary; `percentiles` and `arguments` are what lies beside it (None: no
    such file). Raises UsageError for values that are not valid."""
    requests, failed = _number(data, REQUESTS), _number(data, FAILED)
    done = _number(data, DONE)
    rate, batch = _number(data, RATE, least=-1), _number(data, BATCH)
    open_loop = rate is not None and 0 < rate < math.inf
    names = arguments if isinstance(arguments, dict) else {}
    figures = _figures(data, None if done is None else round(done))
    figures |= _percentiles(percentiles, None if done is None else round(done))
    duration_s = _number(data, DURATION)
    return (
        Foreign(
            tool=TOOL,
            model=names["model"][:500] if isinstance(names.get("model"), str) else None,
            batch=None if open_loop or not batch else round(batch),
            rate=rate if open_loop else None,
            started_at=None,
            duration_s=duration_s,
            requests=1 if requests is None else max(1, round(requests)),
            prompt_tokens=_whole(data, PROMPT),
            output_tokens=_whole(data, OUTPUT),
            figures=figures
            | singles({"requests": requests, "errors": failed, "duration_s": duration_s}),
            notes=(without_requests("never"),),
        ),
    )


def _number(data: Mapping[str, Any], names: Sequence[str], least: float = 0.0) -> float | None:
    """The number under the first of `names` that `data` has; -1 stands for none."""
    name = next((name for name in names if name in data), None)
    if name is None or (least < 0 and data[name] == least):
        return None
    return checked_number(data[name], name)


def _whole(data: Mapping[str, Any], names: Sequence[str]) -> int | None:
    value = _number(data, names)
    return round(value) if value else None


def _figures(data: Mapping[str, Any], done: int | None) -> dict[str, Figure]:
    figures = singles({name: _number(data, names) for name, names in RATES.items()})
    for family, forms in MEANS.items():
        for theirs, scale in forms:
            value = _number(data, (theirs,))
            if value:  # 0 stands for a latency that was not measured
                figures[f"{family}.mean"] = Figure(value * scale, count=done)
    return figures


def _percentiles(percentiles: Any, done: int | None) -> dict[str, Figure]:
    """The percentiles of the file beside the summary: a list of rows, each with the name of its
    percentile ("50%", "P99")."""
    figures: dict[str, Figure] = {}
    for row in percentiles if isinstance(percentiles, list) else ():
        if not isinstance(row, dict):
            raise UsageError(f"{PERCENTILE_FILE} has a row {shown(row)}, which is no object")
        at = re.search(r"\d+(\.\d+)?", str(row.get("Percentiles", "")))
        name = f"p{at[0].removesuffix('.0')}" if at else ""
        if name not in PERCENTILES:
            continue
        for family, forms in COLUMNS.items():
            for theirs, scale in forms:
                value = row.get(theirs)
                if value is None or (isinstance(value, float) and math.isnan(value)):
                    continue  # evalscope writes NaN for a latency that was not measured
                figures |= given(family, {name: checked_number(value, theirs)}, done, scale)
    return figures
