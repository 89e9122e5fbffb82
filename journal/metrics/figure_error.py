"""The standard errors of figures and of their logarithms, by their intervals."""

import math
from typing import NamedTuple

from journal.metrics.statistics import CONFIDENCE, LEAST_GROUPS, MOST_GROUPS, t_quantile
from journal.records.figure import Figure


class Error(NamedTuple):
    """A figure's standard error, and its degrees of freedom."""

    standard: float
    degrees: int


def error(figure: Figure, upwards: bool) -> Error | None:
    """The error of `figure` by the upper or the lower half of its interval; None where it has none.

    The interval of a single run (`count` 1, or that of its requests) rests on LEAST_GROUPS to
    MOST_GROUPS groups, and that of the mean of repeats on their number.
    """
    end = figure.high if upwards else figure.low
    if figure.value is None or end is None:
        return None
    repeats = figure.count or 1
    few = 1 < repeats < LEAST_GROUPS
    t = t_quantile((1 + CONFIDENCE) / 2, repeats - 1 if few else MOST_GROUPS - 1)
    return Error(abs(end - figure.value) / t, repeats - 1 if few else LEAST_GROUPS - 1)


def relative_error(figure: Figure, upwards: bool | None = None) -> Error | None:
    """The error of the logarithm of `figure`, by the upper or the lower half of its interval, else
    by the wider one; None where it has none, or is not above 0."""
    if upwards is None:
        halves = relative_error(figure, False), relative_error(figure, True)
        return None if halves[0] is None or halves[1] is None else max(halves[0], halves[1])
    half = error(figure, upwards)
    if half is None or figure.value is None or figure.value <= 0:
        return None
    return Error(half.standard / figure.value, half.degrees)


def half_of_difference(before: Error, after: Error) -> float:
    """Half of the 95% interval of a difference: Welch's (1947) t."""
    squares = (before.standard**2, after.standard**2)
    if sum(squares) == 0:
        return 0.0
    parts = (squares[0] ** 2 / before.degrees, squares[1] ** 2 / after.degrees)
    freedom = max(1, math.floor(sum(squares) ** 2 / sum(parts) + 1e-9))
    return t_quantile((1 + CONFIDENCE) / 2, freedom) * math.sqrt(sum(squares))
