"""The errors of figures by their intervals, worked out by hand."""

import math

import pytest

from journal.metrics.figure_error import Error, error, half_of_difference, relative_error
from journal.records.figure import Figure


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


def test_the_error_of_a_logarithm_is_relative_and_by_default_of_the_wider_half() -> None:
    figure = Figure(10.0, 9.0, 13.0, 1)
    halves = relative_error(figure, upwards=False), relative_error(figure, upwards=True)
    assert halves == (Error(pytest.approx(0.1 / 2.2622, rel=1e-4), 7), relative_error(figure))
    assert relative_error(figure) == Error(pytest.approx(0.3 / 2.2622, rel=1e-4), 7)
    assert relative_error(Figure(10.0, 7.0, 11.0, 1)) == Error(pytest.approx(0.3 / 2.2622, 1e-4), 7)
    for none in (Figure(10.0), Figure(None), Figure(0.0, 0.0, 1.0), Figure(-1.0, -2.0, 1.0)):
        assert relative_error(none) is None
