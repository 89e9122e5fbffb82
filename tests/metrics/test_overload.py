"""A queue that grows is told from one that comes and goes."""

import numpy as np
import pytest

from journal.metrics.overload import growth


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


def test_nothing_can_be_said_of_a_few_requests_or_of_a_burst() -> None:
    at_once = np.zeros(50)
    assert growth(at_once, at_once + 1) is None
    few = np.arange(9.0)
    assert growth(few, few + 0.5) is None
    burst = np.arange(50) * 0.01
    assert growth(burst, burst + 1.0) is None
