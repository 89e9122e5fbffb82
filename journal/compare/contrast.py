"""Contrasts: sums of the logarithms of several figures with weights, such as a ratio or an
exponent, with the error that the figures' intervals leave."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from journal.compare.ratios import starts_needed
from journal.compare.starts import SMALLEST, USUAL_SPREAD
from journal.metrics.figure_error import Error, relative_error
from journal.metrics.statistics import CONFIDENCE, t_quantile
from journal.records.figure import Figure

EXACT = Error(0.0, 1_000_000)


@dataclass(frozen=True, slots=True)
class Contrast:
    """An estimate with its standard error and degrees of freedom (both None where a figure has no
    interval), from figures of `repeats` repeats each. `spread` is the standard deviation that it
    would have from one repeat of each."""

    value: float
    standard: float | None
    degrees: float | None
    repeats: int
    spread: float

    def figure(self, confidence: float = CONFIDENCE) -> Figure:
        """The estimate with Student's t interval of `confidence`."""
        if self.standard is None or self.degrees is None:
            return Figure(self.value)
        half = self.standard and self.standard * t_quantile((1 + confidence) / 2, self.degrees)
        return Figure(self.value, self.value - half, self.value + half, self.repeats)

    def more_to_clear(self, distance: float) -> int | None:
        """The further repeats of each figure with which the estimate would stand clear of a bound
        at `distance`, or at SMALLEST, in four of five tries; None where that takes too many."""
        needed = starts_needed(max(abs(distance), SMALLEST), self.spread / math.sqrt(2))
        return None if needed is None else max(1, needed - self.repeats)


def contrast(
    weights: Sequence[float], figures: Sequence[Figure], *, exact: bool = False
) -> Contrast | None:
    """The sum of the logarithms of `figures` times `weights` (as many), by Welch and Satterthwaite;
    None where a value is not above 0. Figures of an `exact`
    metric need no interval."""
    values = [figure.value for figure in figures]
    if any(value is None or value <= 0 for value in values):
        return None
    estimate = math.fsum(w * math.log(v or 1.0) for w, v in zip(weights, values, strict=True))
    errors = [relative_error(figure) or (EXACT if exact else None) for figure in figures]
    repeats = min(figure.count or 1 for figure in figures)
    known = [each for each in errors if each is not None]
    if len(known) < len(errors):
        spread = USUAL_SPREAD * math.sqrt(math.fsum(w * w for w in weights))
        return Contrast(estimate, None, None, repeats, spread)
    parts = [((w * e.standard) ** 2, e.degrees) for w, e in zip(weights, known, strict=True)]
    total = math.fsum(variance for variance, _ in parts)
    if total == 0:
        return Contrast(estimate, 0.0, EXACT.degrees, repeats, 0.0)
    degrees = total**2 / math.fsum(variance**2 / degrees for variance, degrees in parts)
    standard = math.sqrt(total)
    return Contrast(estimate, standard, max(1.0, degrees), repeats, standard * math.sqrt(repeats))


def slope_weights(xs: Sequence[float]) -> list[float]:
    """The weights of the least-squares slope of values at `xs` (two or more, not all equal)."""
    mean = math.fsum(xs) / len(xs)
    squares = math.fsum((x - mean) ** 2 for x in xs)
    return [(x - mean) / squares for x in xs]
