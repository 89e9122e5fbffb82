"""The requests of a run that are independent of each other, and the intervals that rest on them.

Requests in flight together share the server's steps, its queue and its stalls, so that the request
is not the unit. In a closed loop the unit is the wave: as many requests in order of start as are in
flight. In an open loop it is a block of neighbours that is longer than the requests in flight. At
most ten groups of whole units are formed; an interval is Student's t over them, widened by
journal/metrics/slowness.py where the noise changes slowly, and by between_streams.py beside it
where streams of a closed loop wait for each other. Where there are too few units there is
no interval. docs/calibration.md has how often each interval is right.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index, Mask
from journal.metrics.between_streams import lasting_half
from journal.metrics.skew import around, least_share
from journal.metrics.slowness import PARTS, Prior, carried, shared, widening
from journal.metrics.statistics import (
    CONFIDENCE,
    LEAST_GROUPS,
    MOST_GROUPS,
    PERCENTILES,
    STATISTICS,
    figure,
    needed_samples,
    t_quantile,
    wilson,
)
from journal.records.figure import Figure

OPEN_REQUESTS = 200  # the least of an open loop: a queue is empty for long and long for a while
BEYOND = 5  # waves that must lie beyond a percentile in a closed loop
BEYOND_OPEN = 100  # requests that must in an open one, for a percentile above the median
TAIL_POWER = 1.5  # of the widening of such a percentile: its scatter is that of whole queues
REACH = 2.0  # a widening from which on the truth may lie beyond all values of a run
REACH_OPEN = 1.3
EITHER = 0.4  # of all requests: two kinds of them, and not one with outliers
SPARSE = 1.75  # times: values that lie so much farther apart in the middle than beside it
DIFFERING = 10  # requests, in effect, that the excess over the least latency must stem from
OVERLAP_LOOKS = 64  # at the requests in flight, for each group
DRAIN = 1.1  # of the idle share times the deviation of the lengths
# Noise that outlasts the run looks like noise that lasts for a third of it, so that a widening
# above this one grows faster than by what the run shows: docs/calibration.md has both.
OUTLASTING, STEEP = 3.6, 4
# A server's steps may be slow for most of a run, a queue may outlast it.
STEPS = Prior(lengths=(0.6, 1.2, 2.4, 4.8, 9.6, 19.0, 38.0, 77.0), white=10.0)
QUEUE = Prior(lengths=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), white=8.0)

GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it fall into either half without a pattern
NORMAL = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

Refusal = Literal["waves", "requests"]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The independent groups of one run's requests. `group` has the group of each measured request,
    from 0 to `groups` - 1, `stream` its stream in a closed loop, from 0 to `unit` - 1. `unit` is
    the number of requests in a unit, the batch or the mean number in flight. `widening` is the
    factor on each interval, 1 or more, for groups that overlap and noise that changes slowly.
    """

    group: Index
    stream: Index
    groups: int
    unit: int
    is_open: bool
    widening: float

    @property
    def requests(self) -> int:
        return len(self.group)

    @property
    def whole(self) -> int:
        """How many whole units there are."""
        return self.requests // self.unit

    @property
    def needed(self) -> int:
        """The requests from which on there are intervals."""
        return max(LEAST_GROUPS * self.unit, OPEN_REQUESTS if self.is_open else 0)

    @property
    def refusal(self) -> Refusal | None:
        """Why the run has no intervals at all; None where it has."""
        if self.requests >= self.needed:
            return None
        return "requests" if self.is_open else "waves"

    def needed_for(self, fraction: float) -> int:
        """The requests from which on the percentile at `fraction` (0 to 1) has an interval."""
        if self.is_open:
            tail = math.ceil(BEYOND_OPEN / (1 - fraction) - 1e-9) if fraction > 0.5 else 0
            return max(self.needed, tail)
        return max(self.needed, math.ceil(BEYOND / (1 - fraction) - 1e-9) * self.unit)


def units(start_s: Array, end_s: Array, lanes: int | None) -> Units:
    """The groups of requests that were sent at `start_s` and over at `end_s` (same shape); `lanes`
    is the batch of a closed loop, None in an open one."""
    count = len(start_s)
    unit = lanes
    if unit is None:
        span_s = float(end_s.max() - start_s.min()) if count else 0.0
        unit = math.ceil(float((end_s - start_s).sum()) / span_s) if span_s > 0 else 1
    unit = max(1, unit)
    whole = count // unit
    groups = min(MOST_GROUPS, whole)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(start_s, kind="stable")] = np.arange(count)
    ends = np.arange(1, groups) * whole // max(groups, 1) * unit
    group = np.searchsorted(ends, rank, side="right")
    overlap = _overlap(start_s, end_s, group, groups)
    return Units(group, rank % unit, groups, unit, lanes is None, overlap)


def _overlap(start_s: Array, end_s: Array, group: Index, groups: int) -> float:
    """How much wider the interval from the groups' scatter must be, since neighbouring groups share
    the steps of the time in which both are in flight: the square root of the variance of the mean
    of all over what the groups would have if they shared none, for steps that are independent.
    Streams that begin spread overlap by one request's time, those of a convoy not at all."""
    if groups < 2:
        return 1.0
    looks_s = np.linspace(start_s.min(), end_s.max(), OVERLAP_LOOKS * groups)
    flying = [
        np.searchsorted(np.sort(start_s[group == g]), looks_s, side="right")
        - np.searchsorted(np.sort(end_s[group == g]), looks_s, side="right")
        for g in range(groups)
    ]
    share = np.array(flying) / np.maximum(1, np.sum(flying, axis=1, keepdims=True))
    apart = float((share**2).sum())
    together = float((share.sum(axis=0) ** 2).sum())
    return math.sqrt(max(1.0, together / apart)) if apart > 0 else 1.0


class Estimate(NamedTuple):
    """A mean or a ratio of sums, and half of its 95% interval."""

    value: float
    half: float


def ratio_of_sums(
    numerator: Array, denominator: Array, group: Index, factor: float
) -> Estimate | None:
    """sum(numerator) / sum(denominator), where element i of both belongs to group[i]: Student's t
    over the groups, `factor` times as wide. None below LEAST_GROUPS groups with anything in them.
    """
    below = np.bincount(group, weights=denominator)
    known = below > 0
    count = int(known.sum())
    if count < LEAST_GROUPS:
        return None
    above, below = np.bincount(group, weights=numerator)[known], below[known]
    value = float(above.sum() / below.sum())
    rest = (above - value * below) / below.mean()
    return Estimate(value, factor * _half(rest, count))


def _half(deviations: Array, count: int) -> float:
    spread = math.sqrt(float((deviations**2).sum()) / (count - 1) / count)
    return t_quantile((1 + CONFIDENCE) / 2, count - 1) * spread


class _Values(NamedTuple):
    """The values of one latency in the groups of a run, and how much wider its intervals are."""

    values: Array
    owner: Index
    group: Index
    ordered: Array
    run: Units
    factor: float
    stream: Index | None


def describe(
    values: Array,
    owner: Index,
    group: Index,
    run: Units,
    lengths: Array | None = None,
    least_error: float = 0.0,
    stream: Index | None = None,
) -> dict[str, Figure]:
    """Mean, p50, p90, p95, p99 and maximum of `values`, with 95% intervals where there are any.

    `owner` (same shape, not decreasing) is the row of the request that each value belongs to, and
    `group` the group of each row, in order of `run`. `lengths` (same shape, above 0): what each
    value grows with, as latency does with the tokens of the answer. `least_error`: the standard
    error of the mean that is known from elsewhere. `stream`: the stream of each row, for a latency
    in which the streams of a closed loop may differ for good, or which changes by itself. A
    percentile with fewer samples than `needed_samples` is None.
    """
    count = len(values)
    if count == 0:
        return {name: Figure(None, count=0) for name in STATISTICS}
    factor = factor_of(values, owner, run, by_itself=stream is not None)
    if lengths is not None and not (run.is_open or run.refusal):
        factor = _of_lengths(values, lengths, group[owner], factor)
    sample = _Values(values, owner, group[owner], np.sort(values), run, factor, stream)
    figures = {"mean": _mean(sample, least_error)}
    for name, at in PERCENTILES.items():
        figures[name] = _percentile(sample, at)
    figures["max"] = Figure(float(sample.ordered[-1]), count=count)
    return figures


def factor_of(values: Array, owner: Index, run: Units, by_itself: bool = False) -> float:
    """The widening for a latency: in an open loop, and where it may change `by_itself`, also by how
    slowly the latency changes from request to request, as a queue makes it do. In a closed loop
    that is looked at from wave to wave."""
    if run.refusal or not (run.is_open or by_itself):
        return run.widening
    count = np.bincount(owner)
    means = np.bincount(owner, weights=values)[count > 0] / count[count > 0]
    prior, parts = (QUEUE, PARTS) if run.is_open else (STEPS, min(PARTS, run.whole))
    return max(run.widening, widening(means, run.groups, prior, parts))


def _of_lengths(values: Array, lengths: Array, group: Index, factor: float) -> float:
    """The part of `factor` that holds for `values` whose `lengths` differ: the time per unit of
    length is as uncertain as the server's steps make it, while the lengths themselves are drawn for
    each request by itself."""
    ones = np.ones(len(values))
    plain = ratio_of_sums(values, ones, group, 1.0)
    pace = ratio_of_sums(values, lengths, group, factor)
    mean = ratio_of_sums(lengths, ones, group, 1.0)
    if plain is None or pace is None or mean is None or plain.half == 0:
        return factor
    half = math.hypot(pace.half * mean.value, pace.value * mean.half)
    return min(factor, max(1.0, half / plain.half))


def _mean(sample: _Values, least_error: float) -> Figure:
    values, count = sample.values, len(sample.values)
    mean, least = float(values.mean()), float(sample.ordered[0])
    estimate = None
    if sample.run.refusal is None:
        estimate = ratio_of_sums(values, np.ones(count), sample.group, sample.factor)
    excess = values - least
    if estimate is None or (sample.run.is_open and _differing(excess) < DIFFERING):
        return Figure(mean, count=count)
    half = max(estimate.half, t_quantile((1 + CONFIDENCE) / 2, sample.run.groups - 1) * least_error)
    half = math.hypot(half, _lasting(sample, values))
    return figure(mean, *around(mean, half, least, sample.run.is_open), count)


def _lasting(sample: _Values, values: Array) -> float:
    """Half of the interval of the mean of `values` (as in `sample`) for streams that differ."""
    if sample.stream is None or sample.run.is_open:
        return 0.0
    return lasting_half(values, sample.owner, sample.stream)


def _differing(excess: Array) -> float:
    """How many values, in effect, the sum of `excess` stems from: all of them where they are equal,
    one where one holds it all."""
    squares = float((excess**2).sum())
    return float(excess.sum()) ** 2 / squares if squares > 0 else 0.0


def _percentile(sample: _Values, at: float) -> Figure:
    """The percentile at `at` with Woodruff's (1952) interval, which is that of the share of samples
    below it read back through the quantile function. Its ends are values of the run: where slow
    noise or a queue may lie beyond all of them, and in the tail, the interval of the groups' own
    percentiles counts where it is wider. In open loop a median is widened by how slowly the share
    changes, where that is less than the latency does. No interval where a median lies between two
    kinds of requests, since a few more of either would move it from one to the other."""
    count, run = len(sample.values), sample.run
    if count < needed_samples(at):
        return Figure(None, count=count)
    value = float(np.quantile(sample.ordered, at))
    if run.requests < run.needed_for(at):
        return Figure(value, count=count)
    rank = round(at * count)
    below = np.zeros(count)
    below[np.argsort(sample.values, kind="stable")[:rank]] = 1.0
    factor = sample.factor
    if run.is_open and at > 0.5:
        factor **= TAIL_POWER
    elif run.is_open:
        factor = min(factor, factor_of(below, sample.owner, run))
    estimate = ratio_of_sums(below, np.ones(count), sample.group, factor)
    if estimate is None:
        return Figure(value, count=count)
    share = rank / count
    half = math.hypot(estimate.half, _lasting(sample, below))
    less, more = wilson(share, _uncertainty(share, half, count))
    shares = [max(0.0, min(at, at + less - share)), min(1.0, max(at, at + more - share))]
    if _between_two(sample.ordered, *shares):
        return Figure(value, count=count)
    low, high = np.quantile(sample.ordered, shares).tolist()
    if factor > (REACH_OPEN if run.is_open else REACH):
        half = factor * _scatter(sample, at)
        least, most = around(value, half, float(sample.ordered[0]), run.is_open)
        low, high = min(low, least), max(high, most)
    return figure(value, low, high, count)


def _between_two(ordered: Array, low: float, high: float) -> bool:
    """Whether half of the way from the quantile at `low` to that at `high` is one gap, with
    EITHER of all values or more on both sides of it, or the way is more than SPARSE times as long
    as that of as many values on either side."""
    first, last = (round(share * (len(ordered) - 1)) for share in (low, high))
    gaps = np.diff(ordered[first : last + 1])
    if len(gaps) == 0 or gaps.sum() == 0:
        return False
    place = first + 1 + int(np.argmax(gaps))  # so many values lie below the gap
    fewest = min(place, len(ordered) - place)
    if gaps.max() >= gaps.sum() / 2 and fewest >= EITHER * len(ordered):
        return True
    before, after = first - len(gaps), last + len(gaps)
    if before < 0 or after >= len(ordered):
        return False
    beside = max(ordered[first] - ordered[before], ordered[after] - ordered[last])
    return bool(gaps.sum() > SPARSE * beside)


def _scatter(sample: _Values, at: float) -> float:
    """Half the t interval of the mean of the groups' percentiles."""
    order = np.argsort(sample.group, kind="stable")
    ends = np.flatnonzero(np.diff(sample.group[order])) + 1
    parts = np.split(sample.values[order], ends)
    inside = np.array([np.quantile(part, at) for part in parts])
    return _half(inside - inside.mean(), len(inside))


def share_of_requests(good: Mask, group: Index, run: Units, factor: float) -> Figure:
    """The share of `good` (one element for each request, as in `group`) with Wilson's (1927) score
    interval: of as many independent requests as the scatter between groups leaves, and where all
    requests are alike, of as many as there are units. In an open loop the lower end counts that a
    queue makes the others. None of nothing."""
    count = len(good)
    if count == 0:
        return Figure(None, count=0)
    share = float(good.mean())
    estimate = ratio_of_sums(good.astype(float), np.ones(count), group, factor)
    if run.refusal or estimate is None:
        return Figure(share, count=count)
    if not 0 < share < 1:
        return figure(share, *wilson(share, NORMAL**2 * factor**2 / run.whole), count)
    low, high = wilson(share, _uncertainty(share, estimate.half, count))
    if run.is_open:
        low = min(low, least_share(share, estimate.half, factor))
    return figure(share, low, high, count)


def _uncertainty(share: float, half: float, count: int) -> float:
    """z^2 / n of Wilson's interval for the n independent requests whose share would have an
    interval of +-half; at most `count` of them."""
    return max(NORMAL**2 / count, half**2 / (share * (1 - share)))


def throughput(amounts: Array, flight_s: Array, run: Units, value: float, reached: float) -> Figure:
    """The throughput `value` of a closed loop with `reached` requests in flight on average, where
    element i of `amounts` and the time in flight flight_s[i] belong to one request of `run`: as
    uncertain as sum(amounts) / sum(flight_s).

    Where the requests are of different length, chance also decides how long the last one leaves
    the other streams idle, which widens the interval by as much as the streams were idle, times
    the relative deviation of the lengths. The time that one of the amount takes is as skewed as any
    latency, and its upper end gives the lower one of the rate.
    """
    count = len(amounts)
    estimate = ratio_of_sums(amounts, flight_s, run.group, run.widening)
    if run.refusal or estimate is None or estimate.value == 0:
        return Figure(value, count=count)
    idle = max(0.0, 1 - reached / run.unit)
    drain = DRAIN * idle * float(flight_s.std() / flight_s.mean())
    half = math.hypot(estimate.half / estimate.value, drain)
    worked = amounts > 0
    least = estimate.value * float((flight_s[worked] / amounts[worked]).min())
    _, slowest = around(1.0, half, least, is_open=False)
    return figure(value, value / slowest, value * (1 + half), count)


def slow_steps(at_s: Array, gaps_s: Array, owner: Index, run: Units) -> Units:
    """`run` with its widening, by the gaps between chunks that ended at `at_s`, each of the request
    in row `owner`. Slow noise, and in a closed loop the steps that groups share, count as far as
    requests in flight together have them in common: a request that is slow by itself says nothing
    about the others. In a closed loop the two add to the variance; in an open one they multiply.
    """
    if run.refusal:
        return run
    order = np.argsort(at_s, kind="stable")
    series, of = gaps_s[order], owner[order]
    factor = widening(series, run.groups, STEPS)
    factor *= max(1.0, factor / OUTLASTING) ** STEEP
    alone = run.unit == 1 and not run.is_open
    part = carried(series, of) if alone else shared(series, of * GOLDEN % 1 < 0.5)
    if run.is_open:
        return replace(run, widening=run.widening * math.sqrt(1 + part * (factor**2 - 1)))
    return replace(run, widening=math.sqrt(1 + part * (run.widening**2 + factor**2 - 2)))
