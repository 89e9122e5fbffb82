"""A queue that grows is told from one that comes and goes."""

import numpy as np
import pytest

from journal.metrics.overload import _settled, growth


def in_turn(arrive_s: np.ndarray, service_s: float) -> np.ndarray:
    free_s, done_s = 0.0, []
    for at_s in arrive_s.tolist():
        free_s = max(free_s, at_s) + service_s
        done_s.append(free_s)
    return np.array(done_s)


def test_a_server_that_answers_two_of_three_grows_by_a_third_of_what_comes() -> None:
    arrive_s = np.arange(400) * 0.1
    found = growth(arrive_s, in_turn(arrive_s, 0.15))
    assert found is not None and found.settled
    assert found.came_per_s == pytest.approx(10.0)
    assert found.piled_per_s == pytest.approx(10 / 3, rel=0.01)
    assert found.fraction == pytest.approx(1 / 3, rel=0.01)
    assert 0.25 < found.low < found.fraction < found.high < 0.4


def test_a_server_that_keeps_up_has_a_level() -> None:
    arrive_s = np.arange(400) * 0.1
    found = growth(arrive_s, in_turn(arrive_s, 0.08))
    assert found is not None and found.settled
    assert (found.fraction, found.low, found.high) == pytest.approx((0.0, 0.0, 0.0), abs=0.01)


def test_a_queue_that_bunched_arrivals_explain_is_no_growth() -> None:
    """The last third comes at twice the pace of the others: at the end 50 of 300 wait, and a
    server that answers 10 in a second has as many."""
    arrive_s = np.cumsum(np.repeat([0.12, 0.06], [200, 100]))
    rate = 299 / (arrive_s[-1] - arrive_s[0])
    found = growth(arrive_s, in_turn(arrive_s, 1 / rate))
    assert found is not None
    assert found.piled_per_s > 1
    assert found.fraction == pytest.approx(0.0, abs=0.01)


def test_a_server_that_still_fills_up_is_not_settled() -> None:
    """Requests take 2 s and more of 3: all that is seen is that they pile up at first."""
    arrive_s = np.arange(120) * 0.025
    found = growth(arrive_s, arrive_s + 0.5 + 0.6 * arrive_s)
    assert found is not None and found.fraction > 0.1
    ramp = growth(arrive_s, np.maximum(arrive_s + 0.3, 3.3 - (3 - arrive_s) ** 2 / 3))
    assert ramp is not None and not ramp.settled


@pytest.mark.parametrize(
    ("early", "late", "settled"),
    [(12, 14, True), (12, 15, False), (20, 24, True), (20, 25, False), (11, 11, False)],
)
def test_a_server_is_filled_up_that_answers_no_more_than_a_fifth_more_later(
    early: int, late: int, settled: bool
) -> None:
    """From 10 s to 30 s: an answer at an end of a half belongs to the one that it ends."""
    end_s = [*[20.0] * early, *[30.0] * late, *[10.0] * 9, *[30.1] * 9]
    assert _settled(np.array(end_s), 10.0, 30.0) == settled


def test_growth_looks_at_the_time_after_a_server_has_begun_to_answer() -> None:
    """100 requests come in 10 s, and nothing is answered in the first one; after that two of three
    are. A fifth of the rest is for filling up, and an answer may last a third of what is left."""
    arrive_s = np.arange(100) * 0.1
    end_s = 1 + np.arange(100) * 0.15
    found = growth(arrive_s, end_s)
    assert found is not None
    assert found.came_per_s == pytest.approx(10)
    assert found.piled_per_s == pytest.approx(10 / 3, rel=0.05)
    left_s = 0.8 * (9.9 - 1)
    for part, settled in ((0.33, True), (0.34, False)):
        lasting = growth(arrive_s, end_s, part * left_s)
        assert lasting is not None and lasting.settled == settled


@pytest.mark.parametrize(("requests", "said"), [(13, True), (12, False)])
def test_growth_needs_ten_requests_after_a_fifth_of_the_time(requests: int, said: bool) -> None:
    """The first is over at once: of 13, ten come after 2.4 s of 12."""
    arrive_s = np.arange(float(requests))
    assert (growth(arrive_s, arrive_s + 1e-9) is not None) == said


def test_nothing_can_be_said_of_a_few_requests_or_of_a_burst() -> None:
    at_once = np.zeros(50)
    assert growth(at_once, at_once + 1) is growth(at_once, at_once) is None
    few = np.arange(9.0)
    assert growth(few, few + 0.5) is None
    burst = np.arange(50) * 0.01
    assert growth(burst, burst + 1.0) is None
