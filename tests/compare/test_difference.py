"""Differences of two figures: verdicts are those of the test, and ranges hold what may be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.worlds import closed
from journal.compare.difference import ALIKE, Difference, difference
from journal.compare.ratios import starts_needed
from journal.metrics.statistics import t_interval
from journal.metrics.table import named
from journal.metrics.view import View
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
        (Figure(10.0, 9.0, 11.0), Figure(11.7, 10.7, 12.7), "rises"),  # they overlap, and it does
        (Figure(11.7, 10.7, 12.7), Figure(10.0, 9.0, 11.0), "falls"),
        (Figure(10.0, 9.0, 11.0), Figure(11.3, 10.3, 12.3), "undecided"),
        (Figure(10.0, 10.0, 10.0), Figure(10.0, 10.0, 10.0), "equal"),
        (Figure(1.0, 0.99, 1.01), Figure(1.04, 1.03, 1.05), "rises"),
        (Figure(1.3, 1.2, 1.4), Figure(1.0, 0.9, 1.1), "falls"),
        (Figure(1.0), Figure(1.3), "unknown"),
        (Figure(1.0), Figure(1.0, 0.9, 1.1), "unknown"),
        (Figure(1.0, 0.9, 1.1), Figure(2.0), "unknown"),
    ],
)
def test_a_change_is_one_only_beyond_the_noise(before: Figure, after: Figure, verdict: str) -> None:
    found = difference(before, after)
    assert found is not None and found.verdict == verdict


def test_a_difference_of_nothing_is_none() -> None:
    assert difference(None, Figure(1.0)) is None
    assert difference(Figure(1.0), Figure(None)) is None
    assert difference(Figure(0.0), Figure(1.0)) is None, "it has no ratio"
    assert difference(Figure(1.0, 0.9, 1.1), Figure(0.0, 0.0, 0.1)) is None


@given(figures(), figures())
def test_a_change_is_seen_beyond_its_own_interval(before: Figure, after: Figure) -> None:
    found = difference(before, after)
    assert found is not None
    assert (found.verdict == "unknown") == (None in (before.low, after.low))
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
    degrees, and those of the difference 2.1788, that of 12. Upwards the upper half of the second
    counts, and the lower one of the first; each in shares of its own figure."""
    found = difference(Figure(2.0, 1.9, 2.3, 1), Figure(2.1, 1.7, 2.2, 1))
    assert found is not None
    halves = []
    for first, second in ((0.05, 0.1 / 2.1), (0.15, 0.4 / 2.1)):
        degrees = (first**2 + second**2) ** 2 / ((first**4 + second**4) / 7)
        t = {13: 2.1604, 12: 2.1788}[math.floor(degrees)]
        halves.append(math.hypot(first, second) * t / 2.2622)
    up, down = halves
    ends = 1.05 * math.exp(-down) - 1, 1.05 * math.exp(up) - 1
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-4)
    assert (found.verdict, found.ratio) == ("undecided", 1.05)


def test_repeats_count_as_many_degrees_as_they_have() -> None:
    """Of two repeats t is 12.7, and 4.30 of their difference: 1% of scatter in each figure leaves
    6.08% between them, of which no less is seen."""
    half = 0.01 * 12.7062
    first = Figure(1.0, 1 - half, 1 + half, 2)
    least = math.exp(math.hypot(0.01, 0.01) * 4.302653)
    for ratio, verdict in ((least - 0.001, "undecided"), (least + 0.001, "rises")):
        found = difference(first, Figure(ratio, ratio * (1 - half), ratio * (1 + half), 2))
        assert found is not None and found.verdict == verdict


def test_the_halves_that_face_each_other_decide() -> None:
    skewed = Figure(10.0, 9.9, 30.0, 1)
    fewer = difference(skewed, Figure(9.0, 8.9, 9.1, 1))
    more = difference(skewed, Figure(11.0, 10.9, 11.1, 1))
    assert fewer is not None and fewer.verdict == "falls"
    assert more is not None and more.verdict == "undecided"


@pytest.mark.parametrize("repeats", [3, 5])
@pytest.mark.parametrize("ratio", [1.0, 9.0])
def test_the_interval_of_a_difference_holds_the_ratio_as_often_as_it_says(
    repeats: int, ratio: float
) -> None:
    """Of servers whose repeats scatter by 30% of their figure, which a ninefold one does too."""
    rng = np.random.default_rng([19, repeats, int(ratio)])
    held, seen, pairs = 0, 0, 1_000
    for _ in range(pairs):
        found = _of_repeats(rng, repeats, 1.0, ratio)
        assert found.low is not None and found.high is not None
        held += found.low <= ratio - 1 <= found.high
        seen += found.seen
    assert held / pairs >= 0.93
    assert seen <= 0.06 * pairs if ratio == 1 else seen >= 0.9 * pairs


def _of_repeats(rng: np.random.Generator, repeats: int, *truths: float) -> Difference:
    spread = math.sqrt(math.log1p(0.3**2))
    noise = (rng.lognormal(-(spread**2) / 2, spread, repeats) for _ in truths)
    found = difference(*(t_interval(list(t * n)) for t, n in zip(truths, noise, strict=True)))
    assert found is not None
    return found


def test_equal_servers_are_seldom_said_to_differ() -> None:
    draw, tpot = closed(80, 8, "white"), named("tpot_s.mean")
    figures = [tpot.figure(View(draw(np.random.default_rng([7, seed])))) for seed in range(120)]
    found = [difference(*pair) for pair in zip(figures[::2], figures[1::2], strict=True)]
    assert all(each is not None and each.verdict != "unknown" for each in found)
    assert sum(each.seen for each in found if each) <= 6  # 3 of 60 at 5%


@pytest.mark.parametrize("moved", [0.001, -0.01])
@pytest.mark.parametrize(("most", "verdict"), [(0.0501, "undecided"), (0.0499, "equal")])
def test_figures_are_equal_where_their_whole_difference_is_less_than_a_twentieth(
    moved: float, most: float, verdict: str
) -> None:
    """The first is exact, so that the difference is known as the second is, by 7 degrees of
    freedom: Student's t is 2.3646, and 2.2622 in its interval. The lower end of a fall and the
    upper one of a rise are the farther ones."""
    end = 1 + math.copysign(most, moved)
    half = abs(math.log(end / (1 + moved))) * 2.2622 / 2.3646 * (1 + moved)
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
