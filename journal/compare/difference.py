"""Differences between two figures of one line of points, each with a verdict by the same test."""

import math
from dataclasses import dataclass
from typing import Literal

from journal.compare.ratios import starts_needed
from journal.metrics.figure_error import half_of_difference, relative_error
from journal.records.figure import Figure

ALIKE = 0.05  # a relative difference that counts as none, where its whole interval lies within it
HIGHEST = 600.0  # a logarithm whose number is still a float, times any ratio
Verdict = Literal["rises", "falls", "equal", "undecided", "unknown"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The change from one figure to another. `low` and `high` are the ends of its 95% interval, in
    shares of the first figure: None where one of the two has no interval, and the verdict is
    "unknown". "rises" and "falls": Welch's (1947) test at 5% sees it; "equal": the whole interval
    lies within ALIKE; else "undecided", where about `repeats` of each would tell a difference of
    ALIKE (None: more than can be advised).

    Interval and test are those of logarithms: both figures have errors, and those of times and
    rates grow with them, where an interval in shares of the first would take it as exact."""

    verdict: Verdict
    ratio: float
    low: float | None = None
    high: float | None = None
    repeats: int | None = None

    @property
    def seen(self) -> bool:
        """Whether the test sees a change."""
        return self.verdict in ("rises", "falls")


def difference(before: Figure | None, after: Figure | None) -> Difference | None:
    """The difference of `after` from `before`; None where one is absent or not above 0, which has
    no ratio."""
    if before is None or after is None or before.value is None or after.value is None:
        return None
    if before.value <= 0 or after.value <= 0:
        return None
    ratio = after.value / before.value
    below, above = _half(before, after, up=False), _half(before, after, up=True)
    if below is None or above is None:
        return Difference("unknown", ratio)
    low, high = ratio * math.exp(-below) - 1, ratio * math.exp(min(above, HIGHEST)) - 1
    verdict: Verdict = "undecided"
    if low > 0:
        verdict = "rises"
    elif high < 0:
        verdict = "falls"
    elif max(-low, high) <= ALIKE:
        verdict = "equal"
    repeats = _repeats(before, after) if verdict == "undecided" else None
    return Difference(verdict, ratio, low, high, repeats)


def _half(before: Figure, after: Figure, *, up: bool) -> float | None:
    """The part of the interval of the logarithm of the ratio that lies above it (`up`) or below, by
    the halves of both intervals that it is made of: below a rise these face each other."""
    errors = relative_error(before, upwards=not up), relative_error(after, upwards=up)
    if errors[0] is None or errors[1] is None:
        return None
    return half_of_difference(errors[0], errors[1])


def _repeats(before: Figure, after: Figure) -> int | None:
    """The number of repeats of each figure with which a difference of ALIKE would be seen in four
    of five comparisons, where repeats scatter as these do."""
    errors = [(figure, relative_error(figure)) for figure in (before, after)]
    spreads = [of.standard * math.sqrt(figure.count or 1) for figure, of in errors if of]
    spread = math.hypot(*spreads) / math.sqrt(len(spreads)) if spreads else 0.0
    needed = starts_needed(ALIKE, spread)
    have = min(before.count or 1, after.count or 1)
    return None if needed is None else max(needed, have + 1)
