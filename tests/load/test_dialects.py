"""Streams in the dialects of providers, engines and gateways, over real HTTP: each is an answer of
four tokens, or an error in the server's words, for `run` as for `ask`."""

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from scripted_streams import HEAD, Timed, chunk, chunked, event, framed, sent_once, serving, sized

from journal.chat.hearing import Hearing
from journal.records.notebook import Interaction
from journal.records.request import Trace

WORDS = ("one ", "zwö ", "三 ", "4")
USAGE = {"prompt_tokens": 16, "completion_tokens": 4, "total_tokens": 20}
DONE = b"data: [DONE]\n\n"
FINISH, LAST = event(chunk({}, "stop")), event({"choices": [], "usage": USAGE})
END = [FINISH, LAST, DONE]
SAFE = {"hate": {"filtered": False, "severity": "safe"}}
Server = tuple[str, list[Timed]]


def choice(delta: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, **more}


def of(make: Any) -> list[bytes]:
    """An event for each word."""
    return [event(make(word)) for word in WORDS]


def half(make: Any) -> list[bytes]:
    """Two events with thoughts, then two with the answer."""
    thoughts = [event(chunk(make(word))) for word in WORDS[:2]]
    return thoughts + [event(chunk({"content": word})) for word in WORDS[2:]]


PLAIN = of(lambda word: chunk({"content": word}))
WHOLE = {"choices": [{"message": {"content": "".join(WORDS)}, "finish_reason": "stop"}]}

# Answers of four chunks with usage.
ANSWERS: dict[str, list[bytes]] = {
    "Azure: filter results first and between": [
        event({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        *of(lambda w: {"choices": [choice({"content": w}, content_filter_results=SAFE)]}),
        event({"choices": [{"index": 0, "content_filter_offsets": {"end_offset": 9}}]}),
        *END,
    ],
    "OpenRouter: comments, both finish reasons, usage beside an empty delta": [
        b": OPENROUTER PROCESSING\n\n" * 3,
        *of(lambda w: {"choices": [choice({"role": "assistant", "content": w})]}),
        event({"choices": [choice({"content": ""}, "stop", native_finish_reason="end_turn")]}),
        event({"choices": [choice({"content": ""})], "usage": USAGE}),
        DONE,
    ],
    "Groq: usage in a field of its own": [
        event({"choices": [choice({"role": "assistant", "content": ""})], "x_groq": {"id": "r"}}),
        *PLAIN,
        event({"choices": [choice({}, "stop")], "x_groq": {"usage": {**USAGE, "queue_time": 0.1}}}),
        DONE,
    ],
    "Mistral: parts and references": [
        *of(
            lambda w: chunk(
                {"content": [{"type": "text", "text": w}, {"type": "reference", "ids": [1]}]}
            )
        ),
        *END,
    ],
    "Together: text and delta with a token id": [
        *of(
            lambda w: {
                "choices": [choice({"token_id": 5, "content": w}, text=w, seed=None)],
                "usage": None,
            }
        ),
        event({"choices": [choice({"content": ""}, "eos", text="")], "usage": USAGE}),
        DONE,
    ],
    "Fireworks: metrics beside the usage": [
        *PLAIN,
        event(chunk({}, "stop", usage=USAGE, perf_metrics={"prompt-tokens": 16})),
        DONE,
    ],
    "Ollama: an empty finish reason": [
        *of(lambda w: chunk({"role": "assistant", "content": w}, "")),
        *END,
    ],
    "TGI: a word of its own, no [DONE]": [*PLAIN, event(chunk({}, "eos_token")), LAST],
    "TGI: a stop sequence": [*PLAIN, event(chunk({}, "stop_sequence")), LAST, DONE],
    "LMDeploy: usage with the finish": [
        *of(lambda w: chunk({"content": w, "gen_tokens": None, "tool_calls": None}, usage=None)),
        event(chunk({"content": "", "tool_calls": None}, "length", usage=USAGE)),
        DONE,
    ],
    "SGLang: null fields, matched stop": [
        *of(lambda w: {"choices": [choice({"role": None, "content": w}, matched_stop=None)]}),
        event({"choices": [choice({"content": None}, "stop", matched_stop=2)], "usage": None}),
        LAST,
        DONE,
    ],
    "TensorRT-LLM: empty lists of calls": [
        *of(lambda w: chunk({"role": None, "content": w, "tool_calls": []})),
        event(
            {"choices": [choice({"tool_calls": []}, "length", stop_reason=None)], "usage": USAGE}
        ),
        DONE,
    ],
    "llama.cpp: timings and progress": [
        event({"choices": [choice({"content": None})], "prompt_progress": {"total": 16}}),
        *of(lambda w: chunk({"content": w}, timings={"predicted_n": 1})),
        event({"choices": [choice({}, "stop")], "timings": {"prompt_n": 16}}),
        event({"choices": [], "usage": USAGE, "timings": {"prompt_n": 16}}),
        DONE,
    ],
    "Gemini: usage that grows, finish beside the last word": [
        event(chunk({"content": w}, "STOP" if k == 3 else None, usage={**USAGE, **count}))
        for k, (w, count) in enumerate(
            (w, {"completion_tokens": n}) for n, w in enumerate(WORDS, 1)
        )
    ],
    "MiniMax: the whole message at the end": [
        *PLAIN,
        event({**WHOLE, "usage": USAGE, "base_resp": {"status_code": 0, "status_msg": ""}}),
        DONE,
    ],
    "Perplexity: the message so far beside the delta": [
        event(
            {
                "choices": [choice({"content": w}, message={"content": "".join(WORDS[: k + 1])})],
                "usage": {**USAGE, "completion_tokens": k + 1},
            }
        )
        for k, w in enumerate(WORDS)
    ]
    + [FINISH],
    "Databricks: usage in each, no [DONE]": [
        *(
            event(chunk({"content": w}, usage={**USAGE, "completion_tokens": k}))
            for k, w in enumerate(WORDS, 1)
        ),
        event(chunk({"content": ""}, "stop", usage=USAGE)),
    ],
    "Cohere and Anthropic behind a gateway: events of their own": [
        b'event: ping\ndata: {"type": "ping"}\n\n',
        event({"type": "message-start"}),
        *PLAIN,
        event({"type": "message-end"}),
        *END,
    ],
    "Cloudflare and others: padding": [
        *of(lambda w: {**chunk({"content": w}), "p": "abcdefgh", "obfuscation": "x"}),
        *END,
    ],
    "LiteLLM: fields of its own": [
        *of(lambda w: chunk({"content": w, "provider_specific_fields": None}, citations=None)),
        *END,
    ],
    "usage and a price after [DONE]": [*PLAIN, FINISH, DONE, LAST, event({"cost": "0.1"})],
    "[DONE] twice, then a comment": [*PLAIN, *END, DONE, b": bye\n\n"],
    "[DONE] in an event of its name": [*PLAIN, FINISH, LAST, b"event: done\ndata: [DONE]\n\n"],
    "blanks about the data": [b"data:   " + data[6:] for data in [*PLAIN, *END]],
    "a tab before the data": [b"data:\t" + data[6:] for data in [*PLAIN, *END]],
    "the time to come again, an id with a NUL": [b"retry: 3\n\nid: a\x00b\n\n", *PLAIN, *END],
    "a page of HTML between": [*PLAIN[:2], b"<html>502</html>\n\n", *PLAIN[2:], *END],
    "usage without details but with nulls": [
        *PLAIN,
        event({"choices": [], "usage": {**USAGE, "prompt_tokens_details": None}}),
        *END,
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    answer: list[Timed] = []
    with serving(answer) as url:
        yield url, answer


def read(server: Server, pieces: list[bytes]) -> tuple[Trace, Interaction]:
    """The answer by a run over HTTP, and by `ask`."""
    url, answer = server
    answer[:] = framed([(0.0, piece) for piece in pieces])
    return sent_once(url), heard(pieces)


def heard(pieces: list[bytes]) -> Interaction:
    blank = Interaction(
        id="1",
        source="ask",
        asked_at=datetime.now(UTC),
        base_url="u",
        model="m",
        api="chat",
        messages=(),
    )
    hearing = Hearing(blank)
    for piece in pieces:
        hearing.hear(piece, 0.5)
    hearing.end(1.0)
    return hearing.so_far


@pytest.mark.parametrize("pieces", ANSWERS.values(), ids=ANSWERS)
def test_each_dialect_is_an_answer(server: Server, pieces: list[bytes]) -> None:
    trace, asked = read(server, pieces)
    assert (trace.outcome, trace.error) == ("ok", None)
    assert (trace.prompt_tokens, trace.output_tokens, len(trace.chunk_s)) == (16, 4, 4)
    assert trace.output_chars == sum(map(len, WORDS))
    assert (asked.answer, asked.thoughts, asked.error) == ("".join(WORDS), "", None)
    assert (asked.prompt_tokens, asked.output_tokens) == (16, 4)
    assert asked.finish_reason == trace.finish_reason


THOUGHTS: dict[str, Any] = {
    "DeepSeek": lambda w: {"content": None, "reasoning_content": w},
    "vLLM and Ollama": lambda w: {"content": "", "reasoning": w},
    "Mistral": lambda w: {"content": [{"type": "thinking", "thinking": [{"text": w}]}]},
    "OpenRouter": lambda w: {"reasoning_details": [{"type": "reasoning.summary", "summary": w}]},
    "LiteLLM": lambda w: {
        "reasoning_content": w,
        "thinking_blocks": [{"type": "thinking", "thinking": w, "signature": None}],
    },
    "a text of its own": lambda w: {"reasoning_text": w},
}


@pytest.mark.parametrize("thought", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_of_each_dialect_are_kept_apart(server: Server, thought: Any) -> None:
    trace, asked = read(server, [*half(thought), *END])
    assert (trace.outcome, trace.reasoning_chunks, len(trace.chunk_s)) == ("ok", 2, 4)
    assert (asked.thoughts, asked.answer) == ("".join(WORDS[:2]), "".join(WORDS[2:]))
    assert trace.ttfo_s is not None and asked.ttfo_s is not None


# Events after some words that end the answer, and the words of the server in the error.
ERRORS: dict[str, tuple[bytes, str]] = {
    "vLLM": (event({"error": {"message": "it broke", "code": 500}}), "it broke"),
    "vLLM of old": (event({"object": "error", "message": "it broke", "code": 400}), "it broke"),
    "a text": (event({"error": "it broke"}), "it broke"),
    "an event by its name": (b"event: error\ndata: it broke\n\n", "it broke"),
    "Anthropic": (
        b'event: error\ndata: {"type": "error", "error": {"message": "it broke"}}\n\n',
        "it broke",
    ),
    "no choices": (event({"choices": None, "error": "it broke"}), "it broke"),
    "a token after [DONE]": (b"".join([*END, PLAIN[0]]), "after [DONE]"),
    "an error after [DONE]": (b"".join([*END, event({"error": "it broke"})]), "it broke"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("sent", "words"), ERRORS.values(), ids=ERRORS)
def test_each_error_is_one_for_run_and_ask(server: Server, sent: bytes, words: str) -> None:
    trace, asked = read(server, [*PLAIN, sent])
    assert trace.outcome == "error" and words in (trace.error or "")
    assert asked.error is not None and words in asked.error


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_stream_that_a_gateway_packs_is_unpacked(server: Server, coding: str) -> None:
    url, answer = server
    pack = zlib.compressobj(wbits=31 if coding == "gzip" else -15)
    packed = [pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH) for data in [*PLAIN, *END]]
    head = HEAD + b"content-encoding: %b\r\ntransfer-encoding: chunked\r\n\r\n" % coding.encode()
    pieces = [(0.0, chunked(data)) for data in [*packed, pack.flush()]]
    answer[:] = [(0.0, head), *pieces, (0.0, b"0\r\n\r\n")]
    trace = sent_once(url)
    assert (trace.outcome, trace.output_tokens, trace.output_chars) == ("ok", 4, 11)


@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_whole_answer_in_place_of_a_stream(server: Server, begins: bytes) -> None:
    url, answer = server
    body = begins + json.dumps({**WHOLE, "usage": USAGE}, indent=1).encode()
    answer[:] = sized("application/json", 0.0, body)
    trace, asked = sent_once(url), heard([body])
    assert (trace.outcome, trace.output_tokens, trace.done) == ("ok", 4, None)
    assert (asked.answer, asked.error, asked.ttft_s) == ("".join(WORDS), None, None)
