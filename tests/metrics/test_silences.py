"""Stalls, in streams whose every chunk is known."""

import math

import numpy as np
import pytest

from journal.metrics.silences import Silences, Stalls, Streams, silences, waits_alone

STEP_S, STILL_S, ROUNDS = 0.1, 2.0, 4
KNOWN = np.full(2, True)


def stalls(streams: Streams, late_s: float) -> Stalls | None:
    """The stalls of streams whose prompts are known."""
    found = silences(streams, late_s, fresh=False)
    assert found.unsure_s == 0
    return found.stalls


def still(tokens: int) -> Stalls | None:
    """The stalls of four rounds, in each of which three streams write until a prompt of `tokens`
    tokens comes, then nothing for 2 s, and go on when its first chunk has come."""
    rows: list[tuple[float, list[float], int]] = []
    for begin_s in np.arange(ROUNDS) * 20.0:
        before = begin_s + STEP_S * np.arange(1, 20)
        after = before[-1] + STILL_S + STEP_S * np.arange(20)
        rows += [(float(begin_s), [*before, *after], 32) for _ in range(3)]
        rows.append((float(before[-1]), [*(after + 1e-3)], tokens))
    start, chunks, prompts = zip(*rows, strict=True)
    streams = Streams(
        start_s=np.array(start),
        first_s=np.array([one[0] for one in chunks]),
        last_s=np.array([one[-1] for one in chunks]),
        gap_s=np.full(len(rows), STEP_S),
        chunk_s=np.concatenate(chunks),
        prompt_tokens=np.array(prompts),
        is_known=np.full(len(rows), True),
    )
    return stalls(streams, 0.0)


def test_a_long_prompt_explains_as_long_a_silence_as_its_tokens_take() -> None:
    assert still(2048) is None


def test_a_short_prompt_explains_no_more_than_others_of_its_length() -> None:
    found = still(32)
    assert found is not None
    assert (found.times, round(found.longest_s, 6)) == (ROUNDS, STILL_S)


def silent(
    *gaps_s: float, step_s: float = 0.1, late_s: float = 0.0, other: float | None = None
) -> Stalls | None:
    """The stalls of a stream with a chunk every `step_s` from 1 s on, of one token of prompt, but
    for a silence of each of `gaps_s` after every tenth chunk; and of one beside it, with a chunk
    before all of these and one after, whose median gap is `other`."""
    steps_s = np.concatenate([[*[step_s] * 9, gap_s] for gap_s in (*gaps_s, step_s)])
    chunk_s = 1 + np.concatenate([[0.0], np.cumsum(steps_s)])
    streams = Streams(
        start_s=np.array([1.0, 0.999]),
        first_s=np.array([1.0, 0.999]),
        last_s=np.array([chunk_s[-1], chunk_s[-1] + step_s]),
        gap_s=np.array([step_s, math.nan if other is None else other]),
        chunk_s=np.concatenate([chunk_s, [0.999, chunk_s[-1] + step_s]]),
        prompt_tokens=np.ones(2),
        is_known=np.full(2, True),
    )
    return stalls(streams, late_s)


def test_stalls_are_counted_and_the_longest_is_named() -> None:
    """The second begins after 19 steps and the first stall."""
    found = silent(1.5, 3.0, 2.0)
    assert found == Stalls(3, *map(pytest.approx, (3.0, 6.5, 1 + 18 * 0.1 + 1.5, 0.1)))
    assert silent() is None


@pytest.mark.parametrize(
    ("gap_s", "step_s", "late_s", "stalled"),
    [
        (0.99, 0.1, 0.0, False),  # ten usual gaps
        (1.01, 0.1, 0.0, True),
        (0.049, 0.001, 0.0, False),  # what a scheduler may do
        (0.051, 0.001, 0.0, True),
        (2.0, 0.1, 1.01, False),  # the client was late
        (2.0, 0.1, 0.99, True),
    ],
)
def test_a_stall_is_longer_than_usual_than_a_schedulers_and_than_the_client_was_late(
    gap_s: float, step_s: float, late_s: float, stalled: bool
) -> None:
    assert (silent(gap_s, step_s=step_s, late_s=late_s) is not None) == stalled


def test_streams_that_are_as_slow_by_themselves_are_not_stalled() -> None:
    assert silent(2.0, other=0.19) is not None
    assert silent(2.0, other=0.21) is None


def test_where_no_stream_is_in_mid_answer_nothing_stalls() -> None:
    """Two answers one after the other, with a pause between them."""
    pairs = [np.array([1.0, 9.0]), np.array([1.1, 9.1]), np.array([2.0, 10.0])]
    chunk_s = np.concatenate([np.arange(1.1, 2.05, 0.1), np.arange(9.1, 10.05, 0.1)])
    streams = Streams(*pairs, np.full(2, 0.1), chunk_s, np.full(2, 8), KNOWN[:2])
    assert stalls(streams, 0.0) is None
    unknown = streams._replace(gap_s=np.full(2, math.nan))
    assert stalls(unknown, 0.0) is stalls(streams._replace(chunk_s=chunk_s[:1]), 0.0) is None
    first = Streams(
        *np.array([[0.999], [1.0], [9.2]]),
        np.array([0.1]),
        np.array([1.0, 9.1, 9.2]),
        np.ones(1),
        KNOWN[:1],
    )
    assert stalls(first, 0.0) is not None, "its first chunk came just before"
    longer = streams._replace(last_s=np.array([9.05, 10.0]))
    assert stalls(longer, 0.0) is not None


def test_whether_stalls_that_slow_nearly_all_prompts_are_stalls_is_not_known() -> None:
    """Two prompts wait in each of four stalls of 0.2 s, as the first one did, so that the quickest
    tenth of all explains them; one prompt was read in a step."""
    stall_s, step_s = 0.2, 0.01
    steps_s = np.array([*[step_s] * 19, stall_s] * 4 + [step_s] * 20)
    chunk_s = stall_s + np.append(0.0, np.cumsum(steps_s))
    over_s = chunk_s[20:81:20]
    start_s = np.concatenate([[0.0], np.repeat(over_s - stall_s, 2), [chunk_s[-2]]])
    first_s = np.concatenate([[stall_s], np.repeat(over_s, 2), [chunk_s[-1]]])
    streams = Streams(
        start_s=start_s,
        first_s=first_s,
        last_s=np.append(chunk_s[-1], first_s[1:]),
        gap_s=np.append(step_s, np.full(9, math.nan)),
        chunk_s=chunk_s,
        prompt_tokens=np.full(10, 64),
        is_known=np.full(10, True),
    )
    found = silences(streams, 0.0, fresh=True)
    assert found.stalls is None
    assert found.unsure_s == pytest.approx(stall_s)


def read(
    *prompts: tuple[int, float],
    fresh: bool,
    late_s: float = 0.0,
    sent: float = 0.0,
    askers: int = 1,
) -> Silences:
    """The silences of a stream with a chunk every 0.1 s, in which a prompt of so many tokens, or
    one by each of `askers`, is read for so many s after every 20th chunk; a cache may have had any
    part of it. `sent`: how long after that chunk the prompt is sent."""
    begins_s, ends_s, chunk_s = [], [], [1.0]
    for _, took_s in prompts:
        chunk_s += [chunk_s[-1] + STEP_S * step for step in range(1, 20)]
        begins_s += [chunk_s[-1] + sent] * askers
        ends_s += [chunk_s[-1] + took_s] * askers
        chunk_s.append(ends_s[-1])
    chunk_s += [chunk_s[-1] + STEP_S * step for step in range(1, 20)]
    streams = Streams(
        start_s=np.array([0.9, *begins_s]),
        first_s=np.array([1.0, *ends_s]),
        last_s=np.array([chunk_s[-1], *ends_s]),
        gap_s=np.array([STEP_S, *[math.nan] * len(begins_s)]),
        chunk_s=np.array(chunk_s),
        prompt_tokens=np.array([1, *np.repeat([tokens for tokens, _ in prompts], askers)]),
        is_known=np.array([True, *[False] * len(begins_s)]),
    )
    return silences(streams, late_s, fresh)


USUAL_READS = [(64, 0.3)] * 8
LONG = (64, 3.0)


@pytest.mark.parametrize(
    ("others", "late_s", "stalled"),
    [
        ([], 0.0, True),
        ([(64, 1.4)], 0.0, True),
        ([(64, 1.6)], 0.0, False),  # half as long
        ([(64, 1.4)], 0.3, False),  # the client was late
        ([(128, 1.6)], 0.0, False),  # a longer prompt takes no less
        ([(32, 0.3)], 0.0, True),
        ([(32, 0.4)], 0.0, False),  # a prompt of twice the tokens may take four times as long
        ([(16, 1.6)], 0.0, True),  # too short to be compared
        ([(64, 0.3)] * 4, 0.0, True),
    ],
)
def test_a_prompt_whose_cached_part_is_not_known_explains_as_long_as_others_like_it_took(
    others: list[tuple[int, float]], late_s: float, stalled: bool
) -> None:
    prompts = [*USUAL_READS, *others, LONG, *USUAL_READS]
    found = read(*prompts, fresh=True, late_s=late_s)
    assert (found.stalls is not None) == stalled
    if found.stalls is not None:
        assert (found.stalls.times, found.stalls.longest_s) == (1, pytest.approx(LONG[1]))
    beside_s = max((took_s for _, took_s in others if took_s > 1), default=0.0)
    assert found.unsure_s == pytest.approx(beside_s if stalled else LONG[1])
    backwards = read(*reversed(prompts), fresh=True, late_s=late_s)
    assert backwards.unsure_s == pytest.approx(found.unsure_s)
    together = read(*prompts, fresh=True, late_s=late_s, askers=2)
    assert (together.stalls is not None) == stalled
    in_cache = read(*prompts, fresh=False, late_s=late_s)
    assert in_cache.stalls is None, "the cache may have had the others"
    assert in_cache.unsure_s == pytest.approx(LONG[1])


def test_a_silence_before_the_prompt_was_sent_is_a_stall_whatever_a_cache_had() -> None:
    found = read(*USUAL_READS, LONG, fresh=False, sent=1.1).stalls
    assert found is not None
    assert (found.times, found.longest_s) == (1, pytest.approx(3.0))
    assert read(*USUAL_READS, LONG, fresh=False, sent=0.2).stalls is None


def test_requests_that_wait_while_no_other_does() -> None:
    start_s, first_s = np.array([5.0, 0.0, 1.0, 2.0]), np.array([6.0, 1.0, 2.5, 3.0])
    assert waits_alone(start_s, first_s).tolist() == [True, True, False, False]
