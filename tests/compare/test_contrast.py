"""Contrasts of figures, against Student's t of the tables and the formula of Welch."""

import math

import pytest

from journal.compare.contrast import contrast, slope_weights
from journal.compare.ratios import starts_needed
from journal.records.figure import Figure

T9, T3 = 2.2622, 3.1824  # Student's t at 97.5%


def test_a_ratio_of_two_single_runs_worked_out_by_hand() -> None:
    """Each has an error of its interval over t of 9 degrees, which counts as one of 7."""
    made = contrast((-1, 1), [Figure(10.0, 9.0, 10.5, 1), Figure(20.0, 19.0, 22.0, 1)])
    assert made is not None
    errors = [0.1 / T9, 0.1 / T9]  # the wider half, over the value
    assert made.value == pytest.approx(math.log(2))
    assert made.standard == pytest.approx(math.hypot(*errors), rel=1e-4)
    assert made.degrees == pytest.approx(14)
    assert (made.repeats, made.spread) == (1, made.standard)
    half = made.figure().high - made.value  # type: ignore[operator]
    assert half == pytest.approx(2.1448 * math.hypot(*errors), rel=1e-4)  # of 14 degrees
    wider = made.figure(0.99)
    assert wider.high == pytest.approx(made.value + 2.9768 * math.hypot(*errors), rel=1e-4)
    assert wider.low == pytest.approx(made.value - 2.9768 * math.hypot(*errors), rel=1e-4)


def test_weights_count_by_their_squares_and_repeats_by_their_root() -> None:
    """Of four repeats each: 3 degrees; of errors 1 and 2 as large, (1 + 4)^2 / (1 / 3 + 16 / 3)."""
    figures = [Figure(1.0, 0.9, 1.1, 4), Figure(1.0, 0.9, 1.1, 4)]
    made = contrast((1, -2), figures)
    assert made is not None and made.standard is not None
    assert made.standard == pytest.approx(0.1 / T3 * math.sqrt(5), rel=1e-4)
    assert made.degrees == pytest.approx(25 / (17 / 3))
    assert (made.repeats, made.spread) == (4, pytest.approx(2 * made.standard))


def test_figures_without_an_interval_scatter_as_is_usual_unless_they_are_exact() -> None:
    bare = [Figure(2.0, count=3), Figure(3.0, 2.9, 3.1, 2)]
    made = contrast((3, 4), bare)
    assert made is not None and made.standard is made.degrees is made.figure().low is None
    assert (made.repeats, made.spread) == (2, pytest.approx(0.02 * 5))
    exact = contrast((1, -1), [Figure(2.0), Figure(4.0)], exact=True)
    assert exact is not None
    assert exact.figure() == Figure(-math.log(2), -math.log(2), -math.log(2), 1)
    assert (exact.spread, exact.more_to_clear(0.1)) == (0.0, 1)
    mixed = contrast((1, 1), [Figure(2.0), Figure(1.0, 0.9, 1.1, 1)], exact=True)
    assert mixed is not None and mixed.degrees == pytest.approx(7)
    for none in (Figure(0.0), Figure(-1.0), Figure(None)):
        assert contrast((1, 1), [none, Figure(1.0)]) is None


def test_the_repeats_that_clear_a_distance_are_those_of_two_sides_with_its_spread() -> None:
    made = contrast((-1, 1), [Figure(1.0, 0.95, 1.05, 1), Figure(1.0, 0.95, 1.05, 1)])
    assert made is not None and made.standard is not None
    needed = starts_needed(0.05, made.standard / math.sqrt(2))
    assert needed is not None and needed > 2
    assert made.more_to_clear(0.05) == made.more_to_clear(-0.05) == needed - 1
    assert made.more_to_clear(0.0) == made.more_to_clear(0.02)  # no less is asked for
    assert made.more_to_clear(9.0) == 1
    wide = contrast((-1, 1), [Figure(1.0, 0.1, 1.9, 1), Figure(1.0, 0.1, 1.9, 1)])
    assert wide is not None and wide.more_to_clear(0.02) is None


def test_a_slope_is_that_of_least_squares() -> None:
    xs = [0.0, 1.0, 5.0]
    weights = slope_weights(xs)
    assert sum(weights) == pytest.approx(0)
    assert sum(w * (3 + 2 * x) for w, x in zip(weights, xs, strict=True)) == pytest.approx(2)
    assert weights == pytest.approx([-2 / 14, -1 / 14, 3 / 14])
