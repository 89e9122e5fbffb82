"""Stalls, in streams whose every chunk is known."""

import numpy as np

from journal.metrics.silences import Stalls, Streams, stalls

STEP_S, STILL_S, ROUNDS = 0.1, 2.0, 4


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
    )
    return stalls(streams, 0.0)


def test_a_long_prompt_explains_as_long_a_silence_as_its_tokens_take() -> None:
    assert still(2048) is None


def test_a_short_prompt_explains_no_more_than_others_of_its_length() -> None:
    found = still(32)
    assert found is not None
    assert (found.times, round(found.longest_s, 6)) == (ROUNDS, STILL_S)
