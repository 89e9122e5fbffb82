"""Two speeds: requests that were under way at the same time and fall into a fast and a slow group,
as behind a balancer in front of two unequal servers."""

import math
from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index, Mask
from journal.metrics.pace import AT_ONCE_S

APART = 1.1  # times: the medians of the groups
SEPARATION = 6.0  # deviations within the groups; of one normal group's halves it is 2.7
LEAST = 4  # requests in either group
SMALLEST = 0.1  # of the requests in either group
GAPS = 4  # of a request, from which its median gap is taken
PERIOD = 2.0  # slow gaps: what counts as the same time
BOTH = 0.1  # of the periods, in which both speeds are seen: one change of speed is no balancer
APART_TOGETHER = 0.5  # of the (logarithmic) distance of the groups, seen at the same time
TOGETHER = -1.6  # standard deviations: fewer runs of one speed than that, and speed follows time
EXPLAINED = 0.8  # of pairs of a slow and a fast request, in which the slow one had more to carry


class Gaps(NamedTuple):
    """The gaps between the chunks of all requests (same shape): when each ended and how long it
    was, in s, and the row of its request."""

    at_s: Array
    gap_s: Array
    owner: Index


class TwoSpeeds(NamedTuple):
    """The median gap of the fast and of the slow requests, in s, and the share of slow ones."""

    fast_s: float
    slow_s: float
    slow_fraction: float


def medians(values: Array, owner: Index, requests: int) -> Array:
    """The median of the values of each request, NaN with fewer than GAPS of them. `owner` may be in
    any order; requests with equally many values are looked at together, since that is quickest."""
    if np.any(owner[1:] < owner[:-1]):
        values = values[np.argsort(owner, kind="stable")]
    counts = np.bincount(owner, minlength=requests)
    begins = np.cumsum(counts) - counts
    middle: Array = np.full(requests, np.nan)
    for count in np.unique(counts[counts >= GAPS]):
        alike = np.flatnonzero(counts == count)
        rows = values[begins[alike, None] + np.arange(count)]
        rows.partition(count // 2, axis=1)
        middle[alike] = rows[:, count // 2]
    return middle


def two_speeds(gap_s: Array, gaps: Gaps, *loads: Array) -> TwoSpeeds | None:
    """The two speeds of requests in order of start, by the median gap of each; None where they
    have one, where the chunks of the fast ones came together, where speed follows the time, or
    where one of `loads` (what each request carried, same shape) explains it."""
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
    if fast_s <= AT_ONCE_S or slow_s < APART * fast_s or apart < SEPARATION * within:
        return None
    if _follows_time(slow, gaps, PERIOD * slow_s) or any(_explains(load, slow) for load in loads):
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


def _follows_time(slow: Mask, gaps: Gaps, period_s: float) -> bool:
    """Whether slow requests have the gaps of fast ones wherever both are under way in a period of
    that length; where few are, whether requests of one speed follow each other."""
    period = ((gaps.at_s - gaps.at_s.min()) / period_s).astype(np.int64)
    counts, sums = np.zeros((2, 2, int(period.max()) + 1))
    for group, of in enumerate((~slow[gaps.owner], slow[gaps.owner])):
        counts[group] = np.bincount(period[of], minlength=counts.shape[1])
        sums[group] = np.bincount(period[of], weights=gaps.gap_s[of], minlength=counts.shape[1])
    both = counts.min(axis=0) > 0
    if both.sum() < max(LEAST, BOTH * counts.any(axis=0).sum()):
        return _runs(slow) < TOGETHER
    there = counts[:, both].min(axis=0) * sums[:, both] / counts[:, both]
    fast, slower = np.log(there.sum(axis=1))
    whole = np.log(sums.sum(axis=1) / counts.sum(axis=1))
    return bool(slower - fast < APART_TOGETHER * (whole[1] - whole[0]))


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
