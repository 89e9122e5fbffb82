"""Ratios B / A of two sides by their repeats, with intervals and tests.

The unit is the run. Requests within one run share a server, a moment and a queue, so they are not
independent: a thousand of them say no more about the next run than this one run does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from journal.metrics.statistics import CONFIDENCE

Repeats = Sequence[float]  # a metric's value in each repeat of one cell on one side
FALSE_DISCOVERIES = 1 - CONFIDENCE
EQUAL = 1e-12  # a relative spread below it is rounding

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True, slots=True)
class Ratio:
    """B / A of geometric means over repeats. `low` and `high` are the ends of the 95% interval,
    `probability` that of a ratio as far from 1 by chance alone; all three are None where a side
    has a single repeat, which cannot tell a difference from chance."""

    value: float
    low: float | None = None
    high: float | None = None
    probability: float | None = None


def ratio(cells: Sequence[tuple[Repeats, Repeats]]) -> Ratio | None:
    """B / A over `cells`, each with the repeats of A and those of B; None where a side of a cell
    is empty or a value is not above 0.

    Welch's (1947) t interval and test on the logarithms, which are closer to normal than times
    are and make the interval that of a ratio. Of several cells it is the geometric mean of their
    ratios, each of equal weight, with Satterthwaite's degrees of freedom over all of them.
    """
    parts = [_difference(a, b) for a, b in cells]
    if not parts or any(part is None for part in parts):
        return None
    differences = [part for part in parts if part is not None]
    share = 1 / len(differences)
    difference = math.fsum(part.of_means for part in differences) * share
    value = math.exp(difference)
    variances = [v for part in differences for v in part.variances]
    if any(variance is None for variance, _ in variances):
        return Ratio(value)
    known = [(variance * share**2, n) for variance, n in variances if variance is not None]
    total = math.fsum(variance for variance, _ in known)
    error = math.sqrt(total)
    if error < EQUAL:  # every repeat gave the same number
        same = abs(difference) < EQUAL
        exact = 1.0 if same else value
        return Ratio(exact, exact, exact, 1.0 if same else 0.0)
    degrees = total**2 / math.fsum(variance**2 / (n - 1) for variance, n in known)
    half = welch_t_quantile((1 + CONFIDENCE) / 2, degrees) * error
    probability = 1 - t_inside(abs(difference) / error, degrees)
    ends = math.exp(difference - half), math.exp(difference + half)
    return Ratio(value, *ends, max(0.0, probability))


@dataclass(frozen=True, slots=True)
class _Difference:
    """The difference B - A of the mean logarithms of one cell, with each mean's variance (None of a
    single repeat) and its number of repeats."""

    of_means: float
    variances: tuple[tuple[float | None, int], ...]


def _difference(a: Repeats, b: Repeats) -> _Difference | None:
    if not a or not b or min(*a, *b) <= 0:
        return None
    sides = [[math.log(value) for value in side] for side in (a, b)]
    means = [math.fsum(side) / len(side) for side in sides]
    variances = tuple(
        (_variance(side, mean), len(side)) for side, mean in zip(sides, means, strict=True)
    )
    return _Difference(means[1] - means[0], variances)


def _variance(values: Sequence[float], mean: float) -> float | None:
    """The variance of the mean of `values`; None of a single value."""
    count = len(values)
    if count < 2:
        return None
    return math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count


def t_inside(t: float, degrees: float) -> float:
    """P(|T| < t) of Student's distribution; `degrees` (1 or more) need not be whole."""
    return _inside(math.atan(t / math.sqrt(degrees)), degrees)


def welch_t_quantile(probability: float, degrees: float) -> float:
    """Student's t at `probability` (0.5 to 1, exclusive), by Newton's method on the angle, which
    comes nearer from below at every step, since the density falls: from the normal quantile, which
    is always less."""
    angle, step = math.atan(NormalDist().inv_cdf(probability) / math.sqrt(degrees)), 1.0
    while step > 1e-10:
        slope = _density(degrees) * math.cos(angle) ** (degrees - 1)
        step = (2 * probability - 1 - _inside(angle, degrees)) / slope
        angle += step
    return math.tan(angle) * math.sqrt(degrees)


def _inside(angle: float, degrees: float) -> float:
    """P(|T| < tan(angle) sqrt(degrees)). As a function of the angle the density is proportional
    to cos(angle)^(degrees - 1), which Gauss and Legendre's rule integrates."""
    heights = np.cos(angle * (_NODES + 1) / 2) ** (degrees - 1)
    return min(1.0, angle / 2 * float(heights @ _WEIGHTS) * _density(degrees))


def _density(degrees: float) -> float:
    """The density at angle 0, both signs together."""
    return (
        2 / math.sqrt(math.pi) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    )


def beyond_chance(probabilities: Sequence[float]) -> list[bool]:
    """Whether to believe each of many tests, by their `probabilities`, so that of those believed at
    most 5% are false on average (Benjamini and Hochberg, 1995): of a hundred equal pairs five
    would pass a test of their own.
    """
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    believed = 0
    for rank, index in enumerate(order, start=1):
        if probabilities[index] <= FALSE_DISCOVERIES * rank / len(order):
            believed = rank
    passed = set(order[:believed])
    return [index in passed for index in range(len(order))]
