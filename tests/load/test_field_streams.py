"""Streams as real servers and gateways send them, over real HTTP: each is measured as it is, and
`run` and `ask` give the same figures."""

import gzip
import json
import time
import zlib
from typing import Any

import pytest
from scripted_streams import (
    DONE,
    FINISH,
    FIRST_S,
    HEAD,
    LAST,
    STEP_S,
    TOKENS,
    USAGE,
    Timed,
    at,
    chunk,
    chunked,
    ending,
    event,
    framed,
    serving,
    sized,
    tokens,
    until_close,
    word,
)

from journal.chat.ask import Question, ask
from journal.chat.hearing import LEFT_OPEN
from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed
from journal.records.notebook import Interaction
from journal.records.request import Request, Trace

TEXT = "".join(map(word, range(TOKENS)))
EXACT_S = 1e-9
HALF = TOKENS // 2


def run(answer: list[Timed], **how: Any) -> list[Trace]:
    with serving(answer, **how) as url:
        return traces(url)


def traces(
    url: str, requests: int = 2, timeout_s: float = 10.0, origin_s: float | None = None
) -> list[Trace]:
    body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    offered = [
        Request(index=k, body=body, prompt_tokens=16, output_tokens=TOKENS) for k in range(requests)
    ]
    measured, _ = drive(
        offered,
        Endpoint(base_url=url, model="m", api="chat"),
        shape=Closed(min(2, requests)),
        timeout_s=timeout_s,
        processes=1,
        origin_s=time.monotonic() if origin_s is None else origin_s,
    )
    return list(measured)


def asked_by_hand(answer_: list[Timed], **how: Any) -> Interaction:
    with serving(answer_, **how) as url:
        messages = ({"role": "user", "content": "why"},)
        *_, last = ask(Question(base_url=url, model="m", messages=messages))
        return last


def worded(k: int, **more: Any) -> dict[str, Any]:
    return chunk({"content": word(k)}, **more)


def so_far(k: int) -> str:
    return "".join(map(word, range(k + 1)))


def begun(*payloads: bytes) -> list[Timed]:
    return [(0.0, data) for data in payloads]


def between(data: bytes) -> list[Timed]:
    """`data` at the beginning and after every token."""
    sent = ((at_s, sent + data) for at_s, sent in tokens())
    return [(0.0, data), *sent, *ending(FINISH, LAST)]


def halves(answer_: bytes) -> list[bytes]:
    return [answer_[k : k + 7] for k in range(0, len(answer_), 7)]


SPLIT = "reads split in UTF-8 and JSON"
ROLE = event(chunk({"role": "assistant", "content": ""}))
PLAIN = [*tokens(), *ending(FINISH, LAST)]
PARTS = {SPLIT: len(halves(PLAIN[0][1]))}  # of the first token, where it is sent in several


def renamed(pieces: list[Timed], old: bytes, new: bytes) -> list[Timed]:
    return [(at_s, data.replace(old, new)) for at_s, data in pieces]


# Streams of an answer of 16 tokens with usage and [DONE]: nothing about them is odd to the reader.
WHOLE: dict[str, list[Timed]] = {
    "plain": PLAIN,
    "a role chunk first": [*begun(ROLE), *PLAIN],
    "a chunk without choices, a null delta": [
        *begun(event({"id": "x"}), event({"choices": [{"index": 0, "delta": None}]})),
        *PLAIN,
    ],
    "empty choices first": [
        *begun(event({"choices": [], "prompt_filter_results": [{"index": 0}]})),
        *PLAIN,
    ],
    "null choices": [*begun(event({"choices": None}), event({"choices": [None]})), *PLAIN],
    "usage null in each chunk": [*tokens(lambda k: worded(k, usage=None)), *ending(FINISH, LAST)],
    "usage empty in each chunk": [*tokens(lambda k: worded(k, usage={})), *ending(FINISH, LAST)],
    "usage with the finish chunk": [*tokens(), *ending(chunk({}, "stop", usage=USAGE))],
    "usage in every chunk": [
        *tokens(lambda k: worded(k, usage={**USAGE, "completion_tokens": k + 1})),
        *ending(FINISH, LAST),
    ],
    "a first usage without completion_tokens": [
        *begun(event({"choices": [], "usage": {"prompt_tokens": 16, "total_tokens": 16}})),
        *PLAIN,
    ],
    "a first usage of nulls": [
        *begun(event({"choices": [], "usage": dict.fromkeys(USAGE)})),
        *PLAIN,
    ],
    "a first usage of zeros": [
        *begun(event({"choices": [], "usage": dict.fromkeys(USAGE, 0)})),
        *PLAIN,
    ],
    "usage that lacks a count after a whole one": [
        *PLAIN[:-1],
        *ending(FINISH, LAST, {"choices": [], "usage": {"prompt_tokens": 3}}),
    ],
    "usage in floats": [
        *tokens(),
        *ending(FINISH, {"usage": {key: float(n) for key, n in USAGE.items()}}),
    ],
    "usage in strings": [
        *tokens(),
        *ending(FINISH, {"usage": {key: str(n) for key, n in USAGE.items()}}),
    ],
    "usage in the choice": [
        *tokens(),
        *ending({"choices": [{"delta": {}, "finish_reason": "stop", "usage": USAGE}]}),
    ],
    "usage of a gateway's own": [*tokens(), *ending(FINISH, {"x_groq": {"usage": USAGE}})],
    "usage by other names": [
        *tokens(),
        *ending(FINISH, {"usage": {"input_tokens": 16, "output_tokens": TOKENS}}),
    ],
    "usage and choices after the finish reason": [
        *tokens(),
        *ending(FINISH, {"choices": [{"delta": {}, "finish_reason": None}], "usage": USAGE}),
    ],
    "an empty finish reason before the real one": [
        *tokens(lambda k: chunk({"content": word(k)}, "")),
        *ending(FINISH, LAST),
    ],
    "the word null for a finish reason": [
        *tokens(lambda k: chunk({"content": word(k)}, "null")),
        *ending(FINISH, LAST),
    ],
    "false for a finish reason": [
        *tokens(lambda k: chunk({"content": word(k)}, False)),
        *ending(FINISH, LAST),
    ],
    "no finish_reason key between": [
        *tokens(lambda k: {"choices": [{"delta": {"content": word(k)}}]}),
        *ending(FINISH, LAST),
    ],
    "a server's own word for stop": [*tokens(), *ending(chunk({}, "eos_token"), LAST)],
    "a server's own word for length": [*tokens(), *ending(chunk({}, "MAX_TOKENS"), LAST)],
    "a finish reason in another field": [
        *tokens(lambda k: {"choices": [{"delta": {"content": word(k)}, "stop_reason": None}]}),
        *ending({"choices": [{"delta": {}, "stop_reason": "max_tokens"}]}, LAST),
    ],
    "a finish reason in the delta": [
        *tokens(),
        *ending({"choices": [{"delta": {"content": "", "finish_reason": "stop"}}]}, LAST),
    ],
    "a finish reason as an object": [
        *tokens(),
        *ending(chunk({}, {"type": "length", "length": TOKENS}), LAST),
    ],
    "CRLF": renamed(PLAIN, b"\n", b"\r\n"),
    "CR": renamed(PLAIN, b"\n", b"\r"),
    "data: without a space": renamed(PLAIN, b"data: ", b"data:"),
    "a byte-order mark": [(0.0, b"\xef\xbb\xbf" + ROLE), *PLAIN],
    "comments": between(b": ping\n\n:\n: OPENROUTER PROCESSING\n\n"),
    "keep-alive as data": between(b"data: : keepalive\n\n"),
    "bare data": between(b"data:\n\ndata\n\n"),
    "data that is no object": between(b'data: ping\n\ndata: null\n\ndata: 1\n\ndata: "x"\n\n'),
    "objects of a gateway's own": between(
        event({"type": "ping"}) + event({}) + event({"error": None, "status": "queued"})
    ),
    "other fields of events": between(b"id: 7\nretry: 10\nevent: ping\nx: y\ndata: {}\n\n"),
    "events with names and ids": renamed(PLAIN, b"data: {", b"event: message\nid: 1\ndata: {"),
    "data over several lines": renamed(PLAIN, b', "choices"', b'\ndata: , "choices"'),
    SPLIT: [(at_s, part) for at_s, data in PLAIN for part in halves(data)],
    "an empty error": [*tokens(lambda k: worded(k, error={})), *ending(FINISH, LAST)],
    "a list of text parts": [
        *tokens(lambda k: chunk({"content": [{"type": "text", "text": word(k)}]})),
        *ending(FINISH, LAST),
    ],
    "one part": [
        *tokens(lambda k: chunk({"content": {"type": "text", "text": word(k)}})),
        *ending(FINISH, LAST),
    ],
    "a text field beside null content": [
        *tokens(lambda k: chunk({"content": None, "text": word(k)})),
        *ending(FINISH, LAST),
    ],
    "choices with text": [
        *tokens(lambda k: {"choices": [{"text": word(k), "finish_reason": None}]}),
        *ending(FINISH, LAST),
    ],
    "a message in place of a delta": [
        *tokens(lambda k: {"choices": [{"message": {"content": word(k)}}]}),
        *ending(FINISH, LAST),
    ],
    "the message so far in place of a delta": [
        *tokens(lambda k: {"choices": [{"message": {"content": so_far(k)}}]}),
        *ending(FINISH, LAST),
    ],
    "the whole message again at the end": [
        *tokens(),
        *ending({"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]}, LAST),
    ],
    "a quoted [DONE]": renamed(PLAIN, b"data: [DONE]", b'data:  "[DONE]"'),
    "flags about thoughts": [
        *tokens(lambda k: chunk({"content": word(k), "reasoning_format": "none"})),
        *ending(FINISH, LAST),
    ],
    "calls of tools that are empty": [
        *begun(event(chunk({"role": "assistant", "tool_calls": [None]}))),
        *PLAIN,
    ],
    "parts within an object": [
        *tokens(lambda k: chunk({"content": {"parts": [{"text": word(k)}]}})),
        *ending(FINISH, LAST),
    ],
    "choices of other kinds": between(event({"choices": "none"}) + event({"choices": 7})),
    "one choice without a list": [
        *tokens(lambda k: {"choices": {"delta": {"content": word(k)}, "finish_reason": None}}),
        *ending(FINISH, LAST),
    ],
    "an empty choice before the one": [
        *tokens(lambda k: {"choices": [{}, {"index": 0, "delta": {"content": word(k)}}]}),
        *ending(FINISH, LAST),
    ],
    "a flag for content": between(event(chunk({"content": True}))),
    "a proxy that writes data: twice": renamed(PLAIN, b"data: ", b"data: data: "),
    "an error that says success": [
        *tokens(lambda k: worded(k, error={"code": 0, "message": "success"})),
        *ending(FINISH, LAST),
    ],
    "an error that says none": [*tokens(lambda k: worded(k, error="none")), *ending(FINISH, LAST)],
    "codes of success": [
        *tokens(lambda k: worded(k, code=0, base_resp={"status_code": 0})),
        *ending(FINISH, LAST),
    ],
    "a finish reason in a list": [*tokens(), *ending(chunk({}, ["stop"]), LAST)],
    "a finish reason under another key": [*tokens(), *ending(chunk({}, {"reason": "STOP"}), LAST)],
    "usage in camel case": [
        *tokens(),
        *ending(FINISH, {"choices": [], "usage": {"promptTokens": 16, "completionTokens": 16}}),
    ],
    "usage in the delta": [
        *tokens(),
        *ending({"choices": [{"delta": {"usage": USAGE}, "finish_reason": "stop"}]}),
    ],
    "usage in a message": [*tokens(), *ending(FINISH, {"message": {"usage": USAGE}})],
    "usage in a list": [*tokens(), *ending(FINISH, {"usage": [USAGE]})],
    "usage under a provider's name": [
        *tokens(),
        *ending(
            FINISH,
            {
                "amazon-bedrock-invocationMetrics": {
                    "inputTokenCount": 16,
                    "outputTokenCount": TOKENS,
                }
            },
        ),
    ],
    "usage in a gateway's field": [*tokens(), *ending(FINISH, {"x_gateway": {"usage": USAGE}})],
    "usage among statistics": [*tokens(), *ending(FINISH, {"stats": {"usage": USAGE}})],
    "usage by what was generated": [
        *tokens(),
        *ending(FINISH, {"usage": {"prompt_tokens": 16, "generated_tokens": TOKENS}}),
    ],
    "usage that leaves thoughts out, but for the total": [
        *tokens(),
        *ending(
            FINISH,
            {
                "usage": {
                    **USAGE,
                    "completion_tokens": HALF,
                    "completion_tokens_details": {"reasoning_tokens": HALF},
                }
            },
        ),
    ],
    "chunks within a result": [
        *tokens(lambda k: {"result": worded(k)}),
        *ending({"result": FINISH}, {"result": LAST}),
    ],
    "chunks within data": [
        *tokens(lambda k: {"code": 0, "data": worded(k)}),
        *ending({"data": FINISH}, {"data": LAST}),
    ],
    "news of a gateway": between(
        event({"object": "queue", "message": "position 3", "success": True, "errors": []})
        + event({"base_resp": {"status_code": 0, "status_msg": "success"}})
        + event(chunk({"annotations": [{"url": "http://a"}], "error": None}))
    ),
    "a last event without its blank line": [*PLAIN[:-1], *ending(FINISH, LAST, done=DONE[:-2])],
}


def agree(trace: Trace, interaction: Interaction) -> None:
    """That `run` and `ask` give the same figures for one stream."""
    assert (trace.error is None) == (interaction.error is None), (trace.error, interaction.error)
    assert trace.prompt_tokens == interaction.prompt_tokens
    assert trace.output_tokens == interaction.output_tokens
    assert trace.reasoning_tokens == interaction.reasoning_tokens
    assert trace.finish_reason == interaction.finish_reason
    assert (trace.output_chars or 0) == len(interaction.answer + interaction.thoughts)
    if interaction.note is None and trace.chunk_s:
        assert (
            interaction.ttft_s is not None
            and interaction.ttfo_s is not None
            and trace.ttfo_s is not None
        )
        assert interaction.ttft_s >= FIRST_S <= trace.chunk_s[0] - trace.start_s
        later_s = trace.ttfo_s - (trace.chunk_s[0] - trace.start_s)
        assert (interaction.ttfo_s == interaction.ttft_s) == (later_s < EXACT_S)


@pytest.mark.parametrize("pieces", WHOLE.values(), ids=WHOLE)
def test_a_whole_stream_counts_in_whichever_form_it_comes(pieces: list[Timed]) -> None:
    measured = run(framed(pieces))
    for trace in measured:
        assert (trace.outcome, trace.error) == ("ok", None)
        assert (trace.prompt_tokens, trace.output_tokens) == (16, TOKENS)
        assert trace.finish_reason in ("stop", "length") and trace.done
        assert trace.output_chars == len(TEXT) and len(trace.chunk_s) == TOKENS
        assert (trace.reasoning_chunks, trace.tool_call_deltas) == (0, 0)
        first_s = trace.chunk_s[0] - trace.start_s
        assert first_s >= FIRST_S
        assert trace.ttfo_s == pytest.approx(first_s, abs=EXACT_S)
        assert trace.chunk_s[-1] - trace.start_s >= FIRST_S + (TOKENS - 1) * STEP_S
    interaction = asked_by_hand(framed(pieces))
    assert (interaction.answer, interaction.thoughts, interaction.note) == (TEXT, "", None)
    agree(measured[0], interaction)


@pytest.mark.alone
def test_the_first_token_of_every_stream_is_timed_to_two_milliseconds() -> None:
    """From the moment at which the server sends it, on an idle machine. A stream is tried up to
    five times: other programs delay one now and then, and a fault of the reader delays each."""
    late_s: dict[str, float] = {}
    for name, pieces in WHOLE.items():
        for _ in range(5):
            late_s[name] = lateness_s(pieces, PARTS.get(name, 1))
            if 0 <= late_s[name] < 0.002:
                break
    assert {name: late for name, late in late_s.items() if not 0 <= late < 0.002} == {}


def lateness_s(pieces: list[Timed], parts: int) -> float:
    """The time from the sending of the first token, the last of its `parts`, to its stamp."""
    sent_s: list[float] = []
    with serving(framed(pieces), sent_s=sent_s) as url:
        origin_s = time.monotonic()
        (trace,) = traces(url, requests=1, origin_s=origin_s)
    return origin_s + trace.chunk_s[0] - sent_s[parts - 1]


THOUGHTS: dict[str, Any] = {
    "reasoning_content": lambda text: {"reasoning_content": text, "content": None},
    "reasoning": lambda text: {"reasoning": text, "content": ""},
    "both": lambda text: {"reasoning": text, "reasoning_content": text},
    "thinking": lambda text: {"thinking": text},
    "an object": lambda text: {"reasoning": {"content": text}},
    "reasoning_details": lambda text: {
        "reasoning_details": [{"type": "reasoning.text", "text": text, "signature": None}]
    },
    "fields of a provider": lambda text: {
        "content": "",
        "provider_specific_fields": {"reasoning_content": text},
    },
    "a mark of a provider": lambda text: {
        "content": text,
        "extra_content": {"google": {"thought": True}},
    },
    "a phase": lambda text: {"content": text, "phase": "think"},
    "a channel": lambda text: {"content": text, "channel": "analysis"},
    "a type": lambda text: {"type": "reasoning", "content": text},
    "a flag": lambda text: {"content": text, "is_thinking": True},
    "parts that are marked": lambda text: {"content": [{"text": text, "thought": True}]},
    "parts of the content": lambda text: {
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]
    },
}


@pytest.mark.parametrize("thought", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_are_tokens_and_no_answer(thought: Any) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": HALF}}
    pieces = framed(
        [
            *tokens(lambda k: chunk(thought(word(k))) if k < HALF else worded(k)),
            *ending(FINISH, {"choices": [], "usage": {**USAGE, **details}}),
        ]
    )
    measured = run(pieces)
    for trace in measured:
        assert trace.outcome == "ok" and len(trace.chunk_s) == TOKENS
        assert (trace.reasoning_chunks, trace.reasoning_tokens) == (HALF, HALF)
        assert trace.chunk_s[0] - trace.start_s >= FIRST_S
        assert trace.ttfo_s == pytest.approx(trace.chunk_s[HALF] - trace.start_s, abs=EXACT_S)
    interaction = asked_by_hand(pieces)
    assert interaction.thoughts == "".join(map(word, range(HALF)))
    assert interaction.answer == "".join(map(word, range(HALF, TOKENS)))
    assert interaction.tokens_per_s is not None
    assert interaction.tokens_per_s == pytest.approx(100, rel=0.5)  # 480 where thoughts are missed
    agree(measured[0], interaction)


TAGGED = {
    "between tags": ["<think>", *map(word, range(HALF - 2)), "</think>", *map(word, range(HALF))],
    "before a tag": [*map(word, range(HALF - 1)), "</think>", *map(word, range(HALF))],
}


@pytest.mark.parametrize("said", TAGGED.values(), ids=TAGGED)
def test_thoughts_in_the_content_are_tokens_and_no_answer(said: list[str]) -> None:
    said = [*said, *["." for _ in range(TOKENS - len(said))]]
    pieces = framed([*tokens(lambda k: chunk({"content": said[k]})), *ending(FINISH, LAST)])
    measured = run(pieces)
    for trace in measured:
        assert trace.outcome == "ok" and len(trace.chunk_s) == TOKENS
        begins_s = trace.chunk_s[said.index("</think>") + 1] - trace.start_s
        assert trace.ttfo_s == pytest.approx(begins_s, abs=EXACT_S)
    interaction = asked_by_hand(pieces)
    assert interaction.answer == "".join(said[said.index("</think>") + 1 :])
    assert interaction.thoughts.startswith(word(0)) and "think" not in interaction.thoughts
    agree(measured[0], interaction)


def test_a_call_of_a_tool_counts_by_its_finish_reason() -> None:
    calls = {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}
    for delta, outcome in ((calls, "ok"), ({"content": "a"}, "error")):
        end = ending(chunk({}, "tool_calls"), LAST)
        pieces = framed([*tokens(lambda _, delta=delta: chunk(delta)), *end])  # type: ignore[misc]
        (trace, _) = run(pieces)
        assert trace.outcome == outcome
        agree(trace, asked_by_hand(pieces))


@pytest.mark.parametrize("count", [1, TOKENS], ids=["of each chunk", "of the whole"])
def test_a_usage_that_never_grows_gives_no_tokens_of_chunks(count: int) -> None:
    usage = {**USAGE, "completion_tokens": count}
    pieces = framed([*tokens(lambda k: worded(k, usage=usage)), *ending(FINISH)])
    (trace, _) = run(pieces)
    assert trace.outcome == "ok" and trace.chunk_tokens is None
    assert trace.output_tokens == (None if count == 1 else TOKENS)
    agree(trace, asked_by_hand(pieces))


def test_thoughts_that_are_counted_and_not_streamed_are_in_no_time_per_token() -> None:
    usage = {**USAGE, "completion_tokens": TOKENS + 48}
    usage["completion_tokens_details"] = {"reasoning_tokens": 48}  # type: ignore[assignment]
    pieces = framed([*tokens(), *ending(FINISH, {"choices": [], "usage": usage})])
    (trace, _) = run(pieces)
    assert (trace.output_tokens, trace.reasoning_tokens) == (TOKENS + 48, 48)
    assert trace.reasoning_chunks == 0
    assert asked_by_hand(pieces).tokens_per_s == pytest.approx(100, rel=0.5)  # 420 with those


def test_a_stream_without_usage_counts_and_its_tokens_are_not_guessed() -> None:
    pieces = framed([*tokens(), *ending(FINISH)])
    measured = run(pieces)
    for trace in measured:
        assert (trace.outcome, trace.done) == ("ok", True)
        assert (trace.output_tokens, trace.chunk_tokens) == (None, None)
        assert len(trace.chunk_s) == TOKENS
    agree(measured[0], asked_by_hand(pieces))


def test_tokens_are_known_by_their_ids_without_usage() -> None:
    def with_ids(k: int) -> dict[str, Any]:
        return {"choices": [{"delta": {"content": word(k)}, "token_ids": [k]}]}

    (trace, _) = run(framed([*tokens(with_ids), *ending(FINISH)]))
    assert trace.outcome == "ok" and trace.chunk_tokens == (1,) * TOKENS


def test_a_usage_before_the_last_token_is_not_of_the_whole() -> None:
    early = event({"choices": [], "usage": {"prompt_tokens": 16, "completion_tokens": 1}})
    (trace, _) = run(framed([*begun(early), *tokens(), *ending(FINISH)]))
    assert (trace.prompt_tokens, trace.output_tokens) == (16, None)


@pytest.mark.parametrize("frame", [framed, until_close], ids=["chunked", "until closed"])
def test_a_stream_without_done_counts_where_it_is_whole(frame: Any) -> None:
    pieces = frame([*tokens(), *ending(FINISH, LAST, done=b"")])
    measured = run(pieces, closes=frame is until_close)
    for trace in measured:
        assert (trace.outcome, trace.done, trace.output_tokens) == ("ok", False, TOKENS)
    agree(measured[0], asked_by_hand(pieces, closes=frame is until_close))


def test_a_stream_that_only_its_connection_ends_needs_usage_or_done() -> None:
    pieces = until_close([*tokens(), *ending(FINISH, done=b"")])
    (trace, _) = run(pieces, closes=True)
    assert trace.error == "the connection ended with neither usage nor [DONE] before"


FAILED: dict[str, tuple[list[Timed], str]] = {
    "no finish reason": ([*tokens(), *ending(LAST)], "finish reason missing"),
    "an error object": (
        [*tokens()[:8], (at(8), event({"error": {"message": "it broke"}}) + DONE)],
        "it broke",
    ),
    "an error in a choice chunk": (
        [
            *tokens()[:8],
            (at(8), event({**chunk({"content": ""}, "error"), "error": {"message": "it broke"}})),
        ],
        "it broke",
    ),
    "an error in the choice": (
        [(at(0), event({"choices": [{"error": {"message": "it broke"}, "delta": {}}]}))],
        "it broke",
    ),
    "a status in the event": (
        [*tokens()[:8], (at(8), event({"code": 503, "message": "it broke"}) + DONE)],
        "it broke",
    ),
    "an error in the delta": (
        [
            *tokens(),
            (at(8), event(chunk({"error": {"message": "it broke"}}))),
            *ending(FINISH, LAST),
        ],
        "it broke",
    ),
    "a code of a provider": (
        [(at(0), event({"error_code": 18, "error_msg": "it broke"})), *ending(FINISH, LAST)],
        "it broke",
    ),
    "a status of a provider": (
        [
            *tokens()[:8],
            (at(8), event({"base_resp": {"status_code": 1002, "status_msg": "it broke"}})),
            *ending(FINISH, LAST),
        ],
        "it broke",
    ),
    "errors": ([*tokens()[:8], *ending({"errors": [{"message": "it broke"}]})], "it broke"),
    "no success": (
        [*tokens()[:8], *ending({"success": False, "msg": "it broke"}, FINISH, LAST)],
        "it broke",
    ),
    "a failed state": (
        [*tokens()[:8], *ending({"status": "failed", "message": "it broke"}, FINISH, LAST)],
        "it broke",
    ),
    "a chunk cut in two": (
        [*tokens()[:8], (at(8), b'data: {"choices":[{"delta":{"con\n\n'), *ending(FINISH, LAST)],
        "cannot be read",
    ),
    "a finish reason of no good": (
        [*tokens(), *ending(chunk({}, "content_filter"), LAST)],
        "filter",
    ),
}


@pytest.mark.parametrize(("pieces", "reason"), FAILED.values(), ids=FAILED)
def test_what_is_not_whole_is_an_error(pieces: list[Timed], reason: str) -> None:
    (trace, _) = run(framed(pieces))
    assert trace.outcome == "error" and reason in (trace.error or "")
    interaction = asked_by_hand(framed(pieces))
    assert interaction.error is not None
    if reason == "it broke":
        assert reason in interaction.error


def test_a_whole_answer_in_one_read_is_one_moment() -> None:
    data = b"".join(data for _, data in PLAIN)
    (trace, _) = run(framed([(at(TOKENS), data)]))
    assert trace.outcome == "ok" and trace.chunk_s[0] == trace.chunk_s[-1]


def whole(message: dict[str, Any], reason: str = "stop") -> list[Timed]:
    body = {"choices": [{"message": message, "finish_reason": reason}], "usage": USAGE}
    return sized("application/json", at(TOKENS), json.dumps(body).encode())


def test_a_server_that_ignores_stream_gives_one_chunk_and_ask_says_so() -> None:
    answer_ = whole({"role": "assistant", "content": TEXT})
    (trace, _) = run(answer_)
    assert (trace.outcome, len(trace.chunk_s), trace.done) == ("ok", 1, None)
    assert trace.output_tokens == TOKENS
    interaction = asked_by_hand(answer_)
    assert (interaction.answer, interaction.error, interaction.ttft_s) == (TEXT, None, None)
    assert interaction.note is not None and "ignored `stream`" in interaction.note
    agree(trace, interaction)


@pytest.mark.parametrize(
    ("delta", "note"),
    [
        ({"reasoning_content": "hm"}, "thoughts only"),
        ({"refusal": "no"}, "refused"),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, "calls a tool"),
    ],
)
def test_an_answer_without_text_says_so(delta: dict[str, Any], note: str) -> None:
    pieces = framed([*tokens(lambda _: chunk(delta)), *ending(FINISH, LAST)])
    (trace, _) = run(pieces)
    assert trace.outcome == "ok" and len(trace.chunk_s) == TOKENS
    assert trace.tool_call_deltas == (TOKENS if "tool_calls" in delta else 0)
    assert (trace.ttfo_s is None) == ("reasoning_content" in delta)
    interaction = asked_by_hand(pieces)
    assert interaction.error is None and interaction.note is not None and note in interaction.note
    agree(trace, interaction)


def test_a_kept_connection_that_was_closed_is_tried_once_more() -> None:
    with serving(framed(PLAIN), kept=1) as url:
        measured = traces(url, requests=5)
    assert [trace.outcome for trace in measured] == ["ok"] * 5
    assert sum(bool(trace.reconnected) for trace in measured) >= 2


def test_a_server_that_hangs_timed_out() -> None:
    with serving([(30.0, b"")]) as url:
        measured = traces(url, timeout_s=0.2)
    assert [(trace.outcome, trace.timed_out) for trace in measured] == [("error", True)] * 2


def test_a_stream_that_stays_open_after_done_counts_at_done() -> None:
    pieces = [*framed(PLAIN)[:-1], (5.0, b"0\r\n\r\n")]
    (trace, _) = run(pieces)
    assert (trace.outcome, trace.error, trace.done, trace.timed_out) == ("ok", None, True, True)
    assert trace.output_tokens == TOKENS and len(trace.chunk_s) == TOKENS
    assert trace.end_s == pytest.approx(trace.chunk_s[-1], abs=0.1)  # [DONE] has its own read
    interaction = asked_by_hand(pieces)
    assert interaction.answer == TEXT and interaction.note == LEFT_OPEN
    assert interaction.error is None and (interaction.duration_s or 9) < 1


def test_a_compressed_stream_that_stays_open_counts_when_time_is_up() -> None:
    packed = gzip.compress(b"".join(data for _, data in PLAIN))
    head = HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
    with serving([(0.0, head), (FIRST_S, chunked(packed)), (9.0, b"0\r\n\r\n")]) as url:
        (trace,) = traces(url, requests=1, timeout_s=0.5)
    assert (trace.outcome, trace.error, trace.timed_out) == ("ok", None, True)
    assert trace.end_s - trace.start_s < 0.4


def test_done_in_the_words_of_an_answer_ends_nothing() -> None:
    said = [word(k) if k != 3 else "data: [DONE]\n\n" for k in range(TOKENS)]
    pieces = [*tokens(lambda k: chunk({"content": said[k]})), *ending(FINISH, LAST)]
    late = [(at_s + (0.4 if at_s > at(4) else 0), data) for at_s, data in pieces]
    (trace, _) = run(framed(late))
    assert (trace.outcome, trace.timed_out, len(trace.chunk_s)) == ("ok", False, TOKENS)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_stream_that_is_compressed_without_a_request_is_read(encoding: str) -> None:
    """Gzip in a part for each event, as some proxies flush; deflate as one."""
    text = b"".join(data for _, data in PLAIN)
    parts = [gzip.compress(data) for _, data in PLAIN]
    pieces = [(at(k), part) for k, part in enumerate(parts)]
    pieces = pieces if encoding == "gzip" else [(FIRST_S, zlib.compress(text))]
    head, *rest = framed(pieces)
    packed = b"\r\ncontent-encoding: %b\r\n\r\n" % encoding.encode()
    answer_ = [(0.0, head[1].replace(b"\r\n\r\n", packed)), *rest]
    (trace, _) = run(answer_)
    assert (trace.outcome, trace.output_tokens, len(trace.chunk_s)) == ("ok", TOKENS, TOKENS)
    interaction = asked_by_hand(answer_)
    assert interaction.answer == TEXT
    agree(trace, interaction)


def test_another_status_of_success_counts() -> None:
    head, *rest = framed(PLAIN)
    answer_ = [(head[0], head[1].replace(b"200 OK", b"201 Created")), *rest]
    (trace, _) = run(answer_)
    assert (trace.outcome, trace.status, trace.output_tokens) == ("ok", 201, TOKENS)
    agree(trace, asked_by_hand(answer_))
