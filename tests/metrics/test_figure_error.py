"""Whether two figures differ: worked out by hand, and on simulated servers."""

import math

import numpy as np
import pytest

from benchmarks.worlds import closed
from journal.metrics.figure_error import Error, differ, error, half_of_difference
from journal.metrics.table import named
from journal.metrics.view import View
from journal.records.figure import Figure


def test_two_figures_differ_by_welch_and_not_by_overlap() -> None:
    """Intervals of +-1 about 10 and 11.7 overlap; the difference has one of +-1.5."""
    before, after = Figure(10.0, 9.0, 11.0, 1), Figure(11.7, 10.7, 12.7, 1)
    assert differ(before, after) is True
    assert differ(after, before) is True
    assert differ(before, Figure(11.3, 10.3, 12.3, 1)) is False


def test_the_halves_that_face_each_other_decide() -> None:
    skewed = Figure(10.0, 9.9, 30.0, 1)
    assert differ(skewed, Figure(9.0, 8.9, 9.1, 1)) is True
    assert differ(skewed, Figure(11.0, 10.9, 11.1, 1)) is False


def test_repeats_count_as_many_degrees_as_they_have() -> None:
    """Of two repeats t is 12.7: an interval of +-12.7 has a standard error of 1."""
    two = (Figure(10.0, -2.706, 22.706, 2), Figure(14.0, 1.294, 26.706, 2))
    assert differ(*two) is False  # 4 / sqrt(2) = 2.83, below t(0.975, 2) = 4.30
    assert differ(two[0], Figure(17.0, 4.294, 29.706, 2)) is True  # 4.95


@pytest.mark.parametrize(
    ("count", "t", "degrees"),
    [(None, 2.2622, 7), (1, 2.2622, 7), (2, 12.7062, 1), (7, 2.4469, 6), (8, 2.2622, 7)],
)
def test_an_interval_of_ten_groups_is_trusted_as_one_of_eight(
    count: int | None, t: float, degrees: int
) -> None:
    """A single run, and from eight repeats on: Student's t of nine degrees, and seven of its error.
    Of fewer repeats both are theirs."""
    figure = Figure(10.0, 9.0, 13.0, count)
    assert error(figure, upwards=True) == Error(pytest.approx(3 / t, rel=1e-4), degrees)
    assert error(figure, upwards=False) == Error(pytest.approx(1 / t, rel=1e-4), degrees)


@pytest.mark.parametrize(
    ("errors", "t"),
    [
        (((2.0, 4), (2.0, 4)), 2.3060),  # eight degrees of freedom
        (((1.0, 4), (2.0, 7)), 2.2622),  # 25 / (1 / 4 + 16 / 7) = 9.9, of which nine count
        (((3.0, 1), (0.0, 9)), 12.7062),
    ],
)
def test_half_of_a_difference_is_welchs(errors: tuple[tuple[float, int], ...], t: float) -> None:
    """Student's t of the tables at the degrees of Welch and Satterthwaite."""
    before, after = (Error(*each) for each in errors)
    size = math.hypot(before.standard, after.standard)
    assert half_of_difference(before, after) == pytest.approx(t * size, rel=1e-4)
    assert half_of_difference(after, before) == half_of_difference(before, after)
    assert half_of_difference(Error(0.0, 1), Error(0.0, 1)) == 0


def test_figures_without_an_interval_cannot_be_said_to_differ() -> None:
    assert differ(Figure(10.0), Figure(20.0)) is None
    assert differ(Figure(10.0, 9.0, 11.0), Figure(20.0)) is None
    assert differ(Figure(None), Figure(20.0, 19.0, 21.0)) is None
    assert differ(Figure(10.0, 10.0, 10.0), Figure(10.0, 10.0, 10.0)) is False


def test_equal_servers_are_seldom_said_to_differ() -> None:
    draw, tpot = closed(80, 8, "white"), named("tpot_s.mean")
    figures = [tpot.figure(View(draw(np.random.default_rng([7, seed])))) for seed in range(120)]
    called = [differ(*pair) for pair in zip(figures[::2], figures[1::2], strict=True)]
    assert None not in called
    assert sum(called) <= 6  # 3 of 60 at 5%
