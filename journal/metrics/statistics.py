"""Statistics over the samples of one run and over repeats: pure functions on arrays.

Percentiles interpolate linearly between order statistics (numpy's default, type 7 of Hyndman and
Fan, 1996). The intervals of a single run are in journal/metrics/inference.py.
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
STATISTICS = ("mean", *PERCENTILES, "max")

CONFIDENCE = 0.95  # of every interval
PERCENTILE_CONFIDENCE = 0.99  # that a percentile has samples beyond it

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


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
def t_quantile(probability: float, degrees: float) -> float:
    """Student's t at `probability` (0.5 to 1, exclusive); the degrees of freedom (1 or more) need
    not be whole.

    Newton's method on the angle atan(t / sqrt(degrees)), which comes nearer from below at every
    step, since the density falls: from the normal quantile, which is always less.
    """
    angle, step = math.atan(NormalDist().inv_cdf(probability) / math.sqrt(degrees)), 1.0
    while step > 1e-10:
        slope = _density(degrees) * math.cos(angle) ** (degrees - 1)
        step = (2 * probability - 1 - float(within_angle(angle, degrees))) / slope
        angle += step
    return math.tan(angle) * math.sqrt(degrees)


def t_inside(t: float, degrees: float) -> float:
    """P(|T| < t) of Student's distribution; `degrees` (1 or more) need not be whole."""
    return float(within_angle(math.atan(t / math.sqrt(degrees)), degrees))


def t_density(t: float, degrees: float) -> float:
    """Student's density at `t`; `degrees` (1 or more) need not be whole."""
    cosine = math.cos(math.atan(t / math.sqrt(degrees)))
    return _density(degrees) / 2 / math.sqrt(degrees) * math.pow(cosine, degrees + 1)


def within_angle(angle: float | Array, degrees: float) -> Array:
    """P(|T| < tan(angle) sqrt(degrees)), of one angle or of an array of them. As a function of the
    angle the density is proportional to cos(angle)^(degrees - 1), which Gauss and Legendre's rule
    integrates."""
    angles = np.asarray(angle, dtype=float)
    heights = np.cos(angles[..., None] * (_NODES + 1) / 2) ** (degrees - 1)
    inside: Array = np.minimum(1.0, angles / 2 * (heights @ _WEIGHTS) * _density(degrees))
    return inside


def _density(degrees: float) -> float:
    """The density at angle 0, both signs together."""
    return (
        2 / math.sqrt(math.pi) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    )


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
