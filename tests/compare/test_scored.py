"""Predictions of the user, judged by the interval of the measured values."""

from collections.abc import Callable

import pytest

from journal.compare.points import Points, points
from journal.compare.scored import NEAR, judged_prediction, near
from journal.compare.setups import setups_of
from journal.records.figure import Figure
from journal.records.run import Record

Build = Callable[..., Record]
NARROW, WIDE = 0.01, 0.3  # halves of intervals, as shares of the value


def measured(record: Build, *figures: Figure | float) -> Points:
    runs = [
        record(number=n, batch=n + 1, metrics={"ttft_s.p50": figure})
        for n, figure in enumerate(figures)
    ] or [record()]
    return points(zip(runs, setups_of(runs), strict=True))


def wide(value: float, half: float) -> Figure:
    return Figure(value, value * (1 - half), value * (1 + half), 100)


@pytest.mark.parametrize(
    ("predicted", "figures", "verdict"),
    [
        (0.1, (wide(0.1, NARROW),), "supported"),
        (0.1, (wide(0.1, NARROW), wide(0.099, NARROW)), "supported"),
        (0.1, (wide(0.1, NARROW), wide(0.5, NARROW)), "refuted"),
        (0.1, (wide(0.1, WIDE),), "not_established"),
        (0.1, (wide(0.108, NARROW * 5),), "not_established"),  # near, and its interval is not
        (0.1, (wide(0.2, WIDE),), "refuted"),
        (0.1, (0.1,), "not_established"),  # no interval
        (0.1, (), "not_measured"),
        (0.0, (wide(0.1, NARROW),), "refuted"),
    ],
)
def test_a_prediction_is_judged_by_the_interval_at_every_point(
    record: Build, predicted: float, figures: tuple[Figure | float, ...], verdict: str
) -> None:
    assert judged_prediction("ttft_s", predicted, measured(record, *figures)).verdict == verdict


def test_a_prediction_is_near_by_a_share_of_what_was_measured() -> None:
    region = near(1.0)
    for end in (region.low, region.high):
        assert abs(1.0 - end) == pytest.approx(NEAR * end)


def test_an_open_prediction_says_how_many_repeats_would_decide(record: Build) -> None:
    found = judged_prediction("ttft_s", 0.1, measured(record, wide(0.1, WIDE)))
    assert found.more is not None
    assert 1 < found.more < 50


def test_what_is_counted_needs_no_interval_and_counts_once_for_a_server(record: Build) -> None:
    runs = [record(batch=b, number=b, metrics={"kv_bytes_per_token": 23040.0}) for b in (1, 2)]
    found = judged_prediction(
        "kv_bytes_per_token", 23040, points(zip(runs, setups_of(runs), strict=True))
    )
    assert found.verdict == "supported"
    assert [part.figure.value for part in found.parts] == [23040.0]


def test_a_prediction_of_one_cell_is_judged_there_alone(record: Build) -> None:
    found = measured(record, wide(0.1, NARROW), wide(0.5, NARROW))  # batch 1 and batch 2
    assert judged_prediction("ttft_s_p50@batch=1", 0.1, found).verdict == "supported"
    assert judged_prediction("ttft_s_p50@batch=2", 0.1, found).verdict == "refuted"
    assert judged_prediction("ttft_s_p50@batch=3", 0.1, found).verdict == "not_measured"
    assert judged_prediction("ttft_s_p50", 0.1, found).verdict == "refuted"
