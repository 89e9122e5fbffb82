"""Two speeds: requests that were under way at the same time and fall into a fast and a slow group,
as behind a balancer in front of two unequal servers."""

import math
from typing import NamedTuple

import numpy as np

from journal.metrics.statistics import Array, Index, Mask

APART = 1.1  # times: the medians of the groups
SEPARATION = 6.0  # deviations within the groups; of one normal group's halves it is 2.7
LEAST = 4  # requests in either group
SMALLEST = 0.1  # of the requests in either group
GAPS = 4  # of a request, from which its median gap is taken
TOGETHER = -1.6  # standard deviations: fewer runs of one speed than that, and speed follows time
EXPLAINED = 0.8  # of pairs of a slow and a fast request, in which the slow one had more to carry


class TwoSpeeds(NamedTuple):
    """The median gap of the fast and of the slow requests, in s, and the share of slow ones."""

    fast_s: float
    slow_s: float
    slow_fraction: float


def medians(values: Array, owner: Index, requests: int) -> Array:
    """The median of the values of each request, NaN with fewer than GAPS of them."""
    order = np.lexsort((values, owner))
    counts = np.bincount(owner, minlength=requests)
    begins = np.cumsum(counts) - counts
    middle: Array = np.full(requests, np.nan)
    enough = counts >= GAPS
    places = (begins + counts // 2)[enough]
    middle[enough] = values[order][places]
    return middle


def two_speeds(gap_s: Array, *loads: Array) -> TwoSpeeds | None:
    """The two speeds of requests in order of start, by the median gap of each; None where they
    have one, where speed follows the time, or where one of `loads` (what each request carried, same
    shape) explains it."""
    count = len(gap_s)
    if count < 2 * LEAST or np.ptp(gap_s) == 0:
        return None
    cut = _best_cut(np.sort(gap_s))
    slow = gap_s > cut
    parts = gap_s[~slow], gap_s[slow]
    if min(map(len, parts)) < max(LEAST, SMALLEST * count):
        return None
    fast_s, slow_s = (float(np.median(part)) for part in parts)
    within = math.sqrt(sum(float(((p - p.mean()) ** 2).sum()) for p in parts) / (count - 2))
    apart = float(parts[1].mean() - parts[0].mean())
    if slow_s < APART * fast_s or apart < SEPARATION * within:
        return None
    if _runs(slow) < TOGETHER or any(_explains(load, slow) for load in loads):
        return None
    return TwoSpeeds(fast_s, slow_s, float(slow.mean()))


def _best_cut(ordered: Array) -> float:
    """The value up to which the lower group reaches, at the least sum of squares within the two
    (Fisher, 1958, "On Grouping for Maximum Homogeneity")."""
    count = len(ordered)
    low = np.arange(1, count)
    below = np.cumsum(ordered)[:-1]
    between = below**2 / low + (ordered.sum() - below) ** 2 / (count - low)
    return float(ordered[int(np.argmax(between))])


def _runs(slow: Mask) -> float:
    """How many runs of equal speed there are, in standard deviations from what chance makes of it
    (Wald and Wolfowitz, 1940)."""
    ones = float(slow.sum())
    others = len(slow) - ones
    product, count = 2 * ones * others, len(slow)
    mean = product / count + 1
    variance = product * (product - count) / (count**2 * (count - 1))
    runs = 1 + int(np.sum(slow[1:] != slow[:-1]))
    return (runs - mean) / math.sqrt(variance) if variance > 0 else 0.0


def _explains(load: Array, slow: Mask) -> bool:
    """Whether slow requests nearly all carried more than fast ones (or nearly all less)."""
    ours, theirs = load[slow], np.sort(load[~slow])
    below = np.searchsorted(theirs, ours, side="left") + np.searchsorted(theirs, ours, side="right")
    more = float(below.mean()) / 2 / len(theirs)
    return not 1 - EXPLAINED <= more <= EXPLAINED
