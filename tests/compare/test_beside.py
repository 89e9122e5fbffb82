"""Two setups at one cell: verdicts on many ratios are reached together, so that equal setups
are called different on one day of twenty at most."""

import math
from collections.abc import Sequence

import pytest
from builders import a_record

from benchmarks.calibrate_setups import Case, called_different, pairs_of
from journal.compare.beside import Beside, judged_together
from journal.records.engine import EngineFacts
from journal.records.run import Record

TTFT, TPOT = "ttft_s.p50", "tpot_s.p50"
DAYS = 150


def a_run(setup: int, repeat: int, batch: int, number: int, **values: float) -> Record:
    """A run of one cell, whose engine start served all cells of its repeat."""
    return a_record(
        f"m{setup}",
        batch,
        repeat=repeat,
        number=number,
        metrics=dict(values),
        facts=EngineFacts(log_path=f"m{setup}-{repeat}.log", start_s=60.0),
    )


def two(first: Sequence[float], other: Sequence[float]) -> list[Beside]:
    """A cell at two setups that were measured in turn, with these TTFTs."""
    rows = [(0, value) for value in first], [(1, value) for value in other]
    turns = [row for pair in zip(*rows, strict=True) for row in pair]
    return pairs_of(
        [a_run(setup, n // 2, 1, n, **{TTFT: value}) for n, (setup, value) in enumerate(turns)]
    )


@pytest.mark.parametrize(
    "first, other, verdict",
    [
        ((1, 1.01, 0.99), (1.2, 1.21, 1.19), "other"),
        ((1, 1.01, 0.99), (1.0, 1.02, 0.99), "equal"),
        ((1, 1.2, 0.8), (1.2, 1.0, 1.3), "open"),
        ((1, 1.0001, 1), (1.006, 1.0061, 1.006), "equal"),  # less than a new start may differ by
        ((1,), (1.2,), "unknown"),
    ],
)
def test_a_ratio_has_the_verdict_that_its_interval_gives(
    first: Sequence[float], other: Sequence[float], verdict: str
) -> None:
    (pair,) = two(first, other)
    assert judged_together([pair], [TTFT])[pair, TTFT].verdict == verdict


def test_a_ratio_that_stands_alone_among_many_equal_ones_may_be_chance() -> None:
    (odd,) = two((1, 1.01, 0.99), (1.03, 1.04, 1.016))
    equal = [pair for _ in range(8) for pair in two((1, 1.01, 0.99), (1.0, 1.02, 0.99))]
    assert judged_together([odd], [TTFT])[odd, TTFT].verdict == "other"
    assert judged_together([odd, *equal], [TTFT])[odd, TTFT].verdict == "maybe"


def test_a_metric_that_one_side_lacks_has_no_verdict() -> None:
    (pair,) = two((1, 1.01), (1.2, 1.21))
    assert list(judged_together([pair], [TTFT, TPOT])) == [(pair, TTFT)]


def test_equal_setups_are_called_different_on_one_day_of_twenty_at_most() -> None:
    """Each ratio by itself would call them so on two days of five."""
    together, alone = called_different(Case(setups=3, starts=3, batches=3), DAYS, seed=1)
    assert together <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DAYS)
    assert alone > 0.2
    seen, _ = called_different(Case(setups=2, starts=3, batches=3, truth=1.1), DAYS // 3, seed=2)
    assert seen >= 0.8
