"""Histograms of lengths: their bins hold every length once, and their bars are shares."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.report.figures import draw
from journal.report.length_bars import MOST_BINS, bins, length_bars
from journal.report.phrases import words


@given(st.dictionaries(st.integers(0, 10**8), st.integers(1, 10**6), min_size=1, max_size=50))
def test_every_length_is_in_one_of_a_few_bins(lengths: dict[int, int]) -> None:
    begins = bins(lengths)
    assert 1 <= len(begins) <= MOST_BINS
    assert begins == sorted(set(begins))
    assert begins[0] <= min(lengths)
    shares = [bar.segments[0].y for bar in length_bars("n", "t", Counter(lengths), begins).bars]
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] > 0 or begins[0] == 0
    assert shares[-1] > 0


@pytest.mark.parametrize(
    ("lengths", "begins"),
    [
        ((32, 40, 96), [30, 40, 50, 60, 70, 80, 90]),
        ((1, 2, 64), [1, 2, 4, 8, 16, 32, 64]),
        ((7,), [7]),
        ((3, 4096), [2, 8, 32, 128, 512, 2048]),
    ],
)
def test_bins_are_round_and_double_where_lengths_are_wide(
    lengths: tuple[int, ...], begins: list[int]
) -> None:
    assert bins(dict.fromkeys(lengths, 1)) == begins


def test_bars_are_drawn_as_shares_with_the_beginnings_below_them() -> None:
    drawn = draw(length_bars("n", "Answers", Counter({10: 3, 20: 1}), [10, 20]), words("en"))
    assert "Answers, %" in drawn
    assert "≥10" in drawn
    assert drawn.count("<rect") == 3  # the paper, and a bar for each bin
