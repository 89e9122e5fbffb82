"""One cell at two setups: the ratios of their figures, and verdicts on many of them, reached
together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from journal.compare.comparison import NOTICEABLE
from journal.compare.difference import ALIKE
from journal.compare.points import Point
from journal.compare.ratios import Ratio, beyond_chance
from journal.compare.starts import (
    Measured,
    by_unit,
    centre_of,
    more_needed,
    ratio_of,
    way_measured,
)

Verdict = Literal["other", "maybe", "equal", "open", "unknown"]


@dataclass(frozen=True)
class Beside:
    """One cell at two setups, of which `first` is what `other` is compared with."""

    first: Point
    other: Point

    @cached_property
    def way(self) -> Measured:
        """The way in which the two were measured, by which their starts are counted."""
        return way_measured([(self.first.good, self.other.good)])

    def ratio(self, name: str) -> Ratio | None:
        """Metric `name` of the other over that of the first, by starts."""
        return ratio_of([(self.first.good, self.other.good)], name, self.way)

    def means(self, name: str) -> tuple[float | None, float | None]:
        """The means of the other and of the first whose ratio is `ratio`."""
        a, b = (centre_of(point.good, name, self.way) for point in (self.other, self.first))
        return a, b

    def repeats(self, name: str, quotient: Ratio) -> int | None:
        """The number of starts of each that would tell; None where that is not known."""
        sides = [by_unit(point.good, name, self.way) for point in (self.first, self.other)]
        more = more_needed(quotient, sides, self.way)
        return None if more is None else more + min(self.way.units)


@dataclass(frozen=True, slots=True)
class JudgedRatio:
    """A ratio with its verdict: "other" than 1, "maybe" other, but no clearer than chance makes
    some among so many, "equal" (the whole interval lies within ALIKE of 1), "open", or "unknown"
    where it has no interval."""

    ratio: Ratio
    verdict: Verdict


Verdicts = Mapping[tuple[Beside, str], JudgedRatio]


def judged_together(pairs: Iterable[Beside], names: Iterable[str]) -> Verdicts:
    """The ratios of the metrics `names` of all `pairs`, as far as they have one, with verdicts that
    are reached together as those of `journal compare` are: of many ratios of equals, some look
    different by chance."""
    names = tuple(names)
    ratios = {
        (pair, name): ratio
        for pair in pairs
        for name in names
        if (ratio := pair.ratio(name)) is not None
    }
    tested = [place for place, ratio in ratios.items() if ratio.probability is not None]
    believed = beyond_chance([ratios[place].probability or 0.0 for place in tested])
    seen = {place for place, sure in zip(tested, believed, strict=True) if sure}
    return {
        place: JudgedRatio(ratio, _verdict(ratio, place in seen)) for place, ratio in ratios.items()
    }


def _verdict(ratio: Ratio, believed: bool) -> Verdict:
    if ratio.low is None or ratio.high is None:
        return "unknown"
    if not ratio.low <= 1 <= ratio.high and abs(ratio.value - 1) >= NOTICEABLE:
        return "other" if believed else "maybe"
    return "equal" if max(1 - ratio.low, ratio.high - 1) <= ALIKE else "open"
