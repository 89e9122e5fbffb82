"""Two speeds of requests that are under way together, and what else may look like them."""

import math

import numpy as np
import pytest

from journal.metrics.gaps import Gaps
from journal.metrics.two_speeds import (
    APART,
    APART_TOGETHER,
    AS_MUCH,
    LEAST,
    SMALLEST,
    Loads,
    TwoSpeeds,
    _apart_together,
    _best_cut,
    _differs,
    _more,
    _runs,
)
from journal.metrics.two_speeds import two_speeds as two_speeds_of


def mixed(fast: int, slow: int, ratio: float = 2.0, noise: float = 0.01) -> np.ndarray:
    """So many fast and slow requests, spread evenly among each other."""
    places = np.linspace(0, fast + slow - 1, min(fast, slow)).round().astype(int)
    is_slow = np.zeros(fast + slow, dtype=bool)
    is_slow[places] = True
    is_slow = is_slow if slow <= fast else ~is_slow
    random = np.random.default_rng(1)
    return np.where(is_slow, 0.01 * ratio, 0.01) * (1 + random.normal(0, noise, fast + slow))


def two_speeds(gap_s: np.ndarray, **loads: np.ndarray) -> TwoSpeeds | None:
    """The two speeds of requests that follow each other, with gaps of one length each."""
    return two_speeds_of(gap_s, one_by_one(gap_s), carrying(len(gap_s), **loads))


def carrying(count: int, **loads: np.ndarray) -> Loads:
    """Loads of one for each request but for those that are given."""
    same = np.ones(count)
    return Loads(same, same, same)._replace(**loads)


def one_by_one(gap_s: np.ndarray, each: int = 30) -> Gaps:
    """The gaps of requests of which each begins when the one before has ended."""
    gaps_s = np.repeat(gap_s, each)
    return Gaps(np.cumsum(gaps_s), gaps_s, np.repeat(np.arange(len(gap_s)), each))


@pytest.mark.parametrize(("fast", "slow"), [(20, 20), (30, 10), (12, 28)])
def test_two_servers_are_two_speeds(fast: int, slow: int) -> None:
    found = two_speeds(mixed(fast, slow))
    assert found is not None
    assert found.fast_s == pytest.approx(0.01, rel=0.01)
    assert found.slow_s == pytest.approx(0.02, rel=0.01)
    assert found.slow_fraction == slow / (fast + slow)


def test_medians_of_the_groups_are_told() -> None:
    gaps = np.array([1.0, 3.0] * 4 + [1.2, 3.2] * 4 + [1.1, 3.1])
    assert two_speeds(gaps) == TwoSpeeds(1.1, 3.1, 0.5)


def test_one_speed_is_not_two() -> None:
    random = np.random.default_rng(4)
    assert two_speeds(random.normal(1, 0.1, 200)) is None
    assert two_speeds(random.exponential(1, 200)) is None
    assert two_speeds(np.full(50, 0.3)) is None


def test_chunks_that_come_together_are_no_speed() -> None:
    gaps = np.where(np.arange(40) % 2, 0.02, 0.0)
    assert two_speeds(gaps) is None
    assert two_speeds(gaps + 0.001) is not None


def test_few_requests_in_a_group_and_groups_that_are_near_are_none() -> None:
    assert two_speeds(mixed(LEAST, LEAST)) is not None
    assert two_speeds(mixed(LEAST, LEAST)[:-1]) is None
    assert two_speeds(mixed(45, 5)) is not None
    assert two_speeds(mixed(46, 5)) is None, f"less than {SMALLEST} of all"
    assert two_speeds(mixed(20, 20, ratio=APART + 0.02, noise=0)) is not None
    assert two_speeds(mixed(20, 20, ratio=APART - 0.02, noise=0)) is None
    assert two_speeds(mixed(20, 20, ratio=1.3, noise=0.08)) is None, "they overlap"


def test_speed_that_follows_time_is_a_drift() -> None:
    assert two_speeds(np.sort(mixed(20, 20))) is None


def streams(speeds_s: list[list[float]]) -> tuple[np.ndarray, Gaps]:
    """The requests of streams side by side, each of 30 gaps of the length that is given, in order
    of start: whether each is slow, and the gaps of all."""
    requests = []
    for stream in speeds_s:
        starts_s = np.cumsum([0.0, *(30 * speed for speed in stream[:-1])])
        requests += list(zip(starts_s.tolist(), stream, strict=True))
    requests.sort()
    at_s = np.concatenate([start + speed * np.arange(1, 31) for start, speed in requests])
    speed_s = np.array([speed for _, speed in requests])
    rows = np.repeat(np.arange(len(requests)), 30)
    return speed_s > 0.01, Gaps(at_s, np.repeat(speed_s, 30), rows)


def test_servers_that_serve_many_requests_in_turn_are_two_speeds_all_the_same() -> None:
    """Two streams of a fast and two of a slow server: the requests of each follow each other."""
    slow, gaps = streams([[0.01] * 8, [0.01] * 8, [0.02] * 4, [0.02] * 4])
    assert _apart_together(slow, gaps, 0.04) == pytest.approx(1)
    assert two_speeds_of(np.where(slow, 0.02, 0.01), gaps, carrying(len(slow))) is not None
    fast_first, gaps = streams([[0.01] * 8 + [0.02] * 8] * 2 + [[0.01] * 16] + [[0.02] * 16])
    assert _runs(fast_first) < -2
    assert _apart_together(fast_first, gaps, 0.04) == pytest.approx(1)


def test_all_streams_that_slow_down_together_follow_time() -> None:
    """Slow and fast requests are under way together where the change comes in the middle of some:
    their gaps are alike then."""
    step_s = np.where(np.arange(960) // 20 % 2, 0.02, 0.01)
    at_s = np.cumsum(step_s)
    begins = [first + 30 * turn for first in (0, 7, 15, 22) for turn in range(30)]
    steps = [np.arange(begin, begin + 30) for begin in sorted(begins)]
    gaps = Gaps(
        np.concatenate([at_s[of] for of in steps]),
        np.concatenate([step_s[of] for of in steps]),
        np.repeat(np.arange(len(steps)), 30),
    )
    slow = np.array([np.median(step_s[of]) > 0.015 for of in steps])
    apart = _apart_together(slow, gaps, 0.04)
    assert apart is not None and apart < APART_TOGETHER
    half_s = np.where(slow[gaps.owner], gaps.gap_s * 1.5, gaps.gap_s)
    apart = _apart_together(slow, Gaps(gaps.at_s, half_s, gaps.owner), 0.04)
    assert apart is not None and apart > APART_TOGETHER


def test_groups_that_are_never_under_way_together_have_no_distance() -> None:
    gap_s = np.sort(mixed(20, 20))
    assert _apart_together(gap_s > 0.015, one_by_one(gap_s), 0.02) is None


def test_speed_that_follows_the_load_may_be_the_loads() -> None:
    """The load is named that differs as speed does; that of streams side by side is one for all."""
    gaps = mixed(20, 20)
    random = np.random.default_rng(7)
    shuffled = random.permutation(40) * 1.0

    def cause(**loads: np.ndarray) -> str | None:
        found = two_speeds(gaps, **loads)
        assert found is not None
        return found.explained_by

    assert cause(crowd=shuffled, tokens=shuffled, prompts=shuffled) is None
    assert cause(crowd=gaps) == "crowd"
    assert cause(crowd=-gaps) is None, "more in flight is never quicker"
    assert cause(tokens=gaps * 1e4) == "tokens"
    assert cause(prompts=1 / gaps) == "prompts"
    assert cause(tokens=1e4 * (gaps + 1)) is None, "1% more tokens do not take twice as long"
    slow, beside = streams([[0.01] * 8, [0.01] * 8, [0.02] * 4, [0.02] * 4])
    crowded = carrying(len(slow), crowd=1.0 + slow)
    found = two_speeds_of(np.where(slow, 0.02, 0.01), beside, crowded)
    assert found is not None and found.explained_by is None


def test_the_cut_is_where_the_groups_are_most_alike_within() -> None:
    ordered = np.sort(np.random.default_rng(3).normal([0] * 30 + [4] * 12, 1.0))
    within = [
        sum(float(((part - part.mean()) ** 2).sum()) for part in (ordered[:k], ordered[k:]))
        for k in range(1, len(ordered))
    ]
    assert _best_cut(ordered) == ordered[int(np.argmin(within))]


def test_runs_of_equal_speed_are_those_that_chance_makes() -> None:
    """Against all orders of seven requests, three of them slow."""
    random = np.random.default_rng(5)
    slow = np.array([True] * 3 + [False] * 4)
    orders = (random.permutation(slow) for _ in range(20_000))
    counts = [1 + int((order[1:] != order[:-1]).sum()) for order in orders]
    expected = (2 - np.mean(counts)) / np.std(counts)
    assert _runs(slow) == pytest.approx(expected, rel=0.03)
    # one slow of five: two runs where it is first or last, three in the other three orders
    assert _runs(np.array([True] + [False] * 4)) == pytest.approx(-0.6 / math.sqrt(0.24))
    assert _runs(np.array([True, False] * 10)) > 3
    assert _runs(np.ones(4, dtype=bool)) == 0


def test_a_load_differs_where_nearly_all_pairs_say_so_and_by_as_much() -> None:
    slow = np.array([False] * 5 + [True] * 5)
    assert _more(np.arange(10.0), slow) == 1
    assert _more(np.ones(10), slow) == 0.5
    assert _more(np.tile(np.arange(5.0), 2), slow) == 0.5
    assert _more(np.array([0, 1, 2, 6, 7, 3, 4, 5, 8, 9.0]), slow) == pytest.approx(19 / 25)
    least = AS_MUCH * math.log(2)
    assert _differs(np.arange(10.0), slow, least)
    assert _differs(9 - np.arange(10.0), slow, least)
    assert not _differs(np.array([20, 21, 22, 56, 57, 53, 24, 25, 58, 59.0]), slow, least)
    assert _differs(np.where(slow, 142.0, 100.0), slow, least)
    assert not _differs(np.where(slow, 141.0, 100.0), slow, least)
    assert not _differs(np.zeros(10), slow, least), "nobody knows how many tokens there were"
