"""The times of a run's requests that decide its figures under any SLO."""

from dataclasses import dataclass

import numpy as np

from journal.metrics.arrays import Array, Mask
from journal.metrics.steady import worth
from journal.metrics.throughput import within
from journal.metrics.view import View
from journal.records.cell import Cell
from journal.records.figure import Figure

LATENCIES = ("ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True, slots=True, eq=False)
class SloTimes:
    """The measured requests of a run in order of start. `latencies_s` has a row for each of
    LATENCIES and a column for each request, NaN where a request has no such time, and 0 for the
    TPOT of a single token. `span_s` is the length of the measured span, None without one;
    `steady_from` is the place of the first request that was sent in the steady state, None where
    the run had none."""

    span_s: float | None
    steady_from: int | None
    latencies_s: Array


def slo_times(view: View) -> SloTimes:
    """The times of a run from its samples."""
    order = np.argsort(view.all_start_s, kind="stable")
    latencies_s = np.full((len(LATENCIES), len(order)), np.nan)
    latencies_s[:, view.is_done] = view.ttft_s, view.tpot_of_slo_s, view.e2e_s
    span, steady = view.span, view.steady
    steady_from = None
    if steady is not None:
        starts_s = view.all_start_s[order]
        steady_from = int(np.searchsorted(starts_s, steady.start_s, side="right"))
    span_s = None if span is None else float(span.length_s)
    return SloTimes(span_s, steady_from, latencies_s[:, order])


def figures_under(times: SloTimes, cell: Cell) -> dict[str, Figure]:
    """The figures that the SLO of `cell` decides, by the names of their metrics, of a run with
    these times: their values and counts, without intervals; {} without an SLO."""
    if cell.slo is None:
        return {}
    good = within(cell.slo, *times.latencies_s)
    span_s, first = times.span_s, times.steady_from
    steady = good[first:] if first is not None else good[:0]
    return {
        "goodput_per_s": Figure(int(good.sum()) / span_s if span_s else None),
        "good_fraction": _share(good),
        "steady_good_fraction": Figure(None) if first is None else _share(steady),
        "steady_good_effective": Figure(worth(steady, cell.shape) if len(steady) else None),
    }


def _share(good: Mask) -> Figure:
    return Figure(int(good.sum()) / len(good) if len(good) else None, count=len(good))
