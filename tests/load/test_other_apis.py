"""Streams of other APIs, and bodies that are no events, over real HTTP: `run` and `ask` read them
as they read OpenAI's."""

import json
from typing import Any

import pytest
from scripted_streams import DONE, Timed, chunk, event, framed, sent_once, serving

from journal.chat.ask import Question, ask
from journal.load.other_apis import as_chunk, objects
from journal.records.notebook import Interaction
from journal.records.request import Trace

TOKENS = 4
STEP_S = 0.01


def word(k: int) -> str:
    return f"wörd{k} "


def words(first: int, end: int) -> str:
    return "".join(map(word, range(first, end)))


TEXT = words(0, TOKENS)
LAST = {"choices": [], "usage": {"prompt_tokens": 16, "completion_tokens": TOKENS}}
CHUNKS = [*(chunk({"content": word(k)}) for k in range(TOKENS)), chunk({}, "length"), LAST]


def both(pieces: list[bytes]) -> tuple[Trace, Interaction]:
    """What `run` and `ask` make of a body that comes in these pieces, one every 10 ms."""
    timed: list[Timed] = [(STEP_S * (k + 1), piece) for k, piece in enumerate(pieces)]
    with serving(framed(timed)) as url:
        trace = sent_once(url)
        messages = ({"role": "user", "content": "why"},)
        *_, interaction = ask(Question(base_url=url, model="m", messages=messages))
    assert (trace.error is None) == (interaction.error is None), (trace.error, interaction.error)
    assert trace.finish_reason == interaction.finish_reason
    assert (trace.prompt_tokens, trace.output_tokens, trace.reasoning_tokens) == (
        interaction.prompt_tokens,
        interaction.output_tokens,
        interaction.reasoning_tokens,
    )
    return trace, interaction


def events(*payloads: Any) -> list[bytes]:
    return list(map(event, payloads))


def each(make: Any) -> list[bytes]:
    return [event(make(k)) for k in range(TOKENS)]


def lines(*payloads: Any) -> list[bytes]:
    return [json.dumps(payload, ensure_ascii=False).encode() + b"\n" for payload in payloads]


def ollama(k: int) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": word(k)}, "done": False}


OLLAMA_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 16, "eval_count": TOKENS}
CUT = lines(*CHUNKS)
BODIES = {
    "JSON lines": lines(*CHUNKS),
    "JSON lines that end in CRLF": [line.replace(b"\n", b"\r\n") for line in lines(*CHUNKS)],
    "JSON lines with blank ones": [b"\n" + line + b"\n" for line in lines(*CHUNKS)],
    "JSON lines and [DONE]": [*lines(*CHUNKS), b"[DONE]\n"],
    "JSON lines cut in a character": [
        part
        for line in CUT
        for at in [line.find("ö".encode()) + 1]
        for part in (line[:at], line[at:])
    ],
    "a JSON text sequence": [b"\x1e" + line for line in lines(*CHUNKS)],
    "a list": [(b"[" if k == 0 else b",") + line for k, line in enumerate(lines(*CHUNKS))] + [b"]"],
    "data without blank lines": [b"data: " + line for line in lines(*CHUNKS)],
    "data that is JSON in JSON": [*events(*map(json.dumps, CHUNKS)), DONE],
    "Ollama's": lines(*map(ollama, range(TOKENS)), OLLAMA_END),
    "Ollama's as events": events(*map(ollama, range(TOKENS)), OLLAMA_END),
    "Ollama's of before it gave a reason": lines(
        *map(ollama, range(TOKENS)), {**OLLAMA_END, "done_reason": None}
    ),
    "Ollama's generate": lines(
        *({"response": word(k), "done": False} for k in range(TOKENS)),
        {**OLLAMA_END, "response": "", "context": [1, 2]},
    ),
    "TGI's": each(
        lambda k: {
            "index": k,
            "token": {"id": k, "text": word(k), "logprob": -1.0, "special": False},
            "generated_text": TEXT if k == TOKENS - 1 else None,
            "details": {"finish_reason": "length", "generated_tokens": TOKENS, "input_length": 16}
            if k == TOKENS - 1
            else None,
        }
    ),
    "Gemini's": [
        *each(lambda k: {"candidates": [{"content": {"parts": [{"text": word(k)}]}}]}),
        event(
            {
                "candidates": [{"finishReason": "MAX_TOKENS"}],
                "usageMetadata": {
                    "promptTokenCount": 16,
                    "candidatesTokenCount": TOKENS,
                    "totalTokenCount": 16 + TOKENS,
                },
            }
        ),
    ],
    "Anthropic's": events(
        {
            "type": "message_start",
            "message": {"content": [], "usage": {"input_tokens": 16, "output_tokens": 1}},
        },
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": word(k)}}
            for k in range(TOKENS)
        ),
        {"type": "content_block_stop"},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": TOKENS},
        },
        {"type": "message_stop"},
    ),
    "OpenAI's Responses": events(
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        *({"type": "response.output_text.delta", "delta": word(k)} for k in range(TOKENS)),
        {"type": "response.output_text.done", "text": TEXT},
        {
            "type": "response.incomplete",
            "response": {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [{"type": "message", "content": [{"text": TEXT}]}],
                "usage": {"input_tokens": 16, "output_tokens": TOKENS},
            },
        },
    ),
    "llama.cpp's": [
        *each(lambda k: {"content": word(k), "tokens": [k], "stop": False}),
        event(
            {
                "content": "",
                "stop": True,
                "stop_type": "limit",
                "tokens_predicted": TOKENS,
                "tokens_evaluated": 16,
            }
        ),
    ],
    "SGLang's": [
        *each(
            lambda k: {
                "text": words(0, k + 1),
                "meta_info": {
                    "finish_reason": {"type": "length"} if k == TOKENS - 1 else None,
                    "prompt_tokens": 16,
                    "completion_tokens": k + 1,
                },
            }
        ),
        DONE,
    ],
    "Cohere's": events(
        {"type": "message-start", "delta": {"message": {"role": "assistant"}}},
        *(
            {"type": "content-delta", "delta": {"message": {"content": {"text": word(k)}}}}
            for k in range(TOKENS)
        ),
        {
            "type": "message-end",
            "delta": {
                "finish_reason": "MAX_TOKENS",
                "usage": {"tokens": {"input_tokens": 16, "output_tokens": TOKENS}},
            },
        },
    ),
    "Bedrock's": events(
        {"messageStart": {"role": "assistant"}},
        *({"contentBlockDelta": {"delta": {"text": word(k)}}} for k in range(TOKENS)),
        {"messageStop": {"stopReason": "max_tokens"}},
        {"metadata": {"usage": {"inputTokens": 16, "outputTokens": TOKENS}}},
    ),
    "chunks within an output, with usage beside it": [
        *each(
            lambda k: {
                "output": {"choices": [{"message": {"content": word(k)}}]},
                "usage": {"input_tokens": 16, "output_tokens": k + 1},
            }
        ),
        event({"output": {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}}),
    ],
    "choices by their numbers": [
        *each(lambda k: {"choices": {"0": {"delta": {"content": word(k)}}}}),
        *events({"choices": {"0": {"delta": {}, "finish_reason": "stop"}}}, LAST),
    ],
    "one choice": [
        *each(lambda k: {"choice": {"delta": {"content": word(k)}}}),
        *events({"choice": {"delta": {}, "finish_reason": "stop"}}, LAST),
    ],
    **{
        f"chunks within a {name}, with usage beside it": [
            *each(lambda k, name=name: {name: chunk({"content": word(k)})}),
            event({name: chunk({}, "stop"), "usage": LAST["usage"]}),
        ]
        for name in ("payload", "body", "message")
    },
    "LangChain's": events(
        *({"type": "AIMessageChunk", "content": word(k)} for k in range(TOKENS)),
        {
            "content": "",
            "response_metadata": {"finish_reason": "stop"},
            "usage_metadata": {"input_tokens": 16, "output_tokens": TOKENS},
        },
    ),
    "a finish reason beside the choices": [
        *each(lambda k: chunk({"content": word(k)})),
        *events({"choices": [], "finish_reason": "stop", "usage": LAST["usage"]}),
    ],
} | {
    f"a bare {name}": [
        *each(lambda k, name=name: {name: word(k)}),
        event({name: "", "finish_reason": "stop", "usage": LAST["usage"]}),
    ]
    for name in ("response", "text", "content", "output", "token", "delta")
}


@pytest.mark.parametrize("pieces", BODIES.values(), ids=BODIES)
def test_other_apis_and_bodies_without_events_are_measured(pieces: list[bytes]) -> None:
    trace, interaction = both(pieces)
    assert (trace.error, trace.prompt_tokens, trace.output_tokens) == (None, 16, TOKENS)
    assert trace.finish_reason in ("stop", "length")
    assert (interaction.answer, interaction.thoughts, interaction.note) == (TEXT, "", None)
    since_s = [at_s - trace.start_s for at_s in trace.chunk_s]
    assert len(since_s) == TOKENS and since_s[0] < since_s[-1]
    assert all(at_s > STEP_S * (k + 0.9) for k, at_s in enumerate(since_s))
    assert trace.ttfo_s == pytest.approx(since_s[0])
    assert interaction.ttft_s is not None and interaction.ttft_s > STEP_S * 0.9


def anthropic(kind: str, k: int) -> dict[str, Any]:
    return {"type": "content_block_delta", "delta": {"type": f"{kind}_delta", kind: word(k)}}


THOUGHTS = {
    "Ollama's": lines(
        *({"message": {"content": "", "thinking": word(k)}, "done": False} for k in range(2)),
        *map(ollama, range(2, TOKENS)),
        OLLAMA_END,
    ),
    "Gemini's": [
        *each(
            lambda k: {
                "candidates": [{"content": {"parts": [{"text": word(k), "thought": k < 2}]}}]
            }
        ),
        event(
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 16,
                    "candidatesTokenCount": 2,
                    "thoughtsTokenCount": 2,
                    "totalTokenCount": 16 + TOKENS,
                },
            }
        ),
    ],
    "Anthropic's": events(
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 12}},
        },
        *(anthropic("thinking", k) for k in range(2)),
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "E="}},
        *(anthropic("text", k) for k in range(2, TOKENS)),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": TOKENS},
        },
    ),
    "OpenAI's Responses": events(
        *({"type": "response.reasoning_text.delta", "delta": word(k)} for k in range(2)),
        *({"type": "response.output_text.delta", "delta": word(k)} for k in range(2, TOKENS)),
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "usage": {"input_tokens": 16, "output_tokens": TOKENS},
            },
        },
    ),
}


@pytest.mark.parametrize("pieces", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_of_other_apis_stand_apart(pieces: list[bytes]) -> None:
    trace, interaction = both(pieces)
    assert (trace.error, trace.prompt_tokens, trace.output_tokens) == (None, 16, TOKENS)
    assert (interaction.thoughts, interaction.answer) == (words(0, 2), words(2, TOKENS))
    assert trace.reasoning_chunks == 2 and len(trace.chunk_s) == TOKENS
    assert trace.ttfo_s == pytest.approx(trace.chunk_s[2] - trace.start_s)


CALLS = {
    "Ollama's": lines({"message": {"tool_calls": [{"function": {"name": "f"}}]}}, OLLAMA_END),
    "Anthropic's": events(
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ),
    "OpenAI's Responses": events(
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.completed", "response": {"status": "completed"}},
    ),
    "Gemini's": events(
        {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}
            ]
        },
        {"ping": 1},
    ),
}


@pytest.mark.parametrize("pieces", CALLS.values(), ids=CALLS)
def test_calls_of_tools_in_other_apis_count(pieces: list[bytes]) -> None:
    trace, interaction = both(pieces)
    assert (trace.error, trace.tool_call_deltas) == (None, 1)
    assert "calls a tool" in (interaction.note or "")


def two(k: int) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": {"content": word(k)}}, {"index": 1, "delta": {"content": "no "}}]


SEVERAL = {
    "OpenAI's": events(*({"choices": two(k)} for k in range(TOKENS)), chunk({}, "stop"), LAST),
    "Gemini's": events(
        *(
            {"candidates": [{"content": {"parts": [{"text": text}]}} for text in (word(k), "no ")]}
            for k in range(TOKENS)
        ),
        {
            "candidates": [{"finishReason": "STOP"}, {"finishReason": "SAFETY"}],
            "usageMetadata": {"promptTokenCount": 16, "candidatesTokenCount": TOKENS},
        },
    ),
}


@pytest.mark.parametrize("pieces", SEVERAL.values(), ids=SEVERAL)
def test_of_several_answers_to_one_request_the_first_is_read(pieces: list[bytes]) -> None:
    trace, interaction = both(pieces)
    assert (trace.error, trace.finish_reason, len(trace.chunk_s)) == (None, "stop", TOKENS)
    assert interaction.answer == TEXT


FAILED = {
    "Ollama's": lines(ollama(0), {"error": "it broke"}),
    "Anthropic's": events(
        anthropic("text", 0),
        {"type": "error", "error": {"type": "overloaded_error", "message": "it broke"}},
    ),
    "OpenAI's Responses": events(
        {"type": "response.output_text.delta", "delta": word(0)},
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"message": "it broke"}},
        },
    ),
    "an object cut in two": [*lines(ollama(0)), b'{"message": {"content": "it broke'],
    "a text in a field that is not known": [
        *each(lambda k: {"outputs": [{"it broke": word(k)}]}),
        event({"it broke": 1, "finish_reason": "stop", "usage": LAST["usage"]}),
    ],
    "without a reason": [*each(lambda k: {"response": word(k)}), event({"it broke": True})],
}


@pytest.mark.parametrize("pieces", FAILED.values(), ids=FAILED)
def test_errors_in_other_apis_are_in_the_servers_words(pieces: list[bytes]) -> None:
    trace, interaction = both(pieces)
    assert "it broke" in (trace.error or "")
    assert interaction.error is not None


def test_news_before_the_choices_of_a_stream_is_no_token() -> None:
    """A bare text is an answer only where the whole stream has no choice."""
    news = events({"content": "position 3"}, {"text": "a"}, {"message": {"content": "b"}})
    trace, interaction = both([*news, *events(*CHUNKS)])
    assert interaction.answer == TEXT and len(trace.chunk_s) == TOKENS
    assert trace.chunk_s[0] - trace.start_s > 4 * STEP_S / 2


WHOLE = {
    "Ollama's": {**ollama(0), "message": {"content": TEXT}, **OLLAMA_END},
    "Anthropic's": {
        "type": "message",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 16, "output_tokens": TOKENS},
    },
    "OpenAI's Responses": {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": TEXT}]}],
        "usage": {"input_tokens": 16, "output_tokens": TOKENS},
    },
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_whole_answers_of_other_apis_are_one_chunk(body: dict[str, Any]) -> None:
    trace, interaction = both([json.dumps(body, indent=1).encode()])
    assert (trace.error, trace.output_tokens, len(trace.chunk_s)) == (None, TOKENS, 1)
    assert interaction.answer == TEXT and "ignored `stream`" in (interaction.note or "")


def test_tokens_of_thoughts_that_only_the_total_has_are_counted() -> None:
    usage = {"prompt_tokens": 16, "completion_tokens": TOKENS, "total_tokens": 60}
    trace, _ = both(events(*CHUNKS[:-1], {"choices": [], "usage": usage}))
    assert (trace.output_tokens, trace.reasoning_tokens) == (44, 40)
    cached = {**usage, "cacheReadInputTokens": 40}
    trace, _ = both(events(*CHUNKS[:-1], {"choices": [], "usage": cached}))
    assert (trace.output_tokens, trace.reasoning_tokens) == (TOKENS, None)
    cached = {**usage, "prompt_tokens_details": {"cached_tokens": 40}}
    trace, _ = both(events(*CHUNKS[:-1], {"choices": [], "usage": cached}))
    assert (trace.output_tokens, trace.reasoning_tokens) == (TOKENS, None)


def test_counts_in_the_timings_of_llama_cpp_are_those_of_the_whole_prompt() -> None:
    timings = {"prompt_n": 4, "cache_n": 12, "predicted_n": TOKENS, "predicted_ms": 9.5}
    trace, _ = both(events(*CHUNKS[:-2], {**chunk({}, "stop"), "timings": timings}))
    counts = trace.prompt_tokens, trace.output_tokens, trace.cached_tokens
    assert counts == (16, TOKENS, 12)
    del timings["cache_n"]  # as of older ones
    trace, _ = both(events(*CHUNKS[:-2], {**chunk({}, "stop"), "timings": timings}))
    assert (trace.prompt_tokens, trace.output_tokens) == (None, TOKENS)


def test_output_is_the_rest_of_a_total() -> None:
    usage = {"prompt_tokens": 16, "total_tokens": 16 + TOKENS}
    trace, _ = both(events(*CHUNKS[:-1], {"choices": [], "usage": usage}))
    assert (trace.prompt_tokens, trace.output_tokens) == (16, TOKENS)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"stop_type": "limit"}, "length"),
        ({"stop_type": "word"}, "stop"),
        ({"stop_type": "eos"}, "eos"),
        ({"stopped_limit": True, "stop": True}, "length"),
        ({"stopped_limit": False, "stop": True}, "stop"),
        ({"done": True}, "stop"),
        ({"done": False}, None),
        ({"is_end": "true"}, None),
        ({"done": True, "done_reason": "length"}, "length"),
        ({"details": {"finish_reason": "length"}}, "length"),
        ({"delta": {"stop_reason": "end_turn"}}, "end_turn"),
        ({"meta_info": 3}, None),
    ],
)
def test_the_reason_of_an_end_stands_in_any_field(
    event: dict[str, Any], reason: str | None
) -> None:
    (choice,) = as_chunk({"content": "a", **event})["choices"]
    assert choice["finish_reason"] == reason


def test_the_prompt_of_anthropic_s_counts_is_with_its_cached_parts() -> None:
    counts = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5}
    delta = {"delta": {"stop_reason": "end_turn"}, "usage": {**counts, "output_tokens": 7}}
    usage = as_chunk(delta)["usage"]
    assert usage == {"prompt_tokens": 12, "completion_tokens": 7, "cached_tokens": 4}
    opened = {"type": "message_start", "message": {"usage": {**counts, "output_tokens": 1}}}
    assert as_chunk(opened)["usage"] == usage | {"completion_tokens": None}
    both = {**delta, "usage": {**delta["usage"], "prompt_tokens": 12}}  # a gateway's translation
    assert as_chunk(both).get("usage", both["usage"]) == both["usage"]


@pytest.mark.parametrize(
    "event",
    [
        {"candidates": ["blocked"]},
        {"type": "response.created", "response": {"status": "in_progress"}},
        {"type": "response.completed", "response": "r1"},
        {"type": "response.output_text.done", "text": "whole"},
        {"type": "response.output_text.delta", "delta": ""},
        {"type": "ping"},
    ],
)
def test_an_event_that_holds_no_part_of_an_answer_stays_as_it_is(event: dict[str, Any]) -> None:
    assert as_chunk(event) == event


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"", []),
        (b"<html>{}</html>", []),
        (b'{"a": "\xc3\xb6"}\n{"b": [1]} ', [b'{"a": "\xc3\xb6"}', b'{"b": [1]}']),
        (b"\xef\xbb\xbf[{},\n{}]", [b"{}", b"{}"]),
        (b'{} {"a', [b"{}", b'{"a']),
        (b'{"a', [b'{"a']),
        (b"{} oops\n", [b"{}", b"oops"]),
        (b" data: {}", [b"data: {}"]),
        (b"[" * 99999, []),
    ],
)
def test_objects_of_a_body(body: bytes, parts: list[bytes]) -> None:
    given = list(objects(body))
    assert [part for _, part in given] == (parts if parts != [b"data: {}"] else [])
    assert all(body[:end].endswith(part) for end, part in given if end < len(body))
