"""Thoughts and answers, in streams whose every chunk is known."""

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.table import metrics
from journal.records.request import Trace


def thoughtful(index: int = 0, **changes: object) -> Trace:
    """10 thoughts at 20 tokens/s from 1 s on, then 5 tokens of an answer at 10 tokens/s."""
    chunk_s = tuple(1.0 + n / 20 for n in range(10)) + tuple(1.5 + n / 10 for n in range(5))
    given = {
        "chunk_s": chunk_s,
        "end_s": 2.0,
        "output_tokens": 15,
        "reasoning_tokens": 10,
        "reasoning_chunks": 10,
        "ttfo_s": 1.5,
        "output_tokens_asked": 15,
    }
    return a_trace(index, **{**given, **changes})


def test_share_and_pace_of_both_phases() -> None:
    plain = a_trace(1, output_tokens=4, ttfo_s=0.5)
    figures = metrics(samples_of(a_cell(), thoughtful(), plain))
    assert figures["reasoning_fraction"].value == pytest.approx(10 / 15)
    assert figures["thinking_tokens_per_s"].value == pytest.approx(20)
    assert figures["answering_tokens_per_s"].value == pytest.approx(10)
    assert figures["thinking_tokens_per_s"].count == 1


def test_thoughts_that_were_not_streamed_have_no_pace() -> None:
    figures = metrics(samples_of(a_cell(), thoughtful(reasoning_chunks=0)))
    assert figures["reasoning_fraction"].value == pytest.approx(10 / 15)
    assert figures["thinking_tokens_per_s"].value is None


def test_thoughts_without_an_answer_have_no_pace_of_it() -> None:
    bare = thoughtful(chunk_s=(1.0, 1.5), output_tokens=10, ttfo_s=None)
    figures = metrics(samples_of(a_cell(), bare))
    assert figures["reasoning_fraction"].value == 1
    assert figures["answering_tokens_per_s"].value is None


def test_a_model_that_does_not_think_has_none_of_it() -> None:
    figures = metrics(samples_of(a_cell(), a_trace(output_tokens=4, reasoning_tokens=0)))
    names = ("reasoning_fraction", "thinking_tokens_per_s", "answering_tokens_per_s")
    assert [figures[name].value for name in names] == [None] * 3
