"""Calibration of the verdicts on claims at known truth.

    python -m benchmarks.calibrate_claims [--trials 4000] [--write]

A line of points with some repeats of each; a figure is its truth, times the luck of its run. Every
behaviour is simulated well within what is claimed, at its threshold and beyond it, and predictions
as well. The verdicts are those of the log. `--write` puts the table into docs/calibration.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from benchmarks.drawn_run import drawn_run
from benchmarks.page import CALIBRATION, calibration, put
from journal.compare.claims import judged_claim
from journal.compare.points import Point, Points, points
from journal.compare.scored import NEAR, judged_prediction
from journal.compare.setups import setups_of
from journal.records.claim import Claim, Verdict
from journal.records.experiment import Engine
from journal.records.figure import Figure

TRIALS = 4000
RATE = "output_tokens_per_s"
BATCHES = (1, 2, 4, 8, 16)
SPREADS = (0.01, 0.03)
REPEATS = (3, 6)
ENGINES = (Engine(model="a"), Engine(model="b"))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A claim, or without one a prediction of 100, and the true values by batch; `second` are those
    of a second engine. `truth` says in words how they stand to it."""

    what: str
    truth: str
    claim: Claim | None
    values: Mapping[int, float]
    second: Mapping[int, float] | None = None


def _power(exponent: float) -> dict[int, float]:
    return {batch: 100.0 * batch**exponent for batch in BATCHES}


def _knee(gain: float) -> dict[int, float]:
    """Doublings that gain 1.6 up to batch 4, and `gain` from there on."""
    rates, value = {}, 100.0
    for batch in BATCHES:
        rates[batch] = value
        value *= 1.6 if batch < 4 else gain
    return rates


def cases() -> Iterator[Case]:
    """The cases of the table."""
    flat = Claim(metric=RATE, over="batch", behaves="flat", within=0.1)
    for truth, last in (("equal", 1.0), ("at the band", 1.1), ("at twice the band", 1.2)):
        values = dict.fromkeys(BATCHES, 100.0) | {16: 100.0 * last}
        yield Case(what="flat within 10%", truth=truth, claim=flat, values=values)
    linear = Claim(metric=RATE, over="batch", behaves="grows", growth="linear", within=0.1)
    for truth, exponent in (("exponent 1", 1.0), ("at the band", 0.9), ("at twice the band", 0.8)):
        what = "grows in step, within 10%"
        yield Case(what=what, truth=truth, claim=linear, values=_power(exponent))
    slower = Claim(metric=RATE, over="batch", behaves="grows", growth="slower")
    for truth, exponent in (("exponent 0.8", 0.8), ("exponent 1", 1.0), ("exponent 1.2", 1.2)):
        yield Case(what="grows more slowly", truth=truth, claim=slower, values=_power(exponent))
    bound = Claim(metric=RATE, behaves="at_least", value=100)
    for truth, value in (("10% above", 110.0), ("at the bound", 100.0), ("10% below", 90.0)):
        yield Case(what="is at least a value", truth=truth, claim=bound, values={1: value})
    below = Claim(metric=RATE, behaves="a_below_b", a=1, b=2)
    for truth, value in (("10% below", 110.0), ("equal", 100.0), ("10% above", 90.0)):
        yield Case(what="A below B", truth=truth, claim=below, values={1: 100.0}, second={1: value})
    knee = Claim(metric=RATE, over="batch", behaves="saturates", between=(4, 16))
    for truth, gain in (("gains 1.1", 1.1), ("gains 1.2", 1.2), ("gains 1.4", 1.4)):
        what = "saturates between two batches"
        yield Case(what=what, truth=f"a doubling {truth} there", claim=knee, values=_knee(gain))
    for truth, value in (
        ("exact", 100.0),
        ("at the band", 100 / (1 - NEAR)),
        ("at twice the band", 100 / (1 - 2 * NEAR)),
    ):
        yield Case(what="prediction", truth=truth, claim=None, values={1: value})


def verdicts(
    case: Case, repeats: int, spread: float, trials: int, seed: int
) -> dict[Verdict, float]:
    """The shares of the verdicts on `case`, where runs scatter by `spread`, a share."""
    chance = np.random.default_rng(seed)
    template = _template(case, repeats)
    counts: Counter[Verdict] = Counter()
    for _ in range(trials):
        there = tuple(_drawn(point, spread, chance) for point in template)
        if case.claim is None:
            counts[judged_prediction(RATE, 100.0, there).verdict] += 1
        else:
            counts[judged_claim(case.claim, there, ENGINES).verdict] += 1
    return {verdict: counts[verdict] / trials for verdict in get_args(Verdict)}


def _template(case: Case, repeats: int) -> Points:
    """The points of a case, with the true values."""
    sides = [case.values] if case.second is None else [case.values, case.second]
    records = [
        drawn_run(
            engine,
            minute=60 * repeat + (engine is ENGINES[1]),
            repeat=repeat,
            batch=batch,
            metrics={RATE: Figure(value)},
        )
        for engine, side in zip(ENGINES, sides, strict=False)
        for batch, value in side.items()
        for repeat in range(repeats)
    ]
    return points(zip(records, setups_of(records), strict=True))


def _drawn(point: Point, spread: float, chance: np.random.Generator) -> Point:
    """`point` with a luck for each of its runs."""
    luck = np.exp(chance.normal(0, spread, len(point.records)))
    records = (
        replace(record, metrics={RATE: Figure((record.value(RATE) or 0.0) * float(factor))})
        for record, factor in zip(point.records, luck, strict=True)
    )
    return replace(point, records=tuple(records))


def table(trials: int = TRIALS) -> str:
    """The shares of the verdicts for all cases, as a table in Markdown."""
    lines = [
        "| claim | truth | repeats | spread of runs | supported | refuted | not established |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    seed = 0
    for case in cases():
        for repeats in REPEATS:
            for spread in SPREADS:
                seed += 1
                shares = verdicts(case, repeats, spread, trials, seed)
                lines.append(_line(case, repeats, spread, shares))
                print(lines[-1], flush=True)
    return "\n".join(lines)


def _line(case: Case, repeats: int, spread: float, shares: Mapping[Verdict, float]) -> str:
    named: Sequence[Verdict] = ("supported", "refuted", "not_established")
    shown = " | ".join(f"{shares[verdict]:.1%}" for verdict in named)
    return f"| {case.what} | {case.truth} | {repeats} | {spread:.0%} | {shown} |"


def main() -> None:
    options = calibration(__doc__, TRIALS).parse_args()
    made = table(options.trials)
    if options.write:
        put("claims", f"{options.trials:,} simulated claims for each row.\n\n{made}", CALIBRATION)


if __name__ == "__main__":
    main()
