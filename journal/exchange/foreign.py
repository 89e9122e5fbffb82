"""A run from a result file of another tool, in the journal's own terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from statistics import fmean, median_low

import numpy as np

from journal.metrics.statistics import PERCENTILES, needed_samples
from journal.records.doubt import Values
from journal.records.figure import Figure, Metrics
from journal.records.request import Trace
from journal.records.workload import RANDOM_TOKENS, Workload

ERROR_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One run of another tool; None: the file does not say. `rate` is in requests/s, `batch` a
    closed loop's. `traces` are its requests; `every_chunk` False: only the first and the last chunk
    of each answer are known. Without traces the run has `figures` alone, and `samples` are values
    of its requests whose times are not known, by the families of metrics.

    `own` are the figures that the file gives itself, to be compared: by the name of a metric, or
    of one of `own_figures.Values`. `notes` are the values of a doubt "absent" for each fact that
    the file lacks, and `cancelled` says that the tool was stopped. `repeat` counts runs of one
    setting."""

    tool: str
    version: str | None = None
    model: str | None
    batch: int | None
    rate: float | None
    burstiness: float = 1.0
    started_at: datetime | None
    duration_s: float | None
    requests: int
    prompt_tokens: int | None
    output_tokens: int | None
    traces: tuple[Trace, ...] = ()
    every_chunk: bool = True
    figures: Metrics = field(default_factory=dict)
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[Values, ...] = ()
    cancelled: bool = False
    repeat: int = 0
    workload: Workload = RANDOM_TOKENS


def answered(
    index: int,
    start_s: float,
    chunk_s: Sequence[float],
    end_s: float,
    *,
    prompt_tokens: int | None,
    output_tokens: int | None,
    prompt_tokens_asked: int | None = None,
    cached_tokens: int | None = None,
    scheduled_s: float | None = None,
    output_chars: int | None = None,
    warmup: bool = False,
    ends_only: bool = False,
) -> Trace:
    """The trace of a request that the tool counted as a success, times in s. The tokens asked for
    are taken to be the tokens that came, unless the file has another number for them. `ends_only`:
    `chunk_s` is that of the first token and of the last."""
    asked = prompt_tokens if prompt_tokens_asked is None else prompt_tokens_asked
    counted = (1, output_tokens - 1) if ends_only and output_tokens is not None else None
    return Trace(
        index=index,
        warmup=warmup,
        scheduled_s=start_s if scheduled_s is None else scheduled_s,
        start_s=start_s,
        end_s=max(end_s, *chunk_s) if chunk_s else end_s,
        outcome="ok",
        prompt_tokens_asked=0 if asked is None else asked,
        output_tokens_asked=0 if output_tokens is None else output_tokens,
        chunk_s=tuple(chunk_s),
        chunk_tokens=counted,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        output_chars=output_chars,
    )


def failed(
    index: int,
    start_s: float,
    end_s: float,
    error: str,
    scheduled_s: float | None = None,
    *,
    warmup: bool = False,
) -> Trace:
    """The trace of a request that failed, times in s, with up to ERROR_CHARS of the tool's
    error."""
    return Trace(
        index=index,
        warmup=warmup,
        scheduled_s=start_s if scheduled_s is None else scheduled_s,
        start_s=start_s,
        end_s=max(start_s, end_s),
        outcome="error",
        prompt_tokens_asked=0,
        output_tokens_asked=0,
        error=error[:ERROR_CHARS] or "failed, and the tool gives no reason",
    )


def stamps(start_s: float, ttft_s: float, gaps_s: Sequence[float]) -> list[float]:
    """The time of each chunk in s, from the time to the first one and the gaps after it."""
    return list(accumulate(gaps_s, initial=start_s + ttft_s))


def typical(lengths: Sequence[int | None]) -> int | None:
    """The typical length in tokens: the median of the known lengths; None where all are unknown."""
    known = [length for length in lengths if length is not None]
    return median_low(known) if known else None


def spread_of(values: Sequence[float]) -> dict[str, Figure]:
    """The mean and the percentiles of `values` by their names; a percentile of too few is
    absent."""
    count = len(values)
    figures = {"mean": Figure(fmean(values) if count else None, count=count)}
    for name, at in PERCENTILES.items():
        enough = count >= needed_samples(at)
        figures[name] = Figure(float(np.quantile(values, at)) if enough else None, count=count)
    return figures


def singles(values: Mapping[str, float | None]) -> dict[str, Figure]:
    """The figures of a file that are one number each, by the names of metrics; those that it does
    not give are left out."""
    return {name: Figure(float(value)) for name, value in values.items() if value is not None}


def given(
    family: str, own: Mapping[str, float | None], count: int | None, scale: float = 1.0
) -> dict[str, Figure]:
    """The figures of a file for one latency by the names of metrics: `family` with each statistic
    of `own` (mean, p50 and so on), times `scale` in s. A percentile is absent where `count`
    requests are too few for it, or where the file does not tell their number."""
    figures = {}
    for name, value in own.items():
        at = PERCENTILES.get(name)
        enough = at is None or (count is not None and count >= needed_samples(at))
        shown = value * scale if enough and value is not None else None
        figures[f"{family}.{name}"] = Figure(shown, count=count)
    return figures


def known(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """The figures that have a value."""
    return {name: figure for name, figure in figures.items() if figure.value is not None}


def given_values(figures: Mapping[str, Figure]) -> dict[str, float]:
    """The values of the figures that have one, by the names of metrics."""
    return {name: figure.value for name, figure in figures.items() if figure.value is not None}


def from_send(rate: float | None) -> tuple[Values, ...]:
    """The note on a file that does not tell when the requests of an open loop were due; empty for
    a closed loop, where `rate` is None."""
    return () if rate is None else ({"variant": "imported_from_send"},)


def without_requests(lack: str, option: str = "") -> Values:
    """The values of a doubt "absent" for a file without requests: `lack` says why, and `option` is
    the tool's option that writes them."""
    return {"variant": "imported_figures", "lack": lack, "option": option}
