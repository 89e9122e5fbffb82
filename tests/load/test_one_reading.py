"""One stream, one reading: `run`, `ask`, `chat` and an imported file give the same facts."""

import asyncio
import itertools
import json
from collections.abc import Iterator

import pytest
from generated_streams import BODIES, OTHER_BODIES
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_streams import Timed, framed, sent_once, serving

from journal.chat.ask import Question, ask
from journal.chat.several import Pending
from journal.exchange.from_vllm import vllm_runs
from journal.records.notebook import Interaction
from journal.records.request import Trace

MESSAGES = ({"role": "user", "content": "why"},)
NO_TOKEN = "not one token in the stream"
Server = tuple[str, list[Timed]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server's base URL, and the answer that it gives, which may be changed."""
    answer: list[Timed] = []
    with serving(answer) as url:
        yield url, answer


def chatted(url: str) -> Interaction:
    one = Pending(Question(base_url=url, model="m", messages=MESSAGES, source="chat"))
    asyncio.run(one.read())
    return one.so_far


def imported(trace: Trace) -> Trace:
    """The trace after another tool has written it to its file, and that was imported."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(trace.chunk_s)]
    written = {
        "request_throughput": 1.0,
        "duration": 1.0,
        "max_concurrency": 1,
        "input_lens": [trace.prompt_tokens or 0],
        "output_lens": [trace.tokens or 0],
        "ttfts": [trace.chunk_s[0] - trace.start_s],
        "itls": [gaps],
        "start_times": [trace.start_s],
        "latencies": [trace.end_s - trace.start_s],
    }
    (foreign,) = vllm_runs(json.loads(json.dumps(written)))
    (read,) = foreign.traces
    return read


def same(trace: Trace, asked: Interaction) -> None:
    """That a question by hand tells what a run tells."""
    assert asked.prompt_tokens == trace.prompt_tokens
    assert asked.output_tokens == trace.output_tokens
    assert asked.reasoning_tokens == trace.reasoning_tokens
    assert asked.finish_reason == trace.finish_reason
    if (trace.error or "").startswith(NO_TOKEN):  # nothing to time: the model ended it at once
        assert asked.error is not None or asked.note is not None
    else:
        assert (asked.error is None) == (trace.error is None), (asked.error, trace.error)
    if trace.chunk_s:
        assert len(asked.answer + asked.thoughts) == trace.output_chars
    if trace.chunk_s and asked.ttft_s is not None and asked.ttfo_s is not None:
        # A chunk of usage alone is a token here where its count grew.
        assert (asked.ttfo_s > asked.ttft_s) <= (trace.ttfo_s is not None)


@settings(max_examples=24, deadline=None)
@given(body=st.one_of(BODIES, OTHER_BODIES), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_run_ask_chat_and_import_agree_on_every_stream(
    server: Server, body: bytes, cuts: list[int]
) -> None:
    url, answer = server
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    answer[:] = framed([(0.0, body[a:b]) for a, b in itertools.pairwise(bounds)])
    trace = sent_once(url)
    *_, by_hand = ask(Question(base_url=url, model="m", messages=MESSAGES))
    on_page = chatted(url)
    same(trace, by_hand)
    same(trace, on_page)
    assert (by_hand.answer, by_hand.thoughts) == (on_page.answer, on_page.thoughts)
    assert (by_hand.error, by_hand.note) == (on_page.error, on_page.note)
    if trace.outcome != "error":
        read = imported(trace)
        assert (read.outcome, read.output_tokens) == ("ok", trace.tokens or 0)
        apart = zip(read.chunk_s, trace.chunk_s, strict=True)
        assert all(abs(a + trace.start_s - b) < 1e-9 for a, b in apart)
        assert abs(read.end_s + trace.start_s - trace.end_s) < 1e-9
