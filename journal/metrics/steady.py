"""The steady-state rows of the table that a search for capacity reads: answers per second, and how
many independent requests its good fraction is worth."""

import numpy as np

from journal.metrics.arrays import Array, Mask
from journal.metrics.row import Metric, number_only
from journal.metrics.throughput import good_of_measured
from journal.metrics.view import View
from journal.records.load_shape import Closed, LoadShape

BLOCKS = 10  # of neighbours, in order of start; whole waves in a closed loop
LEAST_BLOCKS = 4
LEAST_ANSWERS = 20


def _requests_per_s(view: View) -> float | None:
    """The slope of a line through the number of answers over time inside the steady state (least
    squares), which does not depend on how many end together at either end, as a count does."""
    steady = view.steady
    if steady is None:
        return None
    end_s = np.sort(view.end_s[(view.end_s > steady.start_s) & (view.end_s <= steady.end_s)])
    if len(end_s) < LEAST_ANSWERS or np.ptp(end_s) == 0:
        return None
    apart_s = end_s - end_s.mean()
    return float(np.sum(apart_s * np.arange(len(end_s))) / np.sum(apart_s * apart_s))


def _good_effective(view: View) -> float | None:
    good, steady = good_of_measured(view), view.steady
    if good is None or steady is None:
        return None
    order = np.argsort(view.all_start_s, kind="stable")
    order = order[view.all_start_s[order] > steady.start_s]
    return worth(good[order], view.cell.shape) if len(order) else None


def worth(good: Mask, shape: LoadShape) -> float:
    """The independent requests that `good` (one element for each request, in order of start) is
    worth under a load."""
    if good.all() or not good.any():
        return float(len(good))
    blocks = len(good) // shape.batch if isinstance(shape, Closed) else BLOCKS
    return effective(good.astype(float), min(BLOCKS, blocks))


def effective(held: Array, blocks: int) -> float:
    """The independent requests that `held` (0 or 1 for each request, in order) is worth: its length
    over the design effect, by which the scatter of the means of `blocks` blocks exceeds that of
    independent requests (Kish 1965, "Survey Sampling", 8.2). Never more than there are. All of
    them where all are alike, or where there are fewer than LEAST_BLOCKS blocks."""
    count, share = len(held), float(held.mean())
    blocks = min(blocks, count)
    if blocks < LEAST_BLOCKS or not 0 < share < 1:
        return float(count)
    ends = np.arange(1, blocks) * count // blocks
    means = np.array([part.mean() for part in np.split(held, ends)])
    design = float(means.var(ddof=1)) * (count / blocks) / (share * (1 - share))
    return count / max(1.0, design)


STEADY = (
    Metric(
        "steady_requests_per_s",
        "throughput",
        "req/s",
        "slope of the number of successful requests over the time at which they end, of those "
        f"that do inside the steady state, if {LEAST_ANSWERS} or more",
        "Requests per second without ramp-up and drain: what an overloaded server answers.",
        number_only(_requests_per_s),
        better="higher",
    ),
    Metric(
        "steady_good_effective",
        "throughput",
        "requests",
        f"requests of steady_good_fraction / (variance between the means of {BLOCKS} blocks of "
        "neighbours / that of independent requests)",
        "How many independent requests that fraction is worth: requests that share a queue are "
        "good or bad together. Absent without an SLO.",
        number_only(_good_effective),
    ),
)
