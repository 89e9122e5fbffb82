"""Plain events: those that bring a piece of text and nothing that needs a closer look.

Nearly all events of a load are plain. They are decoded by their type, in a fraction of the time
that an event of any form takes; an event with another field, or another value in one of these
fields, is not plain, and `stream.py` reads it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

_TRIES = 8  # events in a row that are not plain, after which a stream is taken to have none


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: Literal["assistant"] | None = None
    refusal: None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int = 0
    text: str = ""
    delta: _Delta | None = None
    token_ids: list[int] | None = None
    finish_reason: None = None
    stop_reason: None = None
    logprobs: Any = None
    prompt_logprobs: None = None
    prompt_token_ids: list[int] | None = None


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    choices: tuple[_Choice]
    object: Literal["text_completion", "chat.completion.chunk"]
    id: str = ""
    created: float = 0.0
    model: str = ""
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    prompt_token_ids: list[int] | None = None


_reader = msgspec.json.Decoder(_Event)
_read, _read_lines = _reader.decode, _reader.decode_lines
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

Ids = list[int] | None
Counts = dict[str, Any] | None


class PlainEvents:
    """The reader of a stream's plain events."""

    def __init__(self) -> None:
        self._tries_left = _TRIES

    def take(self, data: bytes) -> tuple[str, Ids, Counts] | None:
        """The text (never empty) in an event's `data`, the ids of its tokens and its usage (None:
        not given); None where the event is not plain."""
        if not self._tries_left:
            return None
        try:
            event = _read(data)
        except _UNREADABLE:
            self._tries_left -= 1
            return None
        (choice,) = event.choices
        text = choice.text if choice.delta is None else choice.delta.content
        if not text:
            return None
        self._tries_left = _TRIES
        return text, choice.token_ids, event.usage

    def take_all(self, lines: Sequence[bytes]) -> tuple[list[str], list[Ids], list[Counts]] | None:
        """The texts, the ids and the usage of events whose data is each one of `lines`, read at
        once; None where one of them is not plain, or has neither text nor ids."""
        text = b"\n".join(lines)
        if not self._tries_left or text.count(b"\n") >= len(lines):  # data of several lines
            return None
        try:
            events = _read_lines(text)
        except _UNREADABLE:
            return None
        if len(events) < len(lines):  # empty data
            return None
        choices = [choice for event in events for choice in event.choices]
        texts = [one.text if one.delta is None else one.delta.content for one in choices]
        ids = [one.token_ids for one in choices]
        if not all(texts) and not all(map(_counts, choices, texts)):
            return None
        return texts, ids, [event.usage for event in events]


def _counts(choice: _Choice, text: str) -> bool:
    """Whether a choice of this text holds a token: a role alone is none."""
    return bool(text or (choice.token_ids and not (choice.delta and choice.delta.role)))
