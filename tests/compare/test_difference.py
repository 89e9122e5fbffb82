"""Differences of two figures: verdicts are those of the test, and ranges hold what may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.compare.difference import ALIKE, difference
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
