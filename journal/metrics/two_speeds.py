"""Two speeds: requests that were under way at the same time and fall into a fast and a slow group,
as behind a balancer in front of two unequal servers."""

import math
from typing import Literal, NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Mask
from journal.metrics.gaps import Gaps
from journal.metrics.pace import AT_ONCE_S

APART = 1.1  # times: the medians of the groups
SEPARATION = 6.0  # deviations within the groups; of one normal group's halves it is 2.7
LEAST = 4  # requests in either group
SMALLEST = 0.1  # of the requests in either group
PERIOD = 2.0  # slow gaps: what counts as the same time
BOTH = 0.1  # of the periods, in which both speeds are seen: one change of speed is no balancer
APART_TOGETHER = 0.5  # of the (logarithmic) distance of the groups, seen at the same time
TOGETHER = -1.6  # standard deviations: fewer runs of one speed than that, and speed follows time
EXPLAINED = 0.8  # of pairs of a slow and a fast request, in which the slow one had more to carry
AS_MUCH = 0.5  # of the (logarithmic) distance of the groups, by which their loads differ: no step
# takes longer by more than what it carries

LoadName = Literal["crowd", "tokens", "prompts"]


class Loads(NamedTuple):
    """What each request carried (same shape): the requests in flight beside it, which are the same
    for all at one time, and its own tokens of output and of prompt."""

    crowd: Array
    tokens: Array
    prompts: Array


class TwoSpeeds(NamedTuple):
    """The median gap of the fast and of the slow requests, in s, the share of slow ones, and what
    they carried that may be the cause, if it is not the server (None: nothing)."""

    fast_s: float
    slow_s: float
    slow_fraction: float
    explained_by: LoadName | None = None


def two_speeds(gap_s: Array, gaps: Gaps, loads: Loads) -> TwoSpeeds | None:
    """The two speeds of requests in order of start, by the median gap of each; None where they
    have one, where the chunks of the fast ones came together, or where speed follows the time."""
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
    beside = _apart_together(slow, gaps, PERIOD * slow_s)
    if _runs(slow) < TOGETHER if beside is None else beside < APART_TOGETHER:
        return None
    cause = _explanation(loads, slow, AS_MUCH * math.log(slow_s / fast_s), beside is not None)
    return TwoSpeeds(fast_s, slow_s, float(slow.mean()), cause)


def _best_cut(ordered: Array) -> float:
    """The value up to which the lower group reaches, at the least sum of squares within the two
    (Fisher, 1958, "On Grouping for Maximum Homogeneity")."""
    count = len(ordered)
    low = np.arange(1, count)
    below = np.cumsum(ordered)[:-1]
    between = below**2 / low + (ordered.sum() - below) ** 2 / (count - low)
    return float(ordered[int(np.argmax(between))])


def _apart_together(slow: Mask, gaps: Gaps, period_s: float) -> float | None:
    """How far the gaps of slow and fast requests are apart where both are under way in a period of
    that length, as a share of the (logarithmic) distance of all; None where few are."""
    period = ((gaps.at_s - gaps.at_s.min()) / period_s).astype(np.int64)
    counts, sums = np.zeros((2, 2, int(period.max()) + 1))
    for group, of in enumerate((~slow[gaps.owner], slow[gaps.owner])):
        counts[group] = np.bincount(period[of], minlength=counts.shape[1])
        sums[group] = np.bincount(period[of], weights=gaps.gap_s[of], minlength=counts.shape[1])
    both = counts.min(axis=0) > 0
    if both.sum() < max(LEAST, BOTH * counts.any(axis=0).sum()):
        return None
    there = counts[:, both].min(axis=0) * sums[:, both] / counts[:, both]
    fast, slower = np.log(there.sum(axis=1))
    whole = np.log(sums.sum(axis=1) / counts.sum(axis=1))
    return float((slower - fast) / (whole[1] - whole[0])) if whole[1] > whole[0] else 0.0


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


def _explanation(loads: Loads, slow: Mask, least: float, beside: bool) -> LoadName | None:
    """The load that may be why requests are slow; None where there is none. Their own tokens may
    where they differ by `least` (in logarithms) one way or the other; the requests in flight where
    the slow ones had more of them, unless they were slow `beside` fast ones."""
    if not beside and _more(loads.crowd, slow) > EXPLAINED:
        return "crowd"
    if _differs(loads.tokens, slow, least):
        return "tokens"
    return "prompts" if _differs(loads.prompts, slow, least) else None


def _differs(load: Array, slow: Mask, least: float) -> bool:
    """Whether slow requests nearly all carried more than fast ones (or nearly all less), and by
    `least` at the median, in logarithms."""
    if 1 - EXPLAINED <= _more(load, slow) <= EXPLAINED:
        return False
    ours, theirs = (max(1.0, float(np.median(load[of]))) for of in (slow, ~slow))
    return abs(math.log(ours / theirs)) >= least


def _more(load: Array, slow: Mask) -> float:
    """The share of pairs of a slow and a fast request in which the slow one carried more."""
    ours, theirs = load[slow], np.sort(load[~slow])
    below = np.searchsorted(theirs, ours, side="left") + np.searchsorted(theirs, ours, side="right")
    return float(below.mean()) / 2 / len(theirs)
