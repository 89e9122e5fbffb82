"""Turns of conversations: each of the first eight has rows of its own."""

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.table import TABLE, metrics
from journal.records.request import Trace


def turn(index: int, number: int | None, **changes: object) -> Trace:
    given = {"turn": number, "prompt_tokens": 100, "cached_tokens": 0, "output_tokens": 4}
    return a_trace(index, **{**given, **changes})


def test_the_prompts_first_tokens_and_hits_of_a_turn() -> None:
    traces = [
        turn(0, 1, scheduled_s=0.1, chunk_s=(0.2,)),
        turn(1, 2, prompt_tokens=200, cached_tokens=90, chunk_s=(0.4, 0.9)),
        turn(2, 2, prompt_tokens=300, cached_tokens=10, chunk_s=(0.8,)),
        turn(3, 2, prompt_tokens=700, cached_tokens=200, chunk_s=(0.5,)),
        turn(4, 2, outcome="error"),
        turn(5, None, prompt_tokens=999),
    ]
    figures = metrics(samples_of(a_cell(), *traces))
    assert figures["turn_prompt_tokens.1"].value == 100
    assert figures["turn_prompt_tokens.2"].value == 400
    assert figures["turn_prompt_tokens.2"].count == 3
    assert figures["turn_ttft_s.1"].value == pytest.approx(0.1)
    assert figures["turn_ttft_s.2"].value == 0.5
    assert figures["turn_hit_fraction.1"].value == 0
    assert figures["turn_hit_fraction.2"].value == 300 / 1200
    assert figures["turn_hit_fraction.3"].value is figures["turn_ttft_s.3"].value is None
    assert figures["turn_prompt_tokens.3"].count == 0


def test_what_the_server_did_not_count_is_absent() -> None:
    traces = [turn(0, 1, prompt_tokens=None, cached_tokens=None, chunk_s=()), turn(1, 1)]
    figures = metrics(samples_of(a_cell(), *traces))
    assert figures["turn_prompt_tokens.1"].value is figures["turn_hit_fraction.1"].value is None
    assert figures["turn_ttft_s.1"].value == 0.5  # of the one that has it
    nothing = metrics(samples_of(a_cell(), turn(0, 1, chunk_s=(), prompt_tokens=0)))
    assert nothing["turn_ttft_s.1"].value is nothing["turn_hit_fraction.1"].value is None


def test_eight_turns_have_rows() -> None:
    for name in ("turn_prompt_tokens", "turn_ttft_s", "turn_hit_fraction"):
        rows = [metric.name for metric in TABLE if metric.family == name]
        assert rows == [f"{name}.{number}" for number in range(1, 9)]
