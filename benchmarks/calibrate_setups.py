"""Calibration of what a log says of the setups of a day, at known truth.

    python -m benchmarks.calibrate_setups [--trials 2000] [--only "| 3 | 5"] [--write]

Setups are measured in turn, each with some engine starts of some batches. Three figures of a run
share the luck of its start and its own, and each has some more of its own. The verdicts are those
of the log, which judges all ratios to the first setup together. `--write` puts the table into
docs/calibration.md, with `--only` those rows alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.drawn_run import drawn_run
from benchmarks.page import calibration, put_table
from journal.compare.beside import Beside, judged_together
from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.run import Record

TRIALS = 2000
METRICS = ("output_tokens_per_s", "ttft_s.p50", "tpot_s.p50")
START_SD, RUN_SD, METRIC_SD = 0.015, 0.01, 0.01  # shares of the figure
EQUAL, TENTH = 1.0, 1.1  # the true ratio of the last setup to the others

HEAD = (
    "| setups | starts each | batches | the last one is slower by | called different "
    "| each ratio by itself |\n| --: | --: | --: | --: | --: | --: |"
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """`setups` with `starts` of each, which serve all `batches`; the last takes `truth` times as
    long as the others."""

    setups: int
    starts: int
    batches: int
    truth: float = EQUAL


def cases() -> Iterator[Case]:
    """The cases of the table, equal setups first."""
    for setups in (2, 3):
        for starts in (3, 5):
            for batches in (1, 3, 8):
                yield Case(setups=setups, starts=starts, batches=batches)
    for starts in (3, 5):
        yield Case(setups=2, starts=starts, batches=3, truth=TENTH)


def day(case: Case, chance: np.random.Generator) -> list[Record]:
    """The runs of one day."""
    records: list[Record] = []
    for repeat in range(case.starts):
        order = range(case.setups)
        for setup in order if repeat % 2 == 0 else reversed(order):
            start = chance.normal(0, START_SD)
            slower = np.log(case.truth) if setup == case.setups - 1 else 0.0
            for place in range(case.batches):
                luck = start + chance.normal(0, RUN_SD) + chance.normal(0, METRIC_SD, len(METRICS))
                times = np.exp(slower + luck)
                records.append(_run(setup, repeat, 2**place, len(records), times))
    return records


def _run(setup: int, repeat: int, batch: int, minute: int, times: np.ndarray) -> Record:
    rate, *latencies = times.tolist()
    figures = dict(zip(METRICS, map(Figure, (1 / rate, *latencies)), strict=True))
    engine = Engine(model=f"m{setup}")
    return drawn_run(engine, minute=minute, repeat=repeat, batch=batch, metrics=figures)


def pairs_of(records: list[Record]) -> list[Beside]:
    """Each setup beside the first, at each batch."""
    every = points(zip(records, setups_of(records), strict=True))
    firsts = {point.load: point for point in every if point.setup == every[0].setup}
    return [Beside(firsts[p.load], p) for p in every if p.setup != every[0].setup]


def called_different(case: Case, trials: int, seed: int) -> tuple[float, float]:
    """The shares of days on which the log calls two setups different, and on which it would if it
    judged each ratio by its own interval."""
    chance = np.random.default_rng(seed)
    together = alone = 0
    for _ in range(trials):
        found = judged_together(pairs_of(day(case, chance)), METRICS).values()
        verdicts = {judged.verdict for judged in found}
        together += "other" in verdicts
        alone += bool(verdicts & {"other", "maybe"})
    return together / trials, alone / trials


def main() -> None:
    options = calibration(__doc__, TRIALS, "part of the cells that name a row").parse_args()
    head = f"{options.trials:,} days for each row.\n\n{HEAD}"
    put_table("setups", head, lines(options.trials, options.only), 4, options)


def lines(trials: int, only: str) -> Iterator[str]:
    for seed, case in enumerate(cases()):
        name = f"| {case.setups} | {case.starts} | {case.batches} | {case.truth - 1:.0%}"
        if only in name:
            together, alone = called_different(case, trials, seed)
            yield f"{name} | {together:.1%} | {alone:.1%} |"


if __name__ == "__main__":
    main()
