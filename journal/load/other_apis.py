"""Events of other APIs in the form of OpenAI's chunks.

Some gateways pass the streams of their backends through, and some have a form of their own: those
of Anthropic, Bedrock, Cohere, Gemini, llama.cpp, Ollama, OpenAI's Responses, SGLang and TGI are
known here, and a bare text in a field. They are read where a stream has no choice at all.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

Fields = dict[str, Any]

_REASONS = (
    *("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason", "stop_type"),
)
_LLAMA_CPP = {"limit": "length", "word": "stop"}
# Fields that hold a text, or an object with one.
_TEXTS = (
    *("delta", "message", "token", "response", "text", "content", "generated_text"),
    *("output", "text_output", "answer"),
)
# Where counts stand: the object (empty: the event itself), its prompt tokens, its output tokens.
_COUNTS = (
    ("", "prompt_eval_count", "eval_count"),  # Ollama's
    ("", "tokens_evaluated", "tokens_predicted"),  # llama.cpp's
    ("details", "input_length", "generated_tokens"),  # TGI's
    ("meta_info", "prompt_tokens", "completion_tokens"),  # SGLang's
)
_LAST = ("done", "stop", "is_finished", "finished", "is_end")  # flags of the last event
_BETWEEN = b" \t\r\n,[]\x1e"  # what may stand between the objects of a body


def as_chunk(event: Fields) -> Fields:
    """An event without choices as a chunk with one, and with usage by OpenAI's names; itself where
    it holds no part of an answer that is known here."""
    kind = event.get("type")
    if isinstance(kind, str) and kind.startswith("response."):
        return _of_responses(kind, event)
    if event.get("object") == "response":
        return _of_responses("response.completed", {"response": event})
    for name, read in _BY_FIELD.items():
        if isinstance(event.get(name), dict | list) and event[name]:
            return read(event)
    return _of_any(event)


def _of_any(event: Fields) -> Fields:
    """The chunk of an event in which the text, the reason and the counts stand in any field."""
    usage, delta = _usage(event), _delta(event)
    reason = _reason(event)
    if delta is None and reason is None:
        return event if usage is None else {**event, "choices": [], "usage": usage}
    choice: Fields = {"delta": delta or {}, "finish_reason": reason}
    if isinstance(event.get("meta_info"), dict):  # SGLang's text is all that came so far
        choice = {"message": {"content": event.get("text")}, "finish_reason": reason}
    return {**event, "choices": [choice]} | ({} if usage is None else {"usage": usage})


def _delta(event: Fields) -> Fields | None:
    for name in _TEXTS:
        value = event.get(name)
        if isinstance(value, str) and value and name != "message":  # a message is news
            return {"content": value}
        if isinstance(value, dict):
            inner = value.get("message")  # Cohere's
            value = inner if isinstance(inner, dict) else value
            return _with_calls({} if value.get("special") else value)
    parts = event.get("content")  # of a whole answer
    return _with_calls({"content": parts}) if isinstance(parts, list) else None


def _with_calls(delta: Fields) -> Fields:
    """`delta` with Anthropic's calls of tools as OpenAI's."""
    if "partial_json" in delta:
        return {"tool_calls": [delta]}
    parts = delta.get("content")
    calls = [part for part in parts if _is_call(part)] if isinstance(parts, list) else []
    return {**delta, "tool_calls": calls} if calls else delta


def _is_call(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "tool_use"


def _reason(event: Fields) -> Any:
    """The finish reason in an event, or in an object of it; None where there is none."""
    within = (event.get(name) for name in ("delta", "details", "meta_info", "response_metadata"))
    for holder in (event, *(one for one in within if isinstance(one, dict))):
        for name in _REASONS:
            if reason := holder.get(name):
                return _LLAMA_CPP.get(str(reason), reason) if name == "stop_type" else reason
    if event.get("stopped_limit") is True:  # an older llama.cpp's
        return "length"
    return "stop" if any(event.get(name) is True for name in _LAST) else None


def _usage(event: Fields) -> Fields | None:
    """The counts of an event by OpenAI's names; None where it has none, or has them already where
    every stream may have them."""
    for place, prompt, output in _COUNTS:
        holder = event.get(place) if place else event
        if isinstance(holder, dict) and holder.get(output) is not None:
            return {"prompt_tokens": holder.get(prompt), "completion_tokens": holder[output]}
    own = event.get("usage")
    delta = event.get("delta")
    if own is None and isinstance(delta, dict) and isinstance(delta.get("usage"), dict):
        own = delta["usage"].get("tokens", delta["usage"])  # Cohere's
        return own if isinstance(own, dict) else None
    return _anthropic_counts(own) if isinstance(own, dict) and _is_anthropic(own) else None


def _is_anthropic(usage: Fields) -> bool:
    return "cache_read_input_tokens" in usage and "prompt_tokens" not in usage


def _anthropic_counts(usage: Fields) -> Fields:
    """Anthropic's counts, whose prompt is without what was read from its cache or written there."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = [usage[name] for name in parts if type(usage.get(name)) is int]
    return {
        "prompt_tokens": sum(counts) if type(usage.get("input_tokens")) is int else None,
        "completion_tokens": usage.get("output_tokens"),
        "cached_tokens": usage.get("cache_read_input_tokens"),
    }


def _of_start(event: Fields) -> Fields:
    """Anthropic's first event, whose output tokens are not yet those of the answer."""
    message = event["message"] if isinstance(event["message"], dict) else {}
    usage = message.get("usage")
    if event.get("type") != "message_start" or not isinstance(usage, dict):
        return _of_any(event)
    counts = _anthropic_counts(usage) | {"completion_tokens": None}
    return {**event, "choices": [], "usage": counts}


def _of_block(event: Fields) -> Fields:
    block = event["content_block"]
    return {**event, "choices": [{"delta": {"tool_calls": [block]}}]} if _is_call(block) else event


def _of_gemini(event: Fields) -> Fields:
    first = event["candidates"][0] if isinstance(event["candidates"], list) else None
    if not isinstance(first, dict):
        return event
    content = first.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    calls = [part for part in parts or () if isinstance(part, dict) and "functionCall" in part]
    choice = {
        "delta": {"content": parts, "tool_calls": calls},
        "finish_reason": first.get("finishReason"),
    }
    counts = event.get("usageMetadata")
    usage = _gemini_counts(counts) if isinstance(counts, dict) else None
    return {**event, "choices": [choice], "usage": usage}


def _gemini_counts(counts: Fields) -> Fields:
    """Gemini's counts, of which that of the answer is without its thoughts."""
    return {
        "prompt_tokens": counts.get("promptTokenCount"),
        "completion_tokens": counts.get("candidatesTokenCount"),
        "total_tokens": counts.get("totalTokenCount"),
        "reasoning_tokens": counts.get("thoughtsTokenCount"),
        "cached_tokens": counts.get("cachedContentTokenCount"),
    }


def _of_bedrock(event: Fields) -> Fields:
    delta, stop = event.get("contentBlockDelta"), event.get("messageStop")
    if isinstance(delta, dict):
        inner = delta.get("delta")
        return {**event, "choices": [{"delta": inner}]} if isinstance(inner, dict) else event
    reason = stop.get("stopReason") if isinstance(stop, dict) else None
    return {**event, "choices": [{"delta": {}, "finish_reason": reason}]}


def _of_wrapped(event: Fields) -> Fields:
    """A chunk in an object of a gateway's own, with the counts beside it."""
    for name in ("output", "choice"):
        inner = event.get(name)
        if isinstance(inner, dict) and "choices" in inner:
            return {**event, **inner}
        if name == "choice" and isinstance(inner, dict):
            return {**event, "choices": [inner]}
        if name == "output" and isinstance(inner, dict):
            return _of_any({**event, **inner, "output": None})
    return _of_any(event)


_DELTAS: dict[str, Callable[[str], Fields]] = {
    "output_text": lambda text: {"content": text},
    "reasoning_text": lambda text: {"reasoning": text},
    "reasoning_summary_text": lambda text: {"reasoning": text},
    "refusal": lambda text: {"refusal": text},
    "function_call_arguments": lambda text: {"tool_calls": [text]},
    "custom_tool_call_input": lambda text: {"tool_calls": [text]},
    "mcp_call_arguments": lambda text: {"tool_calls": [text]},
    "audio": lambda data: {"audio": {"data": data}},
}


def _of_responses(kind: str, event: Fields) -> Fields:
    """An event of OpenAI's Responses."""
    _, name, *last = kind.split(".")
    delta = event.get("delta")
    if last == ["delta"] and name in _DELTAS and isinstance(delta, str) and delta:
        return {"choices": [{"delta": _DELTAS[name](delta)}]}
    response = event.get("response")
    if name not in ("completed", "incomplete", "failed") or not isinstance(response, dict):
        return event
    reason = response.get("incomplete_details") or response.get("status", name)
    choice: Fields = {"finish_reason": reason}
    if not event.get("type"):  # a whole answer
        choice["delta"] = {"content": response.get("output")}
    problem = {"error": response["error"]} if response.get("error") else {}
    return {"choices": [choice], "usage": _responses_counts(response.get("usage")), **problem}


def _responses_counts(usage: Any) -> Fields | None:
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }


_BY_FIELD: dict[str, Callable[[Fields], Fields]] = {
    "candidates": _of_gemini,
    "contentBlockDelta": _of_bedrock,
    "messageStop": _of_bedrock,
    "content_block": _of_block,
    "choice": _of_wrapped,
    "output": _of_wrapped,
    "message": _of_start,
}


def objects(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The JSON objects in a body that is no stream of server-sent events, each with the offset at
    which it ends: one alone, one on each line, or a list of them; at last what is no object, such
    as one that was cut off. Nothing where the body begins with something else."""
    text, decoder = body.decode("latin-1"), json.JSONDecoder(strict=False)  # to keep the offsets
    begin = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    while True:
        begin = next((k for k in range(begin, len(body)) if body[k] not in _BETWEEN), len(body))
        if body.startswith(b"data:", begin) and body[begin - 1 : begin] in (b"", b"\n", b"\r"):
            begin += 5
            continue
        if begin == len(body):
            return
        try:
            _, end = decoder.raw_decode(text, begin) if body[begin] == ord("{") else (None, begin)
        except (ValueError, RecursionError):
            end = begin
        if end == begin:
            break
        yield end, body[begin:end]
        begin = end
    if body[:begin].strip(_BETWEEN) or body[begin] == ord("{"):
        yield len(body), body[begin:].rstrip(_BETWEEN)
