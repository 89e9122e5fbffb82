"""The trade-off of batches, and the text of tokens, on points whose figures are known."""

import pytest
from builders import a_record

from journal.compare.knee import THROUGHPUT
from journal.compare.points import Point, points
from journal.compare.setups import setups_of
from journal.compare.token_text import characters_per_token, cut_differently
from journal.compare.trade_off import TradeOff, frontier, gpus_behind, trade_offs
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.figure import Figure


def point(batch: int = 1, model: str = "m", **changes: object) -> Point:
    runs = [a_record(model, batch, number=batch, **changes)]  # type: ignore[arg-type]
    (only,) = points(zip(runs, setups_of(runs), strict=True))
    return only


def at(batch: int, tpot_s: float | None, rate: float | None, **changes: object) -> Point:
    named = {"tpot_s.p50": tpot_s, THROUGHPUT: rate}
    metrics = {
        name: Figure(value, 0.99 * value, 1.01 * value)
        for name, value in named.items()
        if value is not None
    }
    return point(batch, metrics=metrics, **changes)


TWO = Engine(model="m", tensor_parallel=2)


def test_one_user_has_the_inverse_of_the_time_per_token_and_a_gpu_its_part_of_all() -> None:
    (found,) = trade_offs((at(8, 0.02, 300.0, engine=TWO),))
    assert found.of_one == 50.0
    assert found.of_gpu == Figure(150.0, *map(pytest.approx, (148.5, 151.5)), 1)
    assert not found.is_knee


def test_points_without_both_figures_or_with_a_time_out_have_no_trade_off() -> None:
    out = (Doubt("timed_out", {}),)
    line = (at(1, None, 1.0), at(2, 0.02, None), at(4, 0.0, 1.0), at(8, 0.02, 1.0, doubts=out))
    assert trade_offs(line) == ()


def test_the_knee_is_the_last_batch_that_gained() -> None:
    line = tuple(at(b, 0.01 * b, rate) for b, rate in ((1, 100.0), (2, 190.0), (4, 195.0)))
    assert [one.is_knee for one in trade_offs(line)] == [False, True, False]


def test_gpus_are_those_of_the_engine_or_of_the_server_that_tells_them() -> None:
    assert gpus_behind(point(engine=TWO, facts=EngineFacts(cards=8))) == 2
    assert gpus_behind(point(engine=None, facts=EngineFacts(cards=8))) == 8
    assert gpus_behind(point(engine=None, facts=EngineFacts())) == 1


def test_the_frontier_has_what_nothing_beats_in_both() -> None:
    dots = {
        "slow": (10.0, 100.0),
        "beaten": (19.0, 59.0),
        "even": (20.0, 50.0),
        "mid": (20.0, 60.0),
    }
    dots |= {"fast": (30.0, 20.0), "poor": (25.0, 20.0)}
    made = {
        name: TradeOff(point(), one, Figure(every), is_knee=False)
        for name, (one, every) in dots.items()
    }
    best = [
        next(n for n, each in made.items() if each is one) for one in frontier([*made.values()])
    ]
    assert best == ["slow", "mid", "fast"]
    assert frontier([]) == ()


def test_models_that_cut_a_text_otherwise_by_more_than_a_twentieth_do_differ() -> None:
    def written(model: str, characters: float | None) -> Point:
        chars = {} if characters is None else {"characters_per_s": characters}
        return point(model=model, metrics={"output_tokens_per_s": 100.0, **chars})

    base = written("m", 400.0)
    assert characters_per_token(base) == 4.0
    assert characters_per_token(written("m", None)) is None
    assert characters_per_token(point(metrics={"characters_per_s": 1.0})) is None
    for characters, differ in ((419.0, False), (421.0, True), (381.0, False), (378.0, True)):
        assert cut_differently(base, written("n", characters)) == differ
    assert not cut_differently(base, written("m", 900.0)), "one model"
    assert not cut_differently(base, written("n", None))
