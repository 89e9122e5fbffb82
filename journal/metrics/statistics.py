"""Statistics over the samples of one run and over repeats: pure functions on arrays.

Percentiles interpolate linearly between order statistics (numpy's default, type 7 of Hyndman and
Fan, 1996). The intervals of a single run are in journal/metrics/inference.py.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from journal.records.figure import Figure

Array: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Angle = TypeVar("Angle", float, Array)

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", *PERCENTILES, "max")

CONFIDENCE = 0.95  # of every interval
PERCENTILE_CONFIDENCE = 0.99  # that a percentile has samples beyond it


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
        if within_angle(angle, degrees) < 2 * probability - 1:
            low = angle
        else:
            high = angle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def within_angle(angle: Angle, degrees: int) -> Angle:
    """P(|T| < tan(angle) * sqrt(degrees)) for Student's T, of one angle or of an array of them."""
    odd = degrees % 2
    cosine = np.cos(angle)
    term = cosine if odd else cosine * 0 + 1
    total = term if degrees > 1 else cosine * 0
    for power in range(2 + odd, degrees - 1, 2):
        term = term * ((power - 1) / power * cosine**2)
        total = total + term
    series = np.sin(angle) * total
    inside: Angle = 2 / math.pi * (angle + series) if odd else series
    return inside


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


def figure(value: float, low: float, high: float, count: int) -> Figure:
    """`value` with its interval, which always holds it."""
    return Figure(value, min(low, value), max(high, value), count)


def outliers(values: Array, deviations: float = 10.0, ratio: float = 1.5) -> Mask:
    """Which values lie far above the rest, beyond `outlier_limit`."""
    if len(values) == 0:
        return np.zeros(0, dtype=bool)
    far: Mask = values > outlier_limit(values, deviations, ratio)
    return far


def outlier_limit(values: Array, deviations: float = 10.0, ratio: float = 1.5) -> float:
    """The limit far above the `values` (one or more): `deviations` robust standard deviations
    (1.4826 times the median absolute deviation) above the median, and `ratio` times the median."""
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return max(median + deviations * spread, ratio * median)
