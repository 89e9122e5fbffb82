"""The knee of a line of batches, on lines whose gains are known."""

import math
from collections.abc import Mapping

import pytest
from builders import a_record

from journal.compare.knee import (
    THROUGHPUT,
    batch_steps,
    decode_bound,
    fell_behind,
    kept_up,
    knee,
    too_short_to_tell,
)
from journal.compare.points import Point, Points, points
from journal.compare.setups import setups_of
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.figure import Figure
from journal.records.run import Record
from journal.theory.model_table import find_model


def line(rates: Mapping[int, Figure | float | None]) -> Points:
    runs = [
        a_record(batch=batch, number=batch, metrics={} if rate is None else {THROUGHPUT: rate})
        for batch, rate in rates.items()
    ]
    return points(zip(runs, setups_of(runs), strict=True))


def point(**changes: object) -> Point:
    runs: list[Record] = [a_record(**changes)]  # type: ignore[arg-type]
    (only,) = points(zip(runs, setups_of(runs), strict=True))
    return only


def test_a_gain_is_that_of_a_doubling() -> None:
    steps = batch_steps(line({1: 100.0, 2: 150.0, 8: 216.0, 16: None, 32: 0.0, 64: 216.0}))
    assert [(step.before.batch, step.after.batch) for step in steps] == [(1, 2), (2, 8), (8, 64)]
    assert [step.gain for step in steps] == pytest.approx([1.5, 1.2, 1.0])
    assert [step.low for step in steps] == [None] * 3
    assert not any(step.goes_on or step.is_past for step in steps)


def test_the_interval_of_a_gain_worked_out_by_hand() -> None:
    """Both throughputs are known to 1%, with errors of that over t of 9 degrees: of their ratio it
    is 2.1448, Student's t of 14 degrees, times the root of 2 times as much. Over two doublings the
    gain has half of it."""
    (step,) = batch_steps(line({2: Figure(100.0, 99.0, 101.0), 8: Figure(144.0, 142.56, 145.44)}))
    factor = math.exp(2.1448 * math.sqrt(2) * 0.01 / 2.2622 / 2)
    assert step.gain == pytest.approx(1.2)
    assert (step.low, step.high) == pytest.approx((1.2 / factor, 1.2 * factor), rel=1e-6)


@pytest.mark.parametrize(
    ("rate", "goes_on", "is_past"),
    [(130.0, True, False), (120.0, False, False), (110.0, False, True)],
)
def test_a_step_is_past_the_knee_where_it_is_certain_to_gain_less(
    rate: float, goes_on: bool, is_past: bool
) -> None:
    (step,) = batch_steps(
        line({1: Figure(100.0, 99.0, 101.0), 2: Figure(rate, 0.99 * rate, 1.01 * rate)})
    )
    assert (step.goes_on, step.is_past) == (goes_on, is_past)


def test_the_first_step_past_it_is_the_knee() -> None:
    rates = {1: 100.0, 2: 180.0, 4: 185.0, 8: 186.0}
    known = line({b: Figure(rate, 0.99 * rate, 1.01 * rate) for b, rate in rates.items()})
    found = knee(known)
    assert found is not None and (found.before.batch, found.after.batch) == (2, 4)
    assert knee(known[:2]) is None
    assert knee(line(rates)) is None, "nothing is certain"


@pytest.mark.parametrize(("done", "kept"), [(0.97, True), (0.969, False)])
def test_a_server_keeps_up_that_answers_nearly_all_that_is_sent(done: float, kept: bool) -> None:
    for rate in (1.0, 5.0):  # what was sent counts, and what was asked for where that is unknown
        sent = {"requests_per_s": done, "achieved_rate_per_s": 1.0}
        assert kept_up(point(batch=None, rate=rate, metrics=sent)) == kept
    assert kept_up(point(batch=None, rate=1.0, metrics={"requests_per_s": done})) == kept
    assert not kept_up(point(batch=None, rate=1.0))


def test_overload_is_seen_or_could_not_be() -> None:
    behind, unseen = (point(doubts=(Doubt(n, {}),)) for n in ("falls_behind", "overload_unseen"))
    assert [fell_behind(p) for p in (behind, unseen, point())] == [True, False, False]
    assert [too_short_to_tell(p) for p in (behind, unseen, point())] == [False, True, False]


def test_a_batch_is_bound_by_memory_until_its_arithmetic_takes_longer() -> None:
    """An H100 multiplies some 300 times for each byte that it reads; a weight has two."""
    config = find_model("mistralai/Mistral-7B-Instruct-v0.2").config
    facts = EngineFacts(config=config, card="NVIDIA H100 80GB HBM3", dtype="bfloat16")
    bounds = [decode_bound(point(batch=batch, facts=facts)) for batch in (1, 8, 4096)]
    assert bounds == ["memory", "memory", "compute"]
    assert decode_bound(point(batch=None, rate=1.0, facts=facts)) is None
    assert decode_bound(point(batch=8)) is None
