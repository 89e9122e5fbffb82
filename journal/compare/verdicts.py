"""The figures of one metric on two sides, and the verdicts on many of them, reached together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from journal import units
from journal.compare.ratios import Ratio, beyond_chance
from journal.compare.starts import Unit
from journal.metrics.row import Metric

Verdict = Literal["higher", "lower", "no difference seen", "maybe chance", "cannot say"]

FEW = 3  # units of a side; with fewer, a wide interval says how little is known, and no more
WIDE = 0.1  # the difference that an interval has to leave out, on both sides, to be called narrow
UNIT_NAMES = {
    "start": ("engine start", "engine starts"),
    "experiment": ("run of an experiment", "runs of an experiment"),
    "run": ("repeat", "repeats"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric in one row of a comparison; `headline` is the metric's row of the table. `a` and
    `b` are the means of the sides (geometric over cells and repeats); `ratio` is b / a, None where
    a value is 0. `repeats` is the number of runs of each side in the cell that has fewest, `units`
    that of engine starts, or of whatever `unit` the runs are counted by. `more` is the number of
    further repeats of each side that would tell a difference, where the verdict is "cannot say";
    None where it is not known."""

    metric: str
    headline: Metric
    a: float
    b: float
    ratio: Ratio | None
    repeats: tuple[int, int]
    units: tuple[int, int]
    unit: Unit
    more: int | None = None
    verdict: Verdict = "cannot say"

    def __str__(self) -> str:
        a, b = (units.formatted(value, self.headline.unit) for value in (self.a, self.b))
        text = f"{self.metric}: {a}, {b}"
        if self.ratio is not None:
            text += f", {units.number(self.ratio.value)} times"
            if self.ratio.low is not None and self.ratio.high is not None:
                text += f" ({units.number(self.ratio.low)} to {units.number(self.ratio.high)})"
        return f"{text}: {self.verdict}" + (f" ({self.reason})" if self.reason else "")

    @property
    def reason(self) -> str:
        """The reason for the verdict "cannot say"; "" for any other verdict."""
        if self.verdict != "cannot say":
            return ""
        if self.ratio is None:
            return "a value of 0 has no ratio"
        few = [side for side, count in zip("AB", self.units, strict=True) if count < 2]
        noun, nouns = UNIT_NAMES[self.unit]
        if not few:
            return f"too few {nouns}"
        return f"one {noun} each" if len(few) == 2 else f"one {noun} in {few[0]}"


def judge(figures: Sequence[Compared], noticeable: float) -> Iterator[Compared]:
    """`figures` with their verdicts, reached together: of many comparisons of equals, some look
    different by chance."""
    known = [f.ratio.probability for f in figures if f.ratio and f.ratio.probability is not None]
    believed = iter(beyond_chance(known))
    for figure in figures:
        if figure.ratio is None or figure.ratio.probability is None:
            yield figure
        else:
            verdict = _verdict(figure.ratio, next(believed), noticeable)
            if verdict == "no difference seen" and _tells_little(figure.ratio, figure.units):
                yield figure
            else:
                yield replace(figure, verdict=verdict, more=None)


def _tells_little(ratio: Ratio, units: tuple[int, int]) -> bool:
    """Whether so few units gave the interval of `ratio` that it holds 1 and differences of WIDE."""
    assert ratio.low is not None and ratio.high is not None
    return min(units) < FEW and (ratio.low < 1 / (1 + WIDE) or ratio.high > 1 + WIDE)


def _verdict(ratio: Ratio, believed: bool, noticeable: float) -> Verdict:
    assert ratio.low is not None and ratio.high is not None
    if ratio.low <= 1 <= ratio.high or abs(ratio.value - 1) < noticeable:
        return "no difference seen"
    if not believed:
        return "maybe chance"
    return "higher" if ratio.value > 1 else "lower"
