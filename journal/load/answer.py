"""From a recorded answer to a trace: what came when, and whether it counts.

An answer counts when it is HTTP 200 with at least one chunk that holds a token, a finish reason
of stop or length, usage, [DONE], and no error object anywhere. All else is an error, whatever
the server says.
"""

import itertools
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from journal.load.wire import Recording, events
from journal.records.request import Request, Trace
from journal.serve.engines.vllm.request_fields import DECODE_MS, PREFILL_MS, QUEUE_MS

_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its recorded answer, on the monotonic clock in s. `scheduled_s` None: it
    was to go when it went. `failure`: why the answer never came to its end; `timed_out`: that it
    was waited for in vain."""

    request: Request
    start_s: float
    scheduled_s: float | None = None
    end_s: float = 0.0
    recording: Recording
    failure: str | None = None
    timed_out: bool = False


class Reading:
    """Reads one exchange, a few events at a time, so that long answers hold nothing up."""

    def __init__(self, exchange: Exchange, origin_s: float) -> None:
        self._exchange = exchange
        self._origin_s = origin_s
        self._error: str | None = None
        self._done = False
        self._finish_reason: str | None = None
        self._prompt_tokens: int | None = None
        self._output_tokens: int | None = None
        self._cached_tokens: int | None = None
        self._times: dict[str, float | None] = {}
        self._texts: list[str] = []
        self._chunks: list[tuple[int, bool, int | None, int | None]] = []
        try:
            self._body, self._stamps, self._ends = exchange.recording.body()
        except ValueError as error:
            self._body, self._stamps, self._ends, self._error = b"", [], [], str(error)
        self._events = events(self._body, complete=exchange.recording.over)
        self._count = 0

    def advance(self, limit: int = sys.maxsize) -> bool:
        """Read up to `limit` events; True when there are no more."""
        before = self._count
        for end, name, data in itertools.islice(self._events, limit):
            self._count += 1
            if data.startswith(b"[DONE]"):
                self._done = True
            else:
                try:
                    self._event(end, name, _parsed(data))
                except _UNREADABLE as error:
                    self._fail(f"event {self._count} cannot be read ({error}): {_excerpt(data)}")
        return self._count - before < limit

    def _fail(self, reason: str) -> None:
        if self._error is None:
            self._error = reason

    def _event(self, end: int, name: bytes, event: dict[str, Any]) -> None:
        if event.get("error") is not None or event.get("object") == "error" or name == b"error":
            self._fail(f"an error in the stream: {_message(event)}")
            return
        if self._done:
            self._fail("the stream went on after [DONE]")
            return
        usage, choices = event.get("usage"), event.get("choices")
        if usage is None and choices is None:
            raise ValueError("neither choices nor usage")
        if usage is not None:
            self._take_usage(usage)
        if event.get("metrics") is not None:
            self._times = {name: _duration(ms) for name, ms in event["metrics"].items()}
        if choices:
            self._choice(end, choices[0], None if usage is None else self._output_tokens)

    def _take_usage(self, usage: dict[str, Any]) -> None:
        self._prompt_tokens = _count(usage["prompt_tokens"])
        self._output_tokens = _count(usage["completion_tokens"])
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        self._cached_tokens = None if cached is None else _count(cached)

    def _choice(self, end: int, choice: dict[str, Any], made: int | None) -> None:
        text, more = choice.get("text"), None  # more: content that is not text
        if text is None:
            delta = choice.get("delta") or {}
            thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
            text = (delta.get("content") or "") + thought
            more = delta.get("tool_calls")
            if delta.get("role") and not text:
                made = None  # the role alone is no token
        ids = choice.get("token_ids")
        held = None if ids is None else len(list(ids))
        if not isinstance(text, str):
            raise ValueError(f"{text!r:.40} is no text")
        self._texts.append(text)
        self._chunks.append((end, text != "" or bool(more or held), held, made))
        reason = choice.get("finish_reason")
        if reason is not None and self._finish_reason in (None, "stop", "length"):
            self._finish_reason = str(reason)

    @property
    def text(self) -> str:
        """What was said, once `advance` has said True."""
        return "".join(self._texts)

    def trace(self) -> Trace:
        """The trace, once `advance` has said True."""
        exchange, made = self._exchange, self._output_tokens
        request = exchange.request
        ends, tokens = self._with_tokens()
        error = self._verdict(bool(ends))
        short = made is not None and made < request.output_tokens
        start_s, origin_s = exchange.start_s, self._origin_s
        scheduled_s = start_s if exchange.scheduled_s is None else exchange.scheduled_s
        return Trace(
            index=request.index,
            warmup=request.warmup,
            scheduled_s=scheduled_s - origin_s,
            start_s=start_s - origin_s,
            end_s=exchange.end_s - origin_s,
            outcome="error" if error is not None else "short" if short else "ok",
            prompt_tokens_asked=request.prompt_tokens,
            output_tokens_asked=request.output_tokens,
            chunk_s=self._stamped(ends),
            chunk_tokens=tokens,
            prompt_tokens=self._prompt_tokens,
            output_tokens=made,
            cached_tokens=self._cached_tokens,
            output_chars=sum(map(len, self._texts)) if ends else None,
            finish_reason=self._finish_reason,
            status=exchange.recording.status,
            error=error,
            server_queue_s=self._times.get(QUEUE_MS),
            server_prefill_s=self._times.get(PREFILL_MS),
            server_decode_s=self._times.get(DECODE_MS),
        )

    def let_go(self) -> None:
        """Nothing more will be read: what was recorded may go."""
        self._exchange.recording.let_go()

    def _with_tokens(self) -> tuple[list[int], tuple[int, ...] | None]:
        """Where the chunks with content end, and the tokens in each where they are known: from
        running usage when every piece of text has it, else from token ids."""
        running = all(so_far is not None for _, full, _, so_far in self._chunks if full)
        ends: list[int] = []
        tokens: list[int | None] = []
        before = 0
        for end, full, held, so_far in self._chunks:
            if running and so_far is not None:
                more: int | None = so_far - before
                full = full or so_far > before
            else:
                more = held
            if full:
                ends.append(end)
                tokens.append(more)
                before = so_far if so_far is not None else before
        known = tuple(count for count in tokens if count is not None)
        complete = (
            len(known) == len(tokens)
            and sum(known) == self._output_tokens
            and min(known, default=0) >= 0
        )
        return ends, known if ends and complete else None

    def _stamped(self, ends: list[int]) -> tuple[float, ...]:
        """The time since the origin of the read in which each of `ends` came."""
        times, reads = [], iter(zip(self._ends, self._stamps, strict=True))
        read_end, stamp = -1, 0.0
        for end in ends:
            while read_end < end:
                read_end, stamp = next(reads)
            times.append(stamp - self._origin_s)
        return tuple(times)

    def _verdict(self, has_tokens: bool) -> str | None:
        """Why this answer does not count, or None."""
        recording = self._exchange.recording
        if recording.status is not None and recording.status != 200:
            return self._refusal(recording.status)
        if self._error is not None:
            return self._error
        failure = self._exchange.failure or recording.failure
        if failure is not None:
            return failure
        if self._count == 0:
            return f"no events in the answer: {_excerpt(self._body) or 'its body is empty'}"
        if not has_tokens:
            return "not one token in the stream"
        if self._finish_reason not in ("stop", "length"):
            return f"finish reason {self._finish_reason or 'missing'}, not stop or length"
        if self._output_tokens is None:
            return "no usage in the stream"
        return None if self._done else "no [DONE] at the end of the stream"

    def _refusal(self, status: int) -> str:
        if 300 <= status < 400:
            place = self._exchange.recording.headers.get(b"location", b"?").decode("latin-1")
            return f"HTTP {status}: redirects are not followed, give the address {place} itself"
        try:
            return f"HTTP {status}: {_message(_parsed(self._body))}"
        except (ValueError, AttributeError):
            return f"HTTP {status}: {_excerpt(self._body)}".rstrip(": ")


def read(exchange: Exchange, origin_s: float = 0.0) -> Trace:
    """The trace of an exchange, with times in s since `origin_s`."""
    reading = Reading(exchange, origin_s)
    reading.advance()
    return reading.trace()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = from_json(data)
    except ValueError:
        value = json.loads(data)  # slower, and the last word: it allows a lone surrogate
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no number of tokens")
    return value


def _duration(ms: Any) -> float | None:
    """Milliseconds as s; None for what is no duration."""
    known = isinstance(ms, int | float) and not isinstance(ms, bool) and 0 <= ms < math.inf
    return ms / 1e3 if known else None


def _message(event: dict[str, Any]) -> str:
    problem = event.get("error") or event
    if isinstance(problem, dict):
        problem = problem.get("message") or problem.get("detail") or problem
    return str(problem)[:300]


def _excerpt(data: bytes) -> str:
    text = " ".join(data[:400].decode("utf-8", "replace").split())
    return text if len(text) <= 120 else text[:120] + "..."
