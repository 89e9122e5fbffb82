"""Differences of two figures: verdicts are those of the test, and ranges hold what may be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.compare.difference import ALIKE, difference
from journal.compare.ratios import starts_needed
from journal.metrics.figure_error import differ
from journal.records.figure import Figure

HIGHEST = 1e6


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    """A figure above 0, with an interval around it, on one run or on several."""
    value = draw(st.floats(1e-3, HIGHEST))
    if draw(st.booleans()) and draw(st.booleans()):
        return Figure(value)
    low, high = (value * draw(st.sampled_from((0, 1e-3, 0.01, 0.03, 0.1, 0.5))) for _ in "ab")
    return Figure(value, value - low, value + high, draw(st.sampled_from((1, 2, 3, 5, 20))))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (Figure(1.0, 0.99, 1.01), Figure(1.01, 1.0, 1.02), "equal"),
        (Figure(1.0, 0.9, 1.1), Figure(1.04, 1.0, 1.08), "undecided"),  # it may be 17% more
        (Figure(1.0, 0.8, 1.2), Figure(1.2, 1.0, 1.4), "undecided"),
        (Figure(1.0, 0.8, 1.2), Figure(1.4, 1.2, 1.6), "rises"),  # the ends meet: Welch sees it
        (Figure(1.0, 0.99, 1.01), Figure(1.04, 1.03, 1.05), "rises"),
        (Figure(1.3, 1.2, 1.4), Figure(1.0, 0.9, 1.1), "falls"),
        (Figure(1.0), Figure(1.3), "unknown"),
        (Figure(1.0), Figure(1.0, 0.9, 1.1), "unknown"),
    ],
)
def test_a_change_is_one_only_beyond_the_noise(before: Figure, after: Figure, verdict: str) -> None:
    found = difference(before, after)
    assert found is not None and found.verdict == verdict


def test_a_difference_of_nothing_is_none() -> None:
    assert difference(None, Figure(1.0)) is None
    assert difference(Figure(1.0), Figure(None)) is None
    assert difference(Figure(0.0), Figure(1.0)) is None, "it has no ratio"


@given(figures(), figures())
def test_a_change_is_seen_where_the_test_sees_it(before: Figure, after: Figure) -> None:
    found = difference(before, after)
    assert found is not None
    assert (None if found.verdict == "unknown" else found.seen) == differ(before, after)
    if found.low is not None and found.high is not None:
        assert found.low <= found.ratio - 1 + 1e-9 and found.ratio - 1 - 1e-9 <= found.high
        assert found.seen == (found.low > 0 or found.high < 0)
        if found.verdict == "equal":
            assert max(abs(found.low), abs(found.high)) <= ALIKE
    assert (found.repeats is None) or found.verdict == "undecided"


def test_the_repeats_that_would_tell_are_more_for_more_noise() -> None:
    """One run each with +-4%: some repeats; with +-40%: more than can be advised."""
    counts = []
    for half in (0.04, 0.06, 0.4):
        found = difference(
            Figure(1.0, 1 - half, 1 + half, 1), Figure(1.01, 1.01 - half, 1.01 + half, 1)
        )
        assert found is not None and found.verdict == "undecided"
        counts.append(found.repeats)
    assert counts[0] is not None and counts[1] is not None and 2 <= counts[0] < counts[1] < 20
    assert counts[2] is None


def test_the_interval_of_a_difference_worked_out_by_hand() -> None:
    """Of single runs: the halves of an interval are 2.2622 standard errors, Student's t of 9
    degrees, and those of the difference 2.1448, that of 14. Upwards the upper half of the second
    counts, and the lower one of the first."""
    found = difference(Figure(2.0, 1.9, 2.3, 1), Figure(2.1, 1.7, 2.2, 1))
    assert found is not None
    scale = 2.1448 / 2.2622
    up = math.hypot(0.1, 0.1) * scale
    down_degrees = (0.3**2 + 0.4**2) ** 2 / ((0.3**4 + 0.4**4) / 7)  # 12.98, of which 12 count
    assert math.floor(down_degrees) == 12
    down = math.hypot(0.3, 0.4) * 2.1788 / 2.2622
    assert (found.low, found.high) == pytest.approx(((0.1 - down) / 2, (0.1 + up) / 2), rel=1e-4)
    assert (found.verdict, found.ratio) == ("undecided", 1.05)


@pytest.mark.parametrize("moved", [0.001, -0.001])
@pytest.mark.parametrize(("most", "verdict"), [(0.0501, "undecided"), (0.0499, "equal")])
def test_figures_are_equal_where_their_whole_difference_is_less_than_a_twentieth(
    moved: float, most: float, verdict: str
) -> None:
    """The first is exact, so that the difference is known as the second is, by 7 degrees of
    freedom: Student's t is 2.3646, and 2.2622 in its interval."""
    half = (most - abs(moved)) * 2.2622 / 2.3646
    after = Figure(1 + moved, 1 + moved - half, 1 + moved + half, 1)
    found = difference(Figure(1.0, 1.0, 1.0, 1), after)
    assert found is not None and found.verdict == verdict


def test_the_repeats_that_would_tell_follow_from_the_scatter_of_both() -> None:
    """Of three repeats each, whose intervals are 4.3027 standard errors: repeats scatter by 2% and
    by 4% of their values, 3.16% in the quadratic mean."""
    figures = [
        Figure(value, value * (1 - half), value * (1 + half), 3)
        for value, spread in ((2.0, 0.02), (2.02, 0.04))
        if (half := spread * 4.302653 / math.sqrt(3))
    ]
    found = difference(*figures)
    assert found is not None and found.verdict == "undecided"
    assert found.repeats == starts_needed(ALIKE, math.hypot(0.02, 0.04) / math.sqrt(2))
    many = Figure(1.0, 0.98, 1.02, 20), Figure(1.025, 1.005, 1.045, 20)
    found = difference(*many)
    assert found is not None and (found.verdict, found.repeats) == ("undecided", 21), "one more"
