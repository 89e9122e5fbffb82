"""The text, the thoughts and the tool calls in the fields of a delta, a message or a choice, in any
of the forms that providers give them."""

from functools import lru_cache
from typing import Any

# Fields of gateways that hold a whole chunk; gRPC's is called "result".
_WRAPPERS = ("result", "data", "response", "chunk", "payload", "body", "message", "event")
# Other fields of a delta that may hold the answer, read where `content` holds no text.
_ANSWERS = ("text", "refusal", "output_text", "answer", "response", "audio")
# Fields of a part that hold its words; providers differ.
_WORDS = (
    *("text", "content", "value", "thinking", "reasoning", "reasoning_content", "thought"),
    *("summary", "refusal", "transcript", "output_text", "parts"),
)
# Fields that say of which kind the content is, and flags that say that it is thoughts.
_KINDS = ("type", "role", "phase", "channel")
_FLAGS = ("thought", "thinking", "reasoning", "is_thinking", "is_thought", "is_reasoning")
# A field with one of these in its name says something about thoughts, and holds none.
_NO_WORDS = (
    *("signature", "token", "finish", "stop", "encrypted", "effort", "_id", "format", "status"),
    *("_mode", "_level", "budget", "_type", "_time", "duration", "enabled", "_state"),
)


def unwrapped(event: dict[str, Any]) -> dict[str, Any]:
    """The chunk that a gateway wrapped into an object of its own, with what stands beside it; else
    the event itself."""
    for name in _WRAPPERS:
        inner = event.get(name)
        if isinstance(inner, dict) and "choices" in inner:
            return {**event, **inner}
    return event


def first_choice(choices: Any) -> dict[str, Any] | None:
    """The first choice that is not empty; None where the server sent a placeholder."""
    if isinstance(choices, list):
        choices = choices[0] or next(filter(None, choices), None)
    elif isinstance(choices, dict) and "0" in choices:  # by their numbers
        choices = choices["0"]
    return choices if isinstance(choices, dict) else None


def is_shown(fields: dict[str, Any]) -> bool:
    """Whether a delta or message holds sound or pictures, which are of the answer without being
    text."""
    sound, parts = fields.get("audio"), fields.get("content")
    if fields.get("images") or (isinstance(sound, dict) and sound.get("data")):
        return True
    kinds = (
        [part.get("type") for part in parts if isinstance(part, dict)]
        if type(parts) is list
        else []
    )
    return any(isinstance(kind, str) and ("image" in kind or "audio" in kind) for kind in kinds)


def parts_of(fields: dict[str, Any], content: Any) -> tuple[str, str, int]:
    """The text, the thoughts and the number of tool-call deltas in a delta, message or choice."""
    text, thought = _content(content) if content else ("", "")
    if text and _marks_thoughts(fields):
        text, thought = "", thought + text
    if not text:
        for key in _ANSWERS:
            if value := fields.get(key):
                text, _ = _content(value)
                break
    if not thought:
        thought = _thoughts(fields)
        if not thought and isinstance(own := fields.get("provider_specific_fields"), dict):
            thought = _thoughts(own)  # LiteLLM's place for what is a provider's own
    calls = fields.get("tool_calls") or fields.get("function_call")
    return text, thought, sum(map(bool, calls)) if isinstance(calls, list) else bool(calls)


def _thoughts(fields: dict[str, Any]) -> str:
    carried = (_words(fields[key]) for key in fields if _carries_thoughts(key))
    return next(filter(None, carried), "")


def _content(value: Any) -> tuple[str, str]:
    """The text and the thoughts in content of any form: a text, a part, or a list of both. Raises
    ValueError for other values."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, dict):
        kind = value.get("type")
        thinks = value.get("thought") is True or (isinstance(kind, str) and _carries_thoughts(kind))
        return ("", _words(value)) if thinks else (_words(value), "")
    if isinstance(value, list):
        parts = [_content(part) for part in value if part]
        return "".join(text for text, _ in parts), "".join(thought for _, thought in parts)
    if isinstance(value, bool):
        return "", ""
    raise ValueError(f"{value!r:.40} is not text")


def _marks_thoughts(fields: dict[str, Any]) -> bool:
    """Whether other fields of a delta or message say that its content is thoughts."""
    for name in _KINDS:
        kind = fields.get(name)
        if kind and isinstance(kind, str) and (kind == "analysis" or _carries_thoughts(kind)):
            return True
    if any(fields.get(name) is True for name in _FLAGS):
        return True
    own = fields.get("extra_content")
    google = own.get("google") if isinstance(own, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_words, value))
    if isinstance(value, dict):
        return next((words for key in _WORDS if (words := _words(value.get(key)))), "")
    return ""


@lru_cache(maxsize=256)
def _carries_thoughts(name: str) -> bool:
    """Whether a field of this name, or a part of this type, holds thoughts as text."""
    name = name.lower()
    thinks = "reason" in name or "think" in name or "thought" in name
    return thinks and not any(word in name for word in _NO_WORDS)


@lru_cache(maxsize=256)
def is_plain(names: tuple[str, ...]) -> bool:
    """Whether none of these fields holds thoughts or parts of tool calls."""
    return not any(map(_carries_thoughts, names)) and "tool_calls" not in names
