"""Ratios of two sides: known answers on made-up runs prove the intervals' coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.compare.ratios import (
    MOST_STARTS,
    Ratio,
    Units,
    beyond_chance,
    nested,
    ratio,
    starts_needed,
)

Runs = tuple[list[float], list[float]]


def runs(
    chance: np.random.Generator, truth: float, repeats: tuple[int, int], spread: float
) -> Runs:
    """The value of a metric in the repeats of A and of B, where B / A is `truth`."""
    a, b = (0.05 * np.exp(chance.normal(0, spread, count)) for count in repeats)
    return a.tolist(), (b * truth).tolist()


def covered(result: Ratio | None, truth: float) -> bool:
    assert result is not None and result.low is not None and result.high is not None
    return result.low <= truth <= result.high


@pytest.mark.parametrize(
    ("repeats", "spread", "truth"),
    [((3, 3), 0.02, 1.0), ((3, 5), 0.05, 1.25), ((5, 5), 0.3, 0.5), ((10, 4), 0.1, 4.0)],
)
def test_the_interval_holds_the_true_ratio_as_often_as_promised(
    repeats: tuple[int, int], spread: float, truth: float
) -> None:
    chance = np.random.default_rng(7)
    hits = [covered(ratio([runs(chance, truth, repeats, spread)]), truth) for _ in range(2000)]
    assert 0.94 <= np.mean(hits) <= 0.985


def test_the_interval_over_several_cells_holds_too() -> None:
    chance = np.random.default_rng(8)
    hits = []
    for _ in range(1000):
        cells = [runs(chance, truth, (3, 3), 0.05) for truth in (0.5, 1.0, 2.0, 1.6)]
        hits.append(covered(ratio(cells), 1.6**0.25))
    assert 0.94 <= np.mean(hits) <= 0.985


def test_unequal_spreads_are_covered() -> None:
    chance = np.random.default_rng(9)
    hits = []
    for _ in range(2000):
        a, _ = runs(chance, 1, (6, 1), 0.01)
        _, b = runs(chance, 1.5, (1, 4), 0.2)
        hits.append(covered(ratio([(a, b)]), 1.5))
    assert 0.94 <= np.mean(hits) <= 0.985


def test_equal_sides_are_called_different_no_more_often_than_promised() -> None:
    chance = np.random.default_rng(10)
    ratios = [ratio([runs(chance, 1.0, (3, 3), 0.05)]) for _ in range(2000)]
    values = [r.probability for r in ratios if r and r.probability is not None]
    assert len(values) == 2000
    assert np.mean(np.array(values) < 0.05) == pytest.approx(0.045, abs=0.015)
    believed = [any(beyond_chance(values[at : at + 20])) for at in range(0, 2000, 20)]
    assert np.mean(believed) <= 0.1


def test_requests_within_a_run_buy_no_certainty() -> None:
    """Runs that differ by 5% from each other, each of 10 or of 10,000 requests: an interval over
    requests would shrink 30 times, and hold the truth hardly ever."""
    widths = []
    for requests in (10, 10_000):
        chance = np.random.default_rng(11)
        levels = 0.05 * np.exp(chance.normal(0, 0.05, (2, 3, 1)))
        noise = chance.normal(0, 0.001, (2, 3, requests))
        sides = np.median(levels + noise, axis=2).tolist()
        result = ratio([(sides[0], sides[1])])
        assert result is not None and result.low is not None and result.high is not None
        widths.append(math.log(result.high / result.low))
    assert widths[1] == pytest.approx(widths[0], rel=0.4)


def test_one_repeat_gives_an_effect_and_no_certainty() -> None:
    assert ratio([([2.0], [3.0])]) == Ratio(pytest.approx(1.5))  # type: ignore[arg-type]
    assert ratio([([2.0], [3.0, 3.1])]) == Ratio(pytest.approx(1.525, rel=1e-3))  # type: ignore[arg-type]
    several = ratio([([1.0, 1.1], [2.0, 2.1]), ([1.0], [2.0, 2.2])])
    assert several is not None and several.low is None


def test_equal_repeats_have_no_spread() -> None:
    third = 44.16 * 2**30 / 3
    assert ratio([([third] * 3, [third] * 7)]) == Ratio(1.0, 1.0, 1.0, 1.0)
    result = ratio([([4.0] * 3, [5.0] * 3)])
    assert result is not None
    assert result.value == result.low == result.high == pytest.approx(1.25)
    assert result.probability == 0.0


def test_empty_sides_and_zeros_have_no_ratio() -> None:
    assert ratio([]) is None
    assert ratio([([0.0, 1.0], [1.0, 1.0])]) is None
    assert ratio([([1.0], [])]) is None


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6),
    st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=80, deadline=None)
def test_swapping_sides_inverts_and_units_cancel(a: list[float], b: list[float], k: float) -> None:
    there, back = ratio([(a, b)]), ratio([(b, a)])
    scaled = ratio([([k * x for x in a], [k * x for x in b])])
    assert there and back and scaled
    assert there.low is not None and there.high is not None and back.low is not None
    assert back.high is not None and scaled.low is not None
    assert there.low <= there.value <= there.high
    assert back.value == pytest.approx(1 / there.value, rel=1e-9)
    if 1e-280 < there.low < there.high < 1e280:
        assert back.high == pytest.approx(1 / there.low, rel=1e-6)
        assert scaled.low == pytest.approx(there.low, rel=1e-6)


def test_the_clear_ones_of_many_tests_are_believed() -> None:
    assert beyond_chance([]) == []
    assert beyond_chance([0.04]) == [True]
    assert beyond_chance([0.04] + [0.5] * 9) == [False] * 10
    assert beyond_chance([0.04] * 10) == [True] * 10
    assert beyond_chance([0.5, 0.001, 0.9, 0.02]) == [False, True, False, True]


def luck(chance: np.random.Generator, starts: int, cells: int, drift: float = 0.0) -> list[Units]:
    """The values of each cell by start, where the luck of a start (2%) is the same in all cells,
    and that of a run (1%) is not."""
    of_starts = chance.normal(0, 0.02, starts) + drift
    of_runs = chance.normal(0, 0.01, (cells, starts))
    return [{n: (math.exp(v),) for n, v in enumerate(of_starts + runs)} for runs in of_runs]


@pytest.mark.parametrize(("starts", "cells", "drift"), [(3, 8, 0.0), (2, 1, 0.0), (6, 3, 0.01)])
def test_equal_servers_are_called_different_in_at_most_5_percent(
    starts: int, cells: int, drift: float
) -> None:
    """Over all cells, which share the luck of the start; with 1% of drift from side to side, too,
    where that much is allowed for. Cells as independent samples give 20% and more."""
    chance, wrong, naive, trials = np.random.default_rng(12), 0, 0, 2000
    for _ in range(trials):
        a, b = luck(chance, starts, cells), luck(chance, starts, cells, drift)
        found = nested(list(zip(a, b, strict=True)), drift=drift)
        assert found is not None and found.probability is not None
        wrong += beyond_chance([found.probability])[0]
        values = [[[v for (v,) in cell.values()] for cell in side] for side in (a, b)]
        apart = ratio(list(zip(*values, strict=True)))
        assert apart is not None and apart.probability is not None
        naive += beyond_chance([apart.probability])[0]
    assert wrong / trials <= 0.05
    assert cells < 8 or naive / trials > 0.2, "the case is one that can go wrong"


def test_a_difference_of_10_percent_is_seen_by_three_starts_of_3_percent() -> None:
    chance, trials = np.random.default_rng(13), 1000
    found = [ratio([runs(chance, 1.1, (3, 3), 0.03)]) for _ in range(trials)]
    seen = sum(beyond_chance([r.probability])[0] for r in found if r and r.probability is not None)
    assert seen / trials >= 0.6


def test_runs_of_one_start_are_averaged_first() -> None:
    a: Units = {"x": (1.0, 1.2), "y": (1.1,)}
    b: Units = {"x": (2.0,), "y": (2.2, 2.2)}
    mean = math.sqrt(1.2)
    found, expected = nested([(a, b)]), ratio([([mean, 1.1], [2.0, 2.2])])
    assert found is not None and expected is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert nested([({"x": (1.0, 1.1, 1.2)}, b)]) == Ratio(
        pytest.approx(math.sqrt(4.4) / 1.32 ** (1 / 3))  # type: ignore[arg-type]
    )


def test_cells_that_share_some_starts_are_one_sample() -> None:
    """Three starts, of which one lacks the second cell: the fewest starts of a cell count."""
    a: list[Units] = [{1: (1.0,), 2: (1.1,), 3: (0.9,)}, {1: (2.0,), 2: (2.2,)}]
    b: list[Units] = [{4: (1.0,), 5: (1.1,), 6: (0.9,)}, {4: (2.0,), 5: (2.2,)}]
    whole = nested(list(zip(a, b, strict=True)))
    assert whole is not None and whole.value == pytest.approx(1.0)
    assert whole.low is not None and whole.low < 0.8


def test_the_starts_that_are_needed_see_the_difference() -> None:
    chance = np.random.default_rng(14)
    for effect, spread in ((0.1, 0.03), (0.05, 0.02), (0.04, 0.03)):
        count = starts_needed(effect, spread)
        assert count is not None
        found = [
            ratio([runs(chance, math.exp(effect), (count, count), spread)]) for _ in range(1000)
        ]
        seen = [r.probability < 0.05 for r in found if r and r.probability is not None]
        assert 0.76 <= np.mean(seen) <= 0.97
    assert starts_needed(0.001, 0.05) is None


@pytest.mark.parametrize("drift", [0.003, 0.01, 0.05])
def test_a_drift_that_is_allowed_for_costs_neither_coverage_nor_more_than_it_must(
    drift: float,
) -> None:
    """The worst case is a drift that lies to one side in full: where it is large beside the noise
    only that side can miss, and an interval that is wider by it on both would hold in 98%."""
    chance = np.random.default_rng(11)
    held, called = [], []
    for _ in range(500):
        a, b = runs(chance, 1 + drift, (4, 4), 0.01)
        units = [{start: (value,) for start, value in enumerate(side)} for side in (a, b)]
        result = nested([(units[0], units[1])], drift=drift)
        assert result is not None and result.probability is not None
        held.append(covered(result, 1.0))
        called.append(result.probability < 0.05)
    assert 0.925 <= np.mean(held) <= 0.972
    assert np.mean(called) == pytest.approx(1 - np.mean(held), abs=1e-9)


def test_as_many_starts_are_advised_as_may_be_and_no_more() -> None:
    """Two groups of n see (t(.975) + t(.8)) x sqrt(2 / n) standard deviations, by t's of 2 (n - 1)
    degrees of freedom: with fifty 0.565 of them, with two 7.59."""
    assert starts_needed(0.57, 1.0) == MOST_STARTS == 50
    assert starts_needed(0.56, 1.0) is None
    assert starts_needed(7.6, 1.0) == starts_needed(0.076, 0.01) == 2
    assert starts_needed(5.0, 1.0) == 3
    assert starts_needed(0.1, 0.0) == 2
