"""The time per token of requests, and its bounds where the tokens of a chunk are not known."""

import numpy as np
import pytest

from journal.metrics.pace import AT_ONCE_S, BOUNDS_APART, Pace, pace

NAN = np.nan


def paced(*requests: tuple[list[float], list[float], float, float]) -> Pace:
    """The pace of requests, each of the times of its chunks, the tokens in each, its output tokens
    and how long it lasted."""
    owner = np.repeat(np.arange(len(requests)), [len(times) for times, *_ in requests])
    chunk_s = np.array([at for times, *_ in requests for at in times])
    tokens = np.array([count for _, counts, *_ in requests for count in counts], dtype=float)
    whole = np.array([request[2] for request in requests], dtype=float)
    return pace(chunk_s, owner, tokens, whole, np.array([request[3] for request in requests]))


def test_counted_chunks_have_one_pace() -> None:
    """Of the tokens after the first read: four in 0.3 s; the second request starts before the first
    one's end."""
    found = paced(
        ([1.0, 1.1, 1.3], [2, 1, 3], 6, 1.3),
        ([0.2, 0.7], [1, 2], 3, 0.7),
    )
    assert found.least_s == pytest.approx([0.3 / 4, 0.25])
    assert found.most_s == pytest.approx([0.3 / 4, 0.25])
    assert found.is_known.tolist() == [True, True]
    assert found.in_one_read.tolist() == [False, False]


def test_uncounted_chunks_leave_bounds() -> None:
    """Ten tokens in three chunks of 0.4 s after the first: nine tokens at the most took it, or only
    two, but none of ten longer than a tenth of 1 s."""
    found = paced(([0.6, 0.8, 1.0], [NAN] * 3, 10, 1.0))
    assert found.least_s == pytest.approx([0.4 / 9])
    assert found.most_s == pytest.approx([0.1])
    assert not found.is_known[0]
    short = paced(([0.6, 0.8, 1.0], [NAN] * 3, 3, 10.0))
    assert short.least_s == pytest.approx([0.2])
    assert short.most_s == pytest.approx([0.2])
    assert short.is_known[0]


@pytest.mark.parametrize(("ratio", "known"), [(0.999, True), (1.0, True), (1.001, False)])
def test_bounds_that_are_near_each_other_count_as_known(ratio: float, known: bool) -> None:
    """Nine tokens and eight later chunks: bounds of 1 over 8 and, by the whole, of `whole_s`."""
    whole_s = ratio * BOUNDS_APART * 0.1
    times = [whole_s * 10 - 0.8 + 0.1 * k for k in range(9)]
    found = paced((times, [NAN] * 9, 10, whole_s * 10))
    found = found._replace(least_s=np.array([0.1]), most_s=np.array([whole_s]))
    assert found.is_known.tolist() == [known]


def test_without_output_tokens_nothing_is_known_but_by_counts() -> None:
    found = paced(([0.1, 0.2], [1, 1], NAN, 0.2), ([0.1, 0.2], [NAN, NAN], NAN, 0.2))
    assert found.least_s == pytest.approx([0.1, NAN], nan_ok=True)
    assert found.most_s == pytest.approx([0.1, NAN], nan_ok=True)


def test_chunks_that_came_together_are_one_read() -> None:
    together = AT_ONCE_S / 2
    found = paced(
        ([1.0, 1.0 + together, 1.5], [1, 1, 5], 7, 1.5),
        ([2.0, 2.0 + together], [1, 1], 2, 2.0),
        ([], [], 5, 1.0),
        ([3.0, 3.0 + 2 * AT_ONCE_S], [1, 1], 2, 3.1),
    )
    assert found.least_s == pytest.approx([(0.5 - together) / 5, NAN, NAN, 2e-4 * 2], nan_ok=True)
    assert found.in_one_read.tolist() == [False, True, False, False]
    assert not found.mostly_at_once.any(), "what came at once has no rest that says little"


def test_an_answer_of_which_most_came_at_first_says_little() -> None:
    """Half of the tokens but one have to come later."""
    found = paced(
        ([0.1, 0.2], [6, 4], 10, 0.2), ([0.1, 0.2], [5, 5], 10, 0.2), ([0.1, 0.2], [9, 1], 10, 0.2)
    )
    assert found.mostly_at_once.tolist() == [True, False, True]
    assert found.is_known.tolist() == [False, True, False]


def test_without_later_chunks_or_tokens_in_them_there_is_no_pace() -> None:
    found = paced(([0.1, 0.2], [3, 0], 3, 0.2), ([0.5], [NAN], 10, 0.5))
    assert np.isnan(found.least_s).all() and np.isnan(found.most_s).all()
    assert found.in_one_read.tolist() == [False, True]
