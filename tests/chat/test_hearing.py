"""A question by hand is read as a request of a run is: the same stream gives the same facts."""

import asyncio
import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from generated_streams import EVENTS
from hypothesis import given
from hypothesis import strategies as st
from scripted_streams import (
    DONE,
    FINISH,
    FIRST_S,
    HEAD,
    LAST,
    TOKENS,
    chunk,
    chunked,
    ending,
    event,
    framed,
    serving,
    tokens,
    word,
)

from journal.chat import bounds, several
from journal.chat.ask import Question, ask, begun
from journal.chat.hearing import EMPTY, NOT_STREAMED, SHOWN, Hearing
from journal.chat.markup import answer_html
from journal.chat.several import Pending
from journal.load.answer import Exchange, trace_of
from journal.load.wire import Recording
from journal.records.notebook import Interaction
from journal.records.request import Request, Trace


def question() -> Question:
    return Question(base_url="u", model="m", messages=({"role": "user", "content": "why"},))


def heard(pieces: list[bytes]) -> Interaction:
    hearing = Hearing(begun(question()))
    for at_s, piece in enumerate(pieces):
        hearing.hear(piece, float(at_s))
    hearing.end(float(len(pieces)))
    return hearing.so_far


def traced(pieces: list[bytes]) -> Trace:
    recording = Recording()
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    for at_s, piece in enumerate(pieces):
        recording.feed(float(at_s), (b"" if at_s else head) + (chunked(piece) if piece else b""))
    recording.feed(float(len(pieces)), b"0\r\n\r\n" if pieces else head + b"0\r\n\r\n")
    request = Request(index=0, body=b"", prompt_tokens=3, output_tokens=1)
    return trace_of(Exchange(request=request, start_s=0.0, end_s=1.0, recording=recording))


@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 400)), st.booleans())
def test_run_and_ask_agree_on_every_stream(
    parts: list[bytes], cuts: list[int], finished: bool
) -> None:
    body = b"".join(parts) + (event(chunk({}, "stop")) + DONE if finished else b"")
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
    trace, asked = traced(pieces), heard(pieces)
    assert asked.prompt_tokens == trace.prompt_tokens
    assert asked.output_tokens == trace.output_tokens
    assert asked.finish_reason == trace.finish_reason
    if not (trace.error or "").startswith("not one token in the stream"):
        assert (asked.error is None) == (trace.error is None), (asked.error, trace.error)
    if trace.chunk_s:
        assert len(asked.answer + asked.thoughts) == trace.output_chars
    if trace.reasoning_chunks and asked.error is None and asked.note != NOT_STREAMED:
        assert asked.ttfo_s == trace.ttfo_s
    if asked.ttft_s is not None:  # a token without text is one where usage counts it
        assert asked.ttft_s >= trace.chunk_s[0]


def test_times_are_those_of_the_reads_in_which_each_kind_began() -> None:
    asked = heard(
        [event(chunk({"reasoning_content": "hm"})), event(chunk({"content": "a"}, "stop"))]
    )
    assert (asked.ttft_s, asked.ttfo_s, asked.duration_s) == (0.0, 1.0, 1.0)
    assert (asked.answer, asked.thoughts) == ("a", "hm")


def test_the_page_times_thoughts_as_tokens_and_keeps_them_apart() -> None:
    half = TOKENS // 2

    def token(k: int) -> dict[str, Any]:
        return chunk({"reasoning_content" if k < half else "content": word(k)})

    with serving(framed([*tokens(token), *ending(FINISH, LAST)])) as url:
        one = Pending(replace(question(), base_url=url, source="chat"))
        asyncio.run(one.read())
    now = one.so_far
    assert (now.error, now.source, now.output_tokens) == (None, "chat", TOKENS)
    assert now.thoughts == "".join(map(word, range(half)))
    assert now.answer == "".join(map(word, range(half, TOKENS)))
    assert now.ttft_s is not None and now.ttfo_s is not None
    assert FIRST_S <= now.ttft_s < now.ttfo_s
    assert now.tokens_per_s == pytest.approx(100, rel=0.5)  # 480 where thoughts are missed


def test_an_empty_answer_and_one_that_was_not_streamed_say_so() -> None:
    assert heard([event(chunk({}, "stop")), DONE]).note == EMPTY
    whole = heard([b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}'])
    assert (whole.answer, whole.note, whole.ttft_s) == ("a", NOT_STREAMED, None)


def test_the_page_shows_thoughts_and_notes_as_text() -> None:
    values: dict[str, Any] = {"answer": "yes", "thoughts": "<b>hm</b>\n", "note": "it <i>said</i>"}
    asked = Interaction(
        id="1",
        source="chat",
        asked_at=datetime.now(UTC),
        base_url="u",
        model="m",
        api="chat",
        messages=(),
        **values,
    )
    html = answer_html(asked, ended=True)
    assert '<div class="thoughts">&lt;b&gt;hm&lt;/b&gt;</div>' in html
    assert "it &lt;i&gt;said&lt;/i&gt;" in html and "\n" not in html


def test_a_body_that_stays_open_after_done_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in (bounds, several):
        monkeypatch.setattr(place, "AFTER_DONE_S", 0.05)
    *pieces, _ = framed([(0.0, event(chunk({"content": "so"}, "stop")) + DONE)])
    began_s = time.monotonic()
    with serving([*pieces, (20.0, b"0\r\n\r\n")]) as url:
        asked = replace(question(), base_url=url)
        *_, by_hand = ask(asked)
        on_page = Pending(asked)
        asyncio.run(on_page.read())
    assert time.monotonic() - began_s < 18, "it stays open for 20 s"
    for now in (by_hand, on_page.so_far):
        assert (now.answer, now.error, now.finish_reason) == ("so", None, "stop")


def test_sound_and_pictures_are_an_answer_without_text() -> None:
    parts: tuple[dict[str, Any], ...] = ({"audio": {"data": "AA"}}, {"images": [{"url": "u"}]})
    for delta in parts:
        pieces = [event(chunk(delta)), event(chunk({}, "stop")) + DONE]
        trace, asked = traced(pieces), heard(pieces)
        assert (trace.outcome, len(trace.chunk_s), trace.ttfo_s) == ("ok", 1, 0.0)
        assert (asked.error, asked.note, asked.ttft_s) == (None, SHOWN, 0.0)
