"""Thoughts between tags are kept apart from the answer, wherever the text is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_streams import chunk, event

from journal.load.stream import Stream

SAYINGS = [
    ("<think>hm, 2 < 3</think>yes", "yes", "hm, 2 < 3"),
    ("\n<think>\nhm\n</think>\n\nyes", "yes", "\nhm\n"),
    ("<thinking>hm</thinking> yes", "yes", "hm"),
    ("[THINK]hm[/THINK]yes [x]", "yes [x]", "hm"),
    ("◁think▷hm◁/think▷yes", "yes", "hm"),
    ("hm, so</think>yes", "yes", "hm, so"),
    ("hm, a > b</think>\nyes", "yes", "hm, a > b"),
    ("<think>hm</think>use </think> here", "use </think> here", "hm"),
    ("<think>hm", "", "hm"),
    ("hm</think>", "", "hm"),
    ("<b>yes</b> <think>", "<b>yes</b> <think>", ""),
    ("<", "<", ""),
    (" \n", " \n", ""),
    ("<thin", "<thin", ""),
    ("plain, 2 > 1", "plain, 2 > 1", ""),
]


def taken(parts: list[str]) -> Stream:
    stream = Stream()
    for part in parts:
        stream.take(b"", event(chunk({"content": part}))[6:])
    stream.end()
    return stream


@pytest.mark.parametrize(("text", "answer", "thoughts"), SAYINGS, ids=[t for t, _, _ in SAYINGS])
def test_thoughts_between_tags_are_no_answer(text: str, answer: str, thoughts: str) -> None:
    for parts in ([text], list(text)):
        stream = taken(parts)
        assert (stream.text, "".join(stream.thoughts)) == (answer, thoughts)
        assert stream.error is None


@given(st.sampled_from(SAYINGS), st.lists(st.integers(0, 40)))
def test_every_cut_of_a_text_gives_the_same(saying: tuple[str, str, str], cuts: list[int]) -> None:
    text, answer, thoughts = saying
    bounds = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    stream = taken(parts)
    assert (stream.text, "".join(stream.thoughts)) == (answer, thoughts)
    if not answer:
        assert stream.answer_at is None
        return
    at, before = stream.answer_at, text.removesuffix(answer)
    first = len(before) if answer.strip() and before.strip() else 0
    begins = next(k for k, end in enumerate(itertools.accumulate(map(len, parts))) if end > first)
    assert at == begins


def test_a_chunk_of_a_tag_alone_is_a_token() -> None:
    stream = Stream()
    parts = [stream.take(b"", event(chunk({"content": text}))[6:]) for text in ("<thi", "nk>", "a")]
    assert all(part is not None and part.full for part in parts)
