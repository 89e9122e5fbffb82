"""Calibration of comparisons and gates at known truth.

    python -m benchmarks.calibrate_compare [--trials 3000] [--only "one after the other"] [--write]

Two sides of some cells, each with a number of engine starts. A figure is the truth, times the luck
of its start (the same in all cells), times the luck of its run, times a drift of the host that is
linear in time from the first run to the last. The verdicts are those of `journal compare` and
`journal check`. `--write` puts the tables into docs/calibration.md, with `--only` those rows alone.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import log

import numpy as np

from benchmarks.drawn_run import drawn_run
from benchmarks.page import calibration, put_table
from journal.compare.comparison import NOTICEABLE
from journal.compare.gate import LIMITS, Outcome, decided, shared_confidence, worsening
from journal.compare.pairing import Pair
from journal.compare.ratios import Units, nested
from journal.compare.starts import Measured, way_measured
from journal.compare.verdicts import Compared, judge
from journal.metrics.statistics import CONFIDENCE
from journal.metrics.table import named
from journal.records.experiment import Engine
from journal.records.run import Record

TRIALS = 3000
EQUAL, TENTH = 1.0, 1.1  # the true ratio
TTFT = named("ttft_s.p50")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`starts` of each side, each with `runs` of every cell; `in_turn`: A B, B A, A B. Spreads are
    standard deviations, shares of the figure; `drift` is that over the whole comparison."""

    starts: int = 3
    runs: int = 1
    cells: int = 1
    in_turn: bool = True
    start_sd: float = 0.01
    run_sd: float = 0.01
    drift: float = 0.0
    truth: float = EQUAL


def called_different(case: Case, trials: int, seed: int = 1) -> tuple[float, float]:
    """The shares of comparisons that call a side higher or lower: in any cell, and overall."""
    chance = np.random.default_rng(seed)
    pairs, times = _plan(case)
    way, rows = way_measured(pairs), [way_measured([pair]) for pair in pairs]
    cells = overall = 0
    for _ in range(trials):
        figures = _figures(case, pairs, times, chance)
        found = [_judged([pair], figures, row) for pair, row in zip(pairs, rows, strict=True)]
        verdicts = [figure.verdict for figure in judge(found, NOTICEABLE)]
        (whole,) = judge([_judged(pairs, figures, way)], NOTICEABLE)
        cells += any(verdict in ("higher", "lower") for verdict in verdicts)
        overall += whole.verdict in ("higher", "lower")
    return cells / trials, overall / trials


def cases() -> Iterator[Case]:
    """The cases of the table, equal sides first."""
    for starts in (2, 3, 6):
        for cells in (1, 3, 8):
            for in_turn in (True, False):
                for start_sd, run_sd in SPREADS:
                    case = Case(starts=starts, cells=cells, in_turn=in_turn, drift=0.01)
                    yield replace(case, start_sd=start_sd, run_sd=run_sd)
    for starts in (2, 3, 4, 6):
        yield Case(starts=starts, run_sd=0.03)
    yield Case(starts=1, runs=6, start_sd=0.02)
    yield Case(starts=3, runs=3, start_sd=0.02)
    yield Case(starts=3, start_sd=0.03, run_sd=0.0, truth=TENTH)
    yield Case(starts=3, start_sd=0.03, run_sd=0.0, truth=TENTH, in_turn=False)
    yield Case(starts=6, start_sd=0.03, run_sd=0.0, truth=TENTH)


SPREADS = ((0.005, 0.01), (0.01, 0.01), (0.02, 0.01), (0.005, 0.03), (0.01, 0.03), (0.02, 0.03))


HEAD = (
    "| sides | starts each | runs of a start | cells | order | drift | spread of starts | of "
    "runs | called different: a cell | overall |\n"
    "| --- | --: | --: | --: | --- | --: | --: | --: | --: | --: |"
)


def lines(trials: int, only: str = "") -> Iterator[str]:
    """The rows of the cases in whose names `only` is, with their shares."""
    for seed, case in enumerate(cases()):
        sides = "equal" if case.truth == EQUAL else f"differ by {case.truth - 1:.0%}"
        order = "in turn" if case.in_turn else "one after the other"
        name = (
            f"| {sides} | {case.starts} | {case.runs} | {case.cells} | {order} | {case.drift:.0%} "
            f"| {case.start_sd:.1%} | {case.run_sd:.0%}"
        )
        if only in name:
            cell, overall = called_different(case, trials, seed)
            yield f"{name} | {cell:.1%} | {overall:.1%} |"


LIMIT = 0.05
WORSE = (0.0, LIMIT, 2 * LIMIT)


def gate_outcomes(case: Case, trials: int, seed: int = 1) -> dict[Outcome, float]:
    """The shares of the outcomes of a gate on the metrics of LIMITS, each with LIMIT, of which the
    first is truly worse by `case.truth` and the others are equal."""
    chance = np.random.default_rng(seed)
    pairs, times = _plan(case)
    way, share = way_measured(pairs), shared_confidence(len(LIMITS))
    equal = replace(case, truth=EQUAL)
    counts: dict[Outcome, int] = {"PASS": 0, "FAIL": 0, "INCONCLUSIVE": 0}
    for _ in range(trials):
        outcomes = []
        for each in (case, *[equal] * (len(LIMITS) - 1)):
            figures = _figures(each, pairs, times, chance)
            cells = [(_units(a, figures, way), _units(b, figures, way)) for a, b in pairs]
            worse, strict = (
                worsening(nested(cells, paired=way.paired, drift=way.drift, confidence=c), TTFT)
                for c in (CONFIDENCE, share)
            )
            outcomes.append(decided(worse, strict, LIMIT))
        counts[next(o for o in ("FAIL", "INCONCLUSIVE", "PASS") if o in outcomes)] += 1
    return {outcome: count / trials for outcome, count in counts.items()}


GATE_HEAD = (
    "| truly worse by | limit | starts each | cells | order | spread of starts | of runs "
    "| PASS | FAIL | INCONCLUSIVE |\n"
    "| --: | --: | --: | --: | --- | --: | --: | --: | --: | --: |"
)


def gate_lines(trials: int, only: str = "") -> Iterator[str]:
    """The rows of the gates in whose names `only` is, with the shares of their outcomes."""
    seed = 0
    for worse in WORSE:
        for starts, cells in ((3, 1), (3, 4), (6, 1), (10, 1)):
            for in_turn in (True, False):
                seed += 1
                case = Case(
                    starts=starts, cells=cells, in_turn=in_turn, drift=0.01, truth=1 + worse
                )
                order = "in turn" if in_turn else "one after the other"
                name = (
                    f"| {worse:.0%} | {LIMIT:.0%} | {starts} | {cells} | {order} "
                    f"| {case.start_sd:.0%} | {case.run_sd:.0%}"
                )
                if only in name:
                    shares = gate_outcomes(case, trials, seed)
                    yield (
                        f"{name} | {shares['PASS']:.1%} | {shares['FAIL']:.2%} "
                        f"| {shares['INCONCLUSIVE']:.1%} |"
                    )


def _plan(case: Case) -> tuple[list[Pair], Mapping[str, float]]:
    """The runs of each cell on both sides, and the time of each, 0 to 1."""
    turns = [
        (side, start)
        for start in range(case.starts)
        for side in ((0, 1) if start % 2 == 0 else (1, 0))
    ]
    order = turns if case.in_turn else sorted(turns)
    sides: list[tuple[list[Record], list[Record]]] = [([], []) for _ in range(case.cells)]
    times: dict[str, float] = {}
    for side, start in order:
        for run in range(case.runs):
            for cell in range(case.cells):
                record = drawn_run(
                    Engine(model="ab"[side]),
                    minute=len(times),
                    repeat=start * case.runs + run,
                    batch=cell + 1,
                    start=start,
                )
                times[record.id] = float(len(times))
                sides[cell][side].append(record)
    last = max(1.0, len(times) - 1.0)
    return [(tuple(a), tuple(b)) for a, b in sides], {i: t / last for i, t in times.items()}


def _figures(
    case: Case, pairs: list[Pair], times: Mapping[str, float], chance: np.random.Generator
) -> dict[str, float]:
    luck: dict[Hashable, float] = {}
    figures: dict[str, float] = {}
    for pair in pairs:
        for side, truth in zip(pair, (0.0, log(case.truth)), strict=True):
            for record in side:
                start = luck.setdefault(record.facts.log_path, chance.normal(0, case.start_sd))
                run = chance.normal(0, case.run_sd)
                drift = case.drift * times[record.id]
                figures[record.id] = float(np.exp(truth + start + run + drift))
    return figures


def _judged(pairs: list[Pair], figures: Mapping[str, float], way: Measured) -> Compared:
    cells = [tuple(_units(side, figures, way) for side in pair) for pair in pairs]
    sides = [(a, b) for a, b in cells]
    return Compared(
        metric="ttft_s.p50",
        headline=named("ttft_s.p50"),
        a=1.0,
        b=1.0,
        ratio=nested(sides, paired=way.paired, drift=way.drift),
        repeats=way.units,
        units=way.units,
        unit=way.unit,
    )


def _units(side: tuple[Record, ...], figures: Mapping[str, float], way: Measured) -> Units:
    units: dict[Hashable, list[float]] = {}
    for record in side:
        units.setdefault(way.labels[record.id], []).append(figures[record.id])
    return units


def main() -> None:
    options = calibration(__doc__, TRIALS, "part of the cells that name a row").parse_args()
    for part, what, head, of, names in (
        ("comparisons", "comparisons", HEAD, lines, 8),
        ("gate", "simulated checks", GATE_HEAD, gate_lines, 7),
    ):
        text = f"{options.trials:,} {what} for each row.\n\n{head}"
        put_table(part, text, of(options.trials, options.only), names, options)


if __name__ == "__main__":
    main()
