"""Statistics over repeats and over counts: intervals, and how many samples a percentile needs.

They load numpy only for arrays: many runs are shown, and logs written, without it.
Percentiles interpolate linearly between order statistics (numpy's default, type 7 of Hyndman and
Fan, 1996). The intervals of a single run are in journal/metrics/inference.py.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache, lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from journal.records.figure import Figure

if TYPE_CHECKING:
    from journal.metrics.arrays import Array

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", *PERCENTILES, "max")

CONFIDENCE = 0.95  # of every interval
MOST_GROUPS = 10  # of requests, behind the interval of a single run
LEAST_GROUPS = 8  # with fewer, one slow or heavy group decides
PERCENTILE_CONFIDENCE = 0.99  # that a percentile has samples beyond it
NODES = 64  # of the rule that integrates Student's density
NEWTON = 4  # steps, after which no node changes any more


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
        step = (2 * probability - 1 - within_angle(angle, degrees)) / slope
        angle += step
    return math.tan(angle) * math.sqrt(degrees)


def t_inside(t: float, degrees: float) -> float:
    """P(|T| < t) of Student's distribution; `degrees` (1 or more) need not be whole."""
    return within_angle(math.atan(t / math.sqrt(degrees)), degrees)


def t_density(t: float, degrees: float) -> float:
    """Student's density at `t`; `degrees` (1 or more) need not be whole."""
    cosine = math.cos(math.atan(t / math.sqrt(degrees)))
    return _density(degrees) / 2 / math.sqrt(degrees) * math.pow(cosine, degrees + 1)


def within_angle(angle: float, degrees: float) -> float:
    """P(|T| < tan(angle) sqrt(degrees)). As a function of the angle the density is proportional to
    cos(angle)^(degrees - 1), which Gauss and Legendre's rule integrates."""
    height = math.fsum(
        weight * math.cos(angle * (node + 1) / 2) ** (degrees - 1) for node, weight in _rule()
    )
    return min(1.0, angle / 2 * height * _density(degrees))


def within_angles(angles: "Array", degrees: float) -> "Array":
    """`within_angle` of many angles."""
    import numpy as np

    nodes, weights = np.array(_rule()).T
    heights = np.cos(angles[..., None] * (nodes + 1) / 2) ** (degrees - 1)
    inside: Array = np.minimum(1.0, angles / 2 * (heights @ weights) * _density(degrees))
    return inside


@cache
def _rule() -> tuple[tuple[float, float], ...]:
    """The nodes and the weights of Gauss and Legendre's rule: the zeros of a Legendre polynomial,
    by Newton's method, and what its slope there gives."""
    rule = []
    for number in range(NODES):
        node = math.cos(math.pi * (number + 0.75) / (NODES + 0.5))
        for _ in range(NEWTON):
            before, here = 1.0, node
            for n in range(2, NODES + 1):
                before, here = here, ((2 * n - 1) * node * here - (n - 1) * before) / n
            slope = NODES * (node * here - before) / (node**2 - 1)
            node -= here / slope
        rule.append((node, 2 / ((1 - node**2) * slope**2)))
    return tuple(rule)


def _density(degrees: float) -> float:
    """The density at angle 0, both signs together."""
    return (
        2 / math.sqrt(math.pi) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    )


def proportion(part: int, whole: int) -> Figure:
    """part / whole with Wilson's (1927) 95% score interval; None of nothing."""
    if whole == 0:
        return Figure(None, count=0)
    z, share = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), part / whole
    return figure(share, *wilson(share, z**2 / whole), whole)


def wilson(share: float, uncertainty: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of `share`, where `uncertainty` is z^2 / n."""
    centre = share + uncertainty / 2
    half = math.sqrt(share * (1 - share) * uncertainty + uncertainty**2 / 4)
    scale = 1 + uncertainty
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def figure(value: float, low: float, high: float, count: int) -> Figure:
    """`value` with its interval, which always holds it."""
    return Figure(value, min(low, value), max(high, value), count)
