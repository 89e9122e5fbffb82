"""Events of a streamed answer: the part that each adds, and their sum.

`run`, `ask` and `chat` read streams here. An event may hold text of the answer, thoughts, parts
of tool calls, usage, a finish reason or an error; an event without any of these is passed over.
"""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from journal.load.error_words import blames, is_error, message
from journal.load.other_apis import as_chunk, objects
from journal.load.parts import first_choice, is_plain, is_shown, parts_of, unwrapped
from journal.load.plain_events import PlainEvents
from journal.load.reasons import LONGEST, TOOL_REASONS, later_reason
from journal.load.thinking import Thinking
from journal.load.usage import Usage, usage_elsewhere
from journal.load.wire import events, is_done, without_names
from journal.redaction import hidden

_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)

ERROR_OBJECT = "an error in the stream: "  # the server's own words follow
# Other fields of a choice that hold a finish reason, where `finish_reason` holds none.
_OTHER_REASONS = ("stop_reason", "finish_details", "native_finish_reason", "done_reason")


class Chunk(NamedTuple):
    """One event's part of the answer. `full`: it holds a token of any kind; its text, its
    thoughts, the number of its tool-call deltas; `held`: the tokens in it, by its token ids;
    `made`: the tokens up to and with it, by its running usage (both None: not given)."""

    full: bool
    text: str
    thought: str
    tool_calls: int
    held: int | None
    made: int | None


class Stream:
    """The sum of the events that `take` has received, complete after `end`.

    `error` is the first one that an event reports or that made an event unreadable. `finish_reason`
    is "stop", "length" or another word of the server. `times` are the server's own, in s, by its
    names (`*_ms`). `texts` and `thoughts` are the pieces of the answer and of the thoughts before
    it; `answer_at` is the number of the chunk with which the answer itself began, from 0 (None: it
    did not). `moved`: the last text showed that all before it was thoughts, among which it stands
    now. `ids` are those of its tokens, where the server gives them. `done`: [DONE] came; `refused`:
    text came as a refusal; `shown`: sound or pictures came; `odd`: the last object that held no
    part of the answer and no choice, in which a server may say in its own way what went wrong.
    `otherwise`: events of other APIs are read too."""

    def __init__(self, *, otherwise: bool = False) -> None:
        self.count = 0
        self.error: str | None = None
        self.done = False
        self.refused = False
        self.shown = False
        self.odd = b""
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.times: dict[str, float | None] = {}
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.tool_calls = 0
        self.answer_at: int | None = None
        self.moved = False
        self.ids: list[int] = []
        self._contents: list[str] = []  # the text as it came, with its tags
        self._otherwise = otherwise
        self._chunks = 0
        self._plain = PlainEvents()
        self._thinking = Thinking()
        self._held_at: int | None = None  # the chunk with which the held text began
        self._by_messages = False  # all of the answer came in messages, none in deltas

    @property
    def text(self) -> str:
        """The answer, without its thoughts."""
        return "".join(self.texts)

    @property
    def has_choice(self) -> bool:
        """Whether an event held a choice, as those of OpenAI's API do."""
        return self._chunks > 0

    @property
    def has_begun(self) -> bool:
        """Whether a part of an answer came."""
        return bool(self.texts or self.thoughts or self.tool_calls or self.shown or self.ids)

    @property
    def ended_well(self) -> bool:
        """Whether the answer has a finish reason that counts: it ended by itself, at the length
        that was asked for, or with a call of a tool."""
        tools = self.finish_reason in TOOL_REASONS and self.tool_calls > 0
        return self.finish_reason in ("stop", "length") or tools

    def again(self, body: bytes) -> list[tuple[int, bytes, bytes]]:
        """The events of `body`, which this stream has read, for another that reads them otherwise:
        of other APIs, or JSON objects without events. Empty where that gives nothing new."""
        if self.has_choice or (self.error or "").startswith(ERROR_OBJECT):
            return []
        if self.count > 1:
            return list(events(body))
        return [(end, b"", data) for end, data in objects(body)]

    @property
    def own_words(self) -> str:
        """What the server may have said of an answer that is not whole, in brackets; mostly
        empty."""
        return f" (it sent {excerpt(self.odd)})" if self.odd else ""

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Add the event called `name` (mostly empty); return its part of the answer, or None
        where it has no part."""
        self.count += 1
        if is_done(data):
            self.done = True
            return None
        try:
            if not name and (plain := self._plain.take(data)) is not None:
                text, ids, usage = plain
                made = self.usage.take(usage) if usage else None
                part = self._part(text, "", 0, ids, made)
                self._chunks += 1
                return part
            event = parsed(data)
            if event is None or "choices" not in event:
                event = self._translated(event, data)
            if name == b"error":
                self._fail(ERROR_OBJECT + (excerpt(data) if event is None else message(event)))
            elif event is not None:
                chunk = self._event(event)
                self._chunks += chunk is not None
                if chunk is None and event and "choices" not in event and "usage" not in event:
                    self.odd = data
                return chunk
        except _UNREADABLE as error:
            self._fail(f"event {self.count} {_unread(error)}: {excerpt(data)}")
        return None

    def take_plain(
        self, lines: Sequence[bytes]
    ) -> tuple[list[int | None], list[int | None]] | None:
        """Add events whose data is each one of `lines`, in a fraction of the time that `take` needs
        for them one by one; return what Chunk calls `held` and `made` of each (all are `full`).
        None, and nothing is added, where one of them is not plain."""
        plain = None if self.done else self._plain.take_all(lines)
        if plain is None:
            return None
        texts, ids, usage = plain
        held = [None if some is None else len(some) for some in ids]
        made = [self.usage.take(one) if one else None for one in usage]
        for count in made if any(usage) else (None,):
            self.usage.took_token(count)
        self.ids += itertools.chain.from_iterable(filter(None, ids))
        if self.answer_at is not None and self._thinking.follows("".join(texts)):
            self.texts += filter(None, texts)
            self._contents += filter(None, texts)
            self.moved = False
            self._chunks += len(texts)
        else:
            for text in texts:
                self._add(*(self._divided(text) if text else ("", "")))
                self._chunks += 1
        self.count += len(lines)
        return held, made

    def end(self) -> tuple[str, str]:
        """Take in that no event follows; return the answer and the thoughts that were held."""
        text, thought = self._thinking.end()
        self._add(text, thought)
        return text, thought

    def _translated(self, event: dict[str, Any] | None, data: bytes) -> dict[str, Any] | None:
        """An event without choices in the form of a chunk, where it is one in a form that is
        read."""
        if event is None:
            event = _unquoted(data)
        if event is None or "choices" in (event := unwrapped(event)) or not self._otherwise:
            return event
        return as_chunk(event)

    def _fail(self, reason: str) -> None:
        if self.error is None:
            self.error = hidden(reason)

    def _event(self, event: dict[str, Any]) -> Chunk | None:
        choices = event.get("choices")
        if ("error" in event or not choices or event.get("object") == "error") and is_error(event):
            self._fail(ERROR_OBJECT + message(event))
            return None
        choice = first_choice(choices) if choices else None
        usage, made = event.get("usage"), None
        if not isinstance(usage, dict) or not usage:
            usage = usage_elsewhere(event, choice)
        if isinstance(usage, dict) and usage:
            made = self.usage.take(usage)
        if "metrics" in event and isinstance(event["metrics"], dict):
            self.times = {name: _duration_s(ms) for name, ms in event["metrics"].items()}
        if choice is None:
            if "finish_reason" in event:
                self.finish_reason = later_reason(event["finish_reason"], self.finish_reason)
            return None
        if "error" in choice and blames(choice["error"]):
            self._fail(ERROR_OBJECT + message(choice))
        return self._choice(choice, made)

    def _choice(self, choice: dict[str, Any], made: int | None) -> Chunk | None:
        delta = choice.get("delta")
        reason = choice.get("finish_reason")
        if reason:
            self.finish_reason = later_reason(reason, self.finish_reason)
        else:
            self._take_other_reason(choice, delta)
        if type(delta) is dict and "error" in delta and blames(delta["error"]):
            self._fail(ERROR_OBJECT + message(delta))
        content, thought, tool_calls = self._parts(choice, delta)
        ids, counted, shown = choice.get("token_ids"), made, False
        if type(delta) is dict:
            if ids is None:
                ids = delta.get("token_ids")
            if delta.get("role") and not content and not thought:
                made = None  # a role alone is not a token
            shown = is_shown(delta)
        part = self._part(content, thought, tool_calls, ids, counted, shown=shown)
        return part._replace(made=made)

    def _part(
        self,
        content: str,
        thought: str,
        tool_calls: int,
        ids: Iterable[int] | None,
        made: int | None,
        *,
        shown: bool = False,
    ) -> Chunk:
        """Add one event's part of the answer."""
        held = None if ids is None else len(list(ids))
        if ids:
            self.ids += ids
        full = bool(content or thought or tool_calls or held)
        if full or shown:
            if self.done:
                self._fail("the stream went on after [DONE]")
            self.usage.took_token(made)
            text = content
            if content:
                text, tagged = self._divided(content)
                thought += tagged
            self._add(text, thought, tool_calls, shown=shown and not full)
            return Chunk(True, text, thought, tool_calls, held, made)
        return Chunk(False, content, thought, tool_calls, held, made)

    def _divided(self, content: str) -> tuple[str, str]:
        """The answer and the thoughts that `content` adds, without the tags of thoughts."""
        thinking, held = self._thinking, bool(self._thinking.held)
        self._contents.append(content)
        text, thought = thinking.take(content)
        self.moved = thinking.began_before is not None
        if thinking.began_before is not None:
            before = self.text[: len(self.text) - thinking.began_before]
            self.thoughts += filter(None, [before])
            self.texts, self.answer_at = [], None
        if thinking.found:
            self._held_at = None
        elif thinking.held and not held:
            self._held_at = self._chunks
        return text, thought

    def _add(self, text: str, thought: str, tool_calls: int = 0, *, shown: bool = False) -> None:
        self.shown = self.shown or shown
        if text or tool_calls or shown:
            if self.answer_at is None:
                self.answer_at = self._chunks if self._held_at is None else self._held_at
            self.tool_calls += tool_calls
            if text:
                self.texts.append(text)
        if thought:
            self.thoughts.append(thought)
        if not self._thinking.held:
            self._held_at = None

    def _parts(self, choice: dict[str, Any], delta: Any) -> tuple[str, str, int]:
        """The text, the thoughts and the number of tool-call deltas in a choice."""
        if delta is None:
            text = choice.get("text")
            if type(text) is str and text and is_plain(tuple(choice)):
                return text, "", 0
        elif isinstance(delta, dict) and delta:
            content = delta.get("content")
            if type(content) is str and content and len(delta) == 1:
                return content, "", 0
            parts = parts_of(delta, content)
            self.refused = self.refused or bool(delta.get("refusal"))
            if any(parts):
                return parts
        elif type(delta) is str and delta:
            return delta, "", 0
        parts = parts_of(choice, choice.get("content"))
        whole = choice.get("message")
        if any(parts) or not whole:
            return parts
        if not isinstance(whole, dict):
            raise ValueError(f"{whole!r:.40} is not a message")
        self.refused = self.refused or bool(whole.get("refusal"))
        text, thought, tool_calls = parts_of(whole, whole.get("content"))
        pieces = self._by_messages or not (self._contents or self.thoughts or self.tool_calls)
        self._by_messages = pieces
        return (
            _new_part(text, self._contents, pieces=pieces),
            _new_part(thought, self.thoughts, pieces=pieces),
            tool_calls if pieces else 0,
        )

    def _take_other_reason(self, choice: dict[str, Any], delta: Any) -> None:
        """Take a finish reason from another field than the API's, where the words are known."""
        if type(delta) is dict and "finish_reason" in delta:
            self.finish_reason = later_reason(delta["finish_reason"], self.finish_reason)
        for key in _OTHER_REASONS:
            if key in choice and self.finish_reason is None:
                reason = later_reason(choice[key], None)
                if reason in ("stop", "length"):
                    self.finish_reason = reason


def stream_of(body: bytes) -> Stream:
    """The sum of a whole body, in whichever form it came."""
    stream = Stream()
    for _, name, data in events(body):
        stream.take(name, data)
    if again := stream.again(body):
        stream = Stream(otherwise=True)
        for _, name, data in again:
            stream.take(name, data)
    stream.end()
    return stream


def parsed(data: bytes) -> dict[str, Any] | None:
    """The data of an event as a JSON object; None for data of another form, which holds no token.
    Raises ValueError for a damaged object."""
    try:
        value = from_json(data)
    except ValueError:
        text = without_names(data).decode("utf-8", "replace")
        if not text.lstrip().startswith("{") and '"choices"' not in text:
            return None
        value = json.loads(text)  # slower, and decides: it accepts a lone surrogate
    return value if isinstance(value, dict) else None


def _unquoted(data: bytes) -> dict[str, Any] | None:
    """The object that a gateway wrote as a JSON text or into a list; None for other data."""
    try:
        value = from_json(data)
    except ValueError:
        return None
    if isinstance(value, list) and value:
        return value[0] if isinstance(value[0], dict) else None
    return parsed(value.encode("utf-8", "replace")) if isinstance(value, str) else None


def _unread(error: Exception) -> str:
    """Why an event was not read: what was wrong with it, or what this program does not read."""
    if isinstance(error, RecursionError):
        return "is nested deeper than is read"
    if "digits" in str(error) and "limit" in str(error):
        return "holds a number of more digits than are read"
    return f"cannot be read ({str(error)[:LONGEST]})"


def excerpt(data: bytes) -> str:
    """The beginning of a server's bytes as text on one line, up to 120 characters."""
    text = " ".join(hidden(data[:LONGEST].decode("utf-8", "replace")).split())
    return text if len(text) <= 120 else text[:120] + "..."


def _new_part(text: str, before: list[str], *, pieces: bool) -> str:
    """The part of a message that is new. Some servers send the answer so far in each message, some
    repeat all that their deltas brought, and some send messages that are `pieces`."""
    so_far = "".join(before)
    if text.startswith(so_far):
        return text[len(so_far) :]
    return text if pieces else ""


def _duration_s(ms: Any) -> float | None:
    """Milliseconds as s; None for a value that is not a duration."""
    known = isinstance(ms, int | float) and not isinstance(ms, bool) and 0 <= ms < math.inf
    return ms / 1e3 if known else None
