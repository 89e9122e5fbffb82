"""Statistics over the samples of one run and over repeats: pure functions on arrays.

Percentiles interpolate linearly between order statistics (numpy's default, type 7 of Hyndman and
Fan, 1996). Samples carry the request they came from, because the gaps of one request are not
independent of each other: every interval of a single run resamples whole requests.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from journal.records.figure import Figure

Array: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", *PERCENTILES)

CONFIDENCE = 0.95  # of every interval
PERCENTILE_CONFIDENCE = 0.99  # that a percentile has samples beyond it
RESAMPLES = 1000
MAX_GROUPS = 512  # more requests than this are resampled in blocks of neighbours
MIN_GROUPS = 8  # fewer requests than this give no interval
SEED = 20_240_229


@lru_cache
def needed_samples(fraction: float) -> int:
    """The least number of samples from which the percentile at `fraction` (0 to 1) is given.

    The smallest n at which, with 99% confidence, at least two of n independent samples lie
    beyond the true percentile: P(Binomial(n, 1 - p) <= 1) <= 1%. This is the first step of the
    early-stopping criterion of MLPerf's loadgen: 11 samples for p50, 64 for p90, 130 for p95,
    662 for p99 and 6,636 for p99.9.
    """

    def enough(n: int) -> bool:
        none_beyond = fraction**n
        one_beyond = n * (1 - fraction) * fraction ** (n - 1)
        return none_beyond + one_beyond <= 1 - PERCENTILE_CONFIDENCE

    return 2 + bisect_left(range(2, 10**8), True, key=enough)


def describe(values: Array, owner: Index) -> dict[str, Figure]:
    """Mean, p50, p90, p95 and p99 of `values`, each with its 95% interval.

    `owner` (same shape, not decreasing) says which request each value belongs to. A percentile
    with fewer samples than `needed_samples` is None. The mean's interval is a bootstrap over
    requests of sum / count; a percentile's is Woodruff's (1952): the same bootstrap, of the
    share of samples below the percentile, read back through the quantile function.
    """
    count = len(values)
    if count == 0:
        return {name: Figure(None, count=0) for name in STATISTICS}
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    group = np.cumsum(np.diff(owner, prepend=owner[0]) != 0)
    per_group = np.bincount(group).astype(float)
    given = [name for name, at in PERCENTILES.items() if count >= needed_samples(at)]
    ranks = [round(PERCENTILES[name] * count) for name in given]
    below = [np.bincount(group[order[:rank]], minlength=len(per_group)) for rank in ranks]
    sums = np.bincount(group, weights=values)
    low, high = bootstrap_ratio(np.stack([sums, *below]), per_group)

    figures = {name: Figure(None, count=count) for name in STATISTICS}
    figures["mean"] = figure(float(values.mean()), low[0], high[0], count)
    for name, rank, less, more in zip(given, ranks, low[1:], high[1:], strict=True):
        at, share = PERCENTILES[name], rank / count
        if np.isnan(less):
            figures[name] = Figure(float(np.quantile(ordered, at)), count=count)
            continue
        around = [at, max(0, min(at, at + less - share)), min(1, max(at, at + more - share))]
        value, least, most = np.quantile(ordered, around).tolist()
        figures[name] = Figure(value, least, most, count)
    return figures


def figure(value: float, low: float, high: float, count: int) -> Figure:
    """`value` with its interval, which always holds it; without one where `low` is NaN."""
    if math.isnan(low):
        return Figure(value, count=count)
    return Figure(value, min(float(low), value), max(float(high), value), count)


def bootstrap_ratio(numerators: Array, denominators: Array) -> tuple[Array, Array]:
    """95% intervals (lows, highs) of the k ratios sum(numerators) / sum(denominators), where column
    i of `numerators` (k x n) and element i of `denominators` (n, above 0) belong to request i.

    A percentile bootstrap over requests with Hesterberg's (2015) widening for small n: the tails
    are cut where a t interval would be. Above 512 requests, blocks of neighbours are resampled,
    which bounds the cost and respects that neighbours are alike. NaN below 8 requests. The draws
    come from a bit generator with a fixed seed: the same input gives the same bits.
    """
    groups = len(denominators)
    if groups < MIN_GROUPS:
        nothing = np.full(len(numerators), np.nan)
        return nothing, nothing
    if groups > MAX_GROUPS:
        firsts = np.arange(MAX_GROUPS) * groups // MAX_GROUPS
        numerators = np.add.reduceat(numerators, firsts, axis=1)
        denominators = np.add.reduceat(denominators, firsts)
        groups = MAX_GROUPS
    drawn = _resamples(groups)
    # einsum and not @: BLAS would spread over the cores of a machine that is being measured
    below = np.einsum("ij,j->i", drawn, denominators)
    ratios = np.einsum("kj,ij->ki", numerators, drawn) / below
    widening = math.sqrt(groups / (groups - 1))
    tail = NormalDist().cdf(-widening * t_quantile((1 + CONFIDENCE) / 2, groups - 1))
    low, high = np.quantile(ratios, [tail, 1 - tail], axis=1)
    return low, high


@lru_cache(maxsize=4)
def _resamples(groups: int) -> Array:
    """How often each group is drawn in each resample: RESAMPLES x groups."""
    raw = np.random.PCG64(SEED).random_raw(RESAMPLES * groups) % np.uint64(groups)
    cell = raw.astype(np.int64) + np.repeat(np.arange(RESAMPLES) * groups, groups)
    counts = np.bincount(cell, minlength=RESAMPLES * groups)
    return counts.reshape(RESAMPLES, groups).astype(float)


def t_interval(values: Sequence[float]) -> Figure:
    """The mean of repeats with its 95% t interval (none for fewer than two repeats)."""
    count = len(values)
    if count == 0:
        return Figure(None, count=0)
    mean = math.fsum(values) / count
    if count < 2:
        return Figure(mean, count=count)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = t_quantile((1 + CONFIDENCE) / 2, count - 1) * deviation / math.sqrt(count)
    return Figure(mean, mean - half, mean + half, count)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: int) -> float:
    """Student's t at `probability` (0.5 to 1, exclusive) with `degrees` of freedom.

    The closed form of the distribution for whole degrees (Abramowitz and Stegun 26.7.3 and
    26.7.4), inverted by bisection on the angle atan(t / sqrt(degrees)).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if _t_inside(angle, degrees) < 2 * probability - 1:
            low = angle
        else:
            high = angle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _t_inside(angle: float, degrees: int) -> float:
    """P(|T| < tan(angle) * sqrt(degrees))."""
    odd = degrees % 2
    cosine = math.cos(angle)
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= (power - 1) / power * cosine**2
        total += term
    series = math.sin(angle) * total
    return 2 / math.pi * (angle + series) if odd else series


def proportion(part: int, whole: int) -> Figure:
    """part / whole with Wilson's (1927) 95% score interval; None of nothing."""
    if whole == 0:
        return Figure(None, count=0)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = part / whole
    scale = 1 + z**2 / whole
    centre = (share + z**2 / (2 * whole)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / whole + z**2 / (4 * whole**2))
    return figure(share, max(0.0, centre - half), min(1.0, centre + half), whole)


def outliers(values: Array, deviations: float = 10.0, ratio: float = 1.5) -> Mask:
    """Which values lie far above the rest: more than `deviations` robust standard deviations
    (1.4826 times the median absolute deviation) and `ratio` times the median."""
    if len(values) == 0:
        return np.zeros(0, dtype=bool)
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    far: Mask = (values > median + deviations * spread) & (values > ratio * median)
    return far
