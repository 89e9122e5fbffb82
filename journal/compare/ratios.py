"""Ratios B / A of two sides by their engine starts, with intervals and tests.

Requests within one run share a server, a moment and a queue, and runs of one start share what that
start was dealt: a thousand requests say no more about the next start than this one start does. So
the values of one start are averaged, and starts are counted.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from journal.metrics.statistics import CONFIDENCE, t_density, t_inside, t_quantile

Repeats = Sequence[float]  # a metric's value in each repeat of one cell on one side
Units = Mapping[Hashable, Repeats]  # the same by the start that served them
FALSE_DISCOVERIES = 0.04  # a little under 5%, which simulations then do not pass by chance
EQUAL = 1e-12  # a relative spread below it is rounding
POWER = 0.8  # the share of comparisons in which a true difference is to be seen
CLOSE = 1e-9  # the last step of Newton's method, of its result
MOST_STARTS = 50  # of one side, that are ever advised


@dataclass(frozen=True, slots=True)
class Ratio:
    """B / A of geometric means over starts. `low` and `high` are the ends of the 95% interval,
    `probability` that of a ratio as far from 1 by chance alone; all three are None where a side
    has a single start, which cannot tell a difference from chance."""

    value: float
    low: float | None = None
    high: float | None = None
    probability: float | None = None


def ratio(cells: Sequence[tuple[Repeats, Repeats]]) -> Ratio | None:
    """B / A over `cells`, each with the repeats of A and those of B, where every repeat had a start
    of its own; None where a side of a cell is empty or a value is not above 0."""
    return nested([(_apart(n, a), _apart(n, b)) for n, (a, b) in enumerate(cells)])


def _apart(cell: int, repeats: Repeats) -> Units:
    return {(cell, n): (value,) for n, value in enumerate(repeats)}


def nested(
    cells: Sequence[tuple[Units, Units]],
    *,
    paired: bool = False,
    drift: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Ratio | None:
    """B / A over `cells`, each with the values of A and those of B by their starts; None where a
    side of a cell is empty or a value is not above 0.

    Welch's (1947) t interval and test on the logarithms, which are closer to normal than times
    are and make the interval that of a ratio. Of several cells it is the geometric mean of their
    ratios, each of equal weight; cells that share starts are one sample of these, since a start
    that is fast is fast in all of them. `paired`: Student's t on the differences of the starts of
    one name on both sides. `drift` is the relative change of the host between the sides that may
    have come of itself: the interval is wider by it, and the test asks for more than it.
    `confidence` is that of the interval.
    """
    if not cells or any(not side or _least(side) <= 0 for cell in cells for side in cell):
        return None
    a, b = ([_logs(cell[side]) for cell in cells] for side in (0, 1))
    difference = math.fsum(_mean(y) - _mean(x) for x, y in zip(a, b, strict=True)) / len(cells)
    value = math.exp(difference)
    samples = [_differences(a, b)] if paired else [a, b]
    parts = [part for sample in samples for part in _parts(sample)]
    known = [(variance, degrees) for variance, degrees in parts if degrees > 0]
    if len(known) < len(parts):
        return Ratio(value)
    total = math.fsum(variance for variance, _ in known)
    error = math.sqrt(total)
    if error < EQUAL:  # every repeat gave the same number
        same = abs(difference) < EQUAL
        exact = 1.0 if same else value
        return Ratio(exact, exact, exact, 1.0 if same else 0.0)
    degrees = total**2 / math.fsum(variance**2 / degrees for variance, degrees in known)
    allowed = math.log1p(drift)
    half = _half(1 - confidence, error, degrees, allowed)
    probability = _beyond(abs(difference), error, degrees, allowed)
    ends = math.exp(difference - half), math.exp(difference + half)
    return Ratio(value, *ends, max(0.0, probability))


def _beyond(distance: float, error: float, degrees: float, drift: float) -> float:
    """The probability that chance alone gives a difference of `distance` (0 or more) or more to
    either side, where up to `drift` of it may not be chance: that where all of it lies to one."""
    near, far = (distance - drift) / error, (distance + drift) / error
    return 1 - (math.copysign(t_inside(abs(near), degrees), near) + t_inside(far, degrees)) / 2


def _half(beyond: float, error: float, degrees: float, drift: float) -> float:
    """Half of the interval that misses the truth with probability `beyond` at most: Newton's method
    from below, where the probability falls ever less steeply."""
    half = t_quantile(1 - beyond / 2, degrees) * error
    step = math.inf if drift else 0.0
    half = max(half, drift)
    while step > CLOSE * half:
        slope = sum(t_density(at / error, degrees) for at in (half - drift, half + drift))
        step = (_beyond(half, error, degrees, drift) - beyond) * error / slope
        half += step
    return half


Logs = Mapping[Hashable, float]  # the mean logarithm of each start


def _least(side: Units) -> float:
    return min(min(values, default=0.0) for values in side.values())


def _logs(side: Units) -> Logs:
    return {name: math.fsum(map(math.log, vs)) / len(vs) for name, vs in side.items()}


def _mean(logs: Logs) -> float:
    return math.fsum(logs.values()) / len(logs)


def _differences(a: Sequence[Logs], b: Sequence[Logs]) -> list[Logs]:
    return [{name: y[name] - x[name] for name in x} for x, y in zip(a, b, strict=True)]


def _parts(cells: Sequence[Logs]) -> list[tuple[float, int]]:
    """The variance of the mean over `cells` of their means, as a sum of independent parts, each
    with its degrees of freedom (0: not known, a cell has one start). A part is that of the cells
    that share starts: the squares of what each start adds to the mean, over all of them."""
    groups: list[tuple[set[Hashable], list[Logs]]] = []
    for cell in cells:
        joined = [group for group in groups if group[0] & cell.keys()]
        groups = [group for group in groups if not group[0] & cell.keys()]
        names = set(cell).union(*(names for names, _ in joined))
        groups.append((names, [cell, *(each for _, members in joined for each in members)]))
    return [_part(members, len(cells)) for _, members in groups]


def _part(members: Sequence[Logs], cells: int) -> tuple[float, int]:
    fewest = min(map(len, members))
    if fewest < 2:
        return 0.0, 0
    adds: dict[Hashable, float] = {}
    for cell in members:
        mean, count = _mean(cell), len(cell)
        for name, log in cell.items():
            scaled = (log - mean) / math.sqrt(count * (count - 1)) / cells
            adds[name] = adds.get(name, 0.0) + scaled
    return math.fsum(add**2 for add in adds.values()), fewest - 1


def starts_needed(effect: float, spread: float) -> int | None:
    """The least number of starts of each side that see a difference of `effect` (in logarithms) in
    four of five comparisons, where starts differ by the standard deviation `spread`; None where
    more than MOST_STARTS are needed."""
    counts = range(2, MOST_STARTS + 1)
    return next((count for count in counts if effect >= _least_seen(count) * spread), None)


@cache
def _least_seen(count: int) -> float:
    """The difference, in standard deviations, that `count` starts of each side see."""
    degrees = 2 * (count - 1)
    margin = t_quantile((1 + CONFIDENCE) / 2, degrees) + t_quantile(POWER, degrees)
    return margin * math.sqrt(2 / count)


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
