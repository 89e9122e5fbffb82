"""Crossovers: the batch up to which one setup is faster, and from which on another is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from journal.compare.ratios import Ratio


@dataclass(frozen=True, slots=True)
class Crossover:
    """The load at which the ratio of two setups passes 1, with its 95% interval. `falls`: the
    second setup is ahead below it, and behind above."""

    load: float
    low: float
    high: float
    falls: bool


def crossover(ratios: Sequence[tuple[float, Ratio]]) -> Crossover | None:
    """The crossover of a line of ratios B / A, each with its load (above 0, rising); None where the
    ratio is not certain to lie on one side of 1 at first and on the other at last, or where it is
    certain to change more than once.

    The logarithms of the ratio and of the ends of its intervals are taken for straight between two
    loads, over the logarithm of the load. The interval are the loads at which the band of intervals
    holds 1: at the true load it does so in 95% or more, as far as the line is straight there.
    """
    known = [
        (math.log(load), tuple(map(math.log, (ratio.low, ratio.value, ratio.high))))
        for load, ratio in ratios
        if ratio.low is not None and ratio.high is not None and ratio.low > 0
    ]
    signs = [1 if ends[0] > 0 else -1 if ends[2] < 0 else 0 for _, ends in known]
    certain = [sign for sign in signs if sign]
    changes = [(a, b) for a, b in pairwise(certain) if a != b]
    if len(changes) != 1:
        return None
    falls = changes[0][0] > 0
    first = max(n for n, sign in enumerate(signs) if sign == changes[0][0])
    roots = [_root([(x, ends[which]) for x, ends in known[first:]], falls) for which in (0, 1, 2)]
    low, high = min(roots[0], roots[2]), max(roots[0], roots[2])
    return Crossover(math.exp(roots[1]), math.exp(low), math.exp(high), falls)


def _root(line: Sequence[tuple[float, float]], falls: bool) -> float:
    """Where a broken line that begins on one side of 0 first passes it."""
    return next(
        x + (next_x - x) * y / (y - next_y)
        for (x, y), (next_x, next_y) in pairwise(line)
        if ((next_y < 0) if falls else (next_y > 0))
    )
