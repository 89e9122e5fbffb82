"""Trials of a change: whether it is kept, reverted, or undecided, by the starts of both sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from journal.compare.ratios import Ratio
from journal.compare.starts import by_unit, more_needed, ratio_of, way_measured
from journal.metrics.statistics import CONFIDENCE
from journal.metrics.table import named
from journal.records.experiment import ChangeTrial, Engine
from journal.records.run import Record

Verdict = Literal["kept", "reverted", "undecided"]

# A change that gains less than this is not worth a setting that somebody has to remember, and one
# of this size is seen with the starts that a trial makes.
WORTH = 0.05
FAILED = "failed"  # the cause of a trial whose engine, without the change, did not start


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The result of a trial. `ratio` is that of its metric, with the change over without, and its
    interval that of 95% over all looks at it; None where a side has no figure. `starts` are the
    engine starts of both sides, `more` the further starts of each that would decide (None: not
    known). `failed` is the reason why the changed engine gave no figures."""

    trial: ChangeTrial
    before: Engine
    after: Engine
    verdict: Verdict
    ratio: Ratio | None = None
    starts: tuple[int, int] = (0, 0)
    more: int | None = None
    failed: str | None = None

    @property
    def as_predicted(self) -> bool | None:
        """Whether the interval of the ratio meets the range that was expected; None where nothing
        was, or where there is no interval."""
        trial, ratio = self.trial, self.ratio
        if trial.low is None or trial.high is None or ratio is None:
            return None
        if ratio.low is None or ratio.high is None:
            return None
        return ratio.low <= trial.high and ratio.high >= trial.low


def tried(trial: ChangeTrial, before: Engine, after: Engine, records: Sequence[Record]) -> Tried:
    """The result of a trial by the runs of both engines; `before` is `after` where the engine did
    not start without the change, and serves nothing.

    It is kept where the whole interval lies on the better side of no change, reverted where it lies
    below a gain of WORTH or where the changed engine gave no figures, and undecided else. The 5%
    in which an interval may err are shared by the looks (Bonferroni), so that a useless change is
    kept in at most 2.5% of trials, and one that gains WORTH is reverted in as many.
    """
    a = tuple(r for r in records if r.cell.engine == before != after and r.good)
    b = tuple(r for r in records if r.cell.engine == after and r.good)
    every = [r for r in records if r.cell.engine == after]
    if every and not b:
        why = next((r.error for r in every if r.error), every[-1].status)
        return Tried(trial=trial, before=before, after=after, verdict="reverted", failed=why)
    if b and not a and (trial.cause == FAILED or any(r.cell.engine == before for r in records)):
        return Tried(trial=trial, before=before, after=after, verdict="kept", starts=(0, len(b)))
    if not a or not b:
        return Tried(trial=trial, before=before, after=after, verdict="undecided")
    way = way_measured([(a, b)])
    confidence = 1 - (1 - CONFIDENCE) / trial.looks
    ratio = ratio_of([(a, b)], trial.metric, way, confidence)
    sides = [by_unit(side, trial.metric, way) for side in (a, b)]
    verdict = kept_or_reverted(ratio, higher=named(trial.metric).better == "higher")
    return Tried(
        trial=trial,
        before=before,
        after=after,
        verdict=verdict,
        ratio=ratio,
        starts=(len(sides[0]), len(sides[1])),
        more=more_needed(ratio, sides, way) if verdict == "undecided" else None,
    )


def kept_or_reverted(ratio: Ratio | None, *, higher: bool) -> Verdict:
    """The verdict by a ratio of which more is better (`higher`), or less."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return "undecided"
    least, most = (ratio.low, ratio.high) if higher else (1 / ratio.high, 1 / ratio.low)
    if least > 1:
        return "kept"
    return "reverted" if most < 1 + WORTH else "undecided"
