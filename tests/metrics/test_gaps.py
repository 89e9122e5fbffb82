"""The gaps between chunks, and the usual gap of each request."""

import numpy as np
import pytest

from journal.metrics.gaps import LEAST_GAPS, gaps_between, medians


def test_gaps_lie_between_chunks_of_one_request() -> None:
    gaps = gaps_between(np.array([1.0, 1.5, 3.0, 0.5, 9.0, 9.25]), np.array([0, 0, 0, 2, 3, 3]))
    assert gaps.at_s.tolist() == [1.5, 3.0, 9.25]
    assert gaps.gap_s.tolist() == [0.5, 1.5, 0.25]
    assert gaps.owner.tolist() == [0, 0, 3]


def test_the_median_gap_of_each_request() -> None:
    owner = np.array([0] * 5 + [1] * 3 + [3] * LEAST_GAPS)
    values = np.array([5, 1, 9, 2, 3, 1, 1, 1, 4, 3, 2, 1.0])
    assert medians(values, owner, 4) == pytest.approx([3, np.nan, np.nan, 3], nan_ok=True)


def test_the_median_gap_of_requests_in_any_order() -> None:
    draw = np.random.default_rng(5)
    owner = np.repeat(np.arange(60), draw.integers(0, 3 * LEAST_GAPS, 60))
    values = draw.random(len(owner)).round(1)
    middle = medians(values, owner, 61)
    for number in range(61):
        own = sorted(values[owner == number])
        expected = own[len(own) // 2] if len(own) >= LEAST_GAPS else np.nan
        assert middle[number] == pytest.approx(expected, nan_ok=True)
    order = draw.permutation(len(owner))
    assert np.array_equal(medians(values[order], owner[order], 61), middle, equal_nan=True)
