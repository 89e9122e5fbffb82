"""Traces from recorded answers: when each chunk came, and whether the answer counts.

An answer counts by the sum of its stream: HTTP 200 (or another 2xx), a body that is complete by
its own framing, at least one chunk that holds a token, a finish reason that means stop or length,
and no error object anywhere. Usage and [DONE] may be missing, and a doubt says so; a body that ends
only with its connection needs one of the two. Every other answer is an error.
"""

import hashlib
import itertools
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from journal.load.error_words import message
from journal.load.stream import Stream, excerpt, parsed
from journal.load.wire import Recording, events
from journal.records.request import Outcome, Request, Trace
from journal.redaction import shown_url
from journal.serve.engines.vllm.request_fields import DECODE_MS, PREFILL_MS, QUEUE_MS

# Events of a stream that are seldom plain: one with a role, and those with the finish reason, the
# usage and [DONE].
FIRST, LAST = 1, 3


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its recorded answer, times on the monotonic clock in s. `scheduled_s` is None
    in a closed loop: the request was due when it was sent. `failure`: why the answer never ended;
    `timed_out`: it did not end within the timeout; `abandoned`: its user left before;
    `reconnected`: the request was sent a second time, on a fresh connection; `connect_s`: what
    opening a connection for it took, None where a kept one carried it; `on_read` receives the
    answer and its trace once they are read."""

    request: Request
    start_s: float
    scheduled_s: float | None = None
    end_s: float = 0.0
    recording: Recording
    failure: str | None = None
    timed_out: bool = False
    abandoned: bool = False
    reconnected: bool = False
    connect_s: float | None = None
    on_read: "Callable[[AnswerReader, Trace], None] | None" = None


class AnswerReader:
    """The reader of one exchange, a few events at a time, so that a long answer delays nothing."""

    def __init__(
        self,
        exchange: Exchange,
        origin_s: float,
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        self.exchange = exchange
        self._count_tokens = count_tokens  # of a text; None: no tokenizer is at hand
        self._origin_s = origin_s
        self._error: str | None = None
        self._stream = Stream()
        self._whole = False  # it was not streamed
        self._otherwise = False  # it is read a second time
        # Of each chunk: the offset at which it ends, and what Chunk calls `full`, `held`, `made`.
        self._chunks: list[tuple[int, bool, int | None, int | None]] = []
        try:
            self._body, self._stamps, self._ends = exchange.recording.body()
        except ValueError as error:
            self._body, self._stamps, self._ends, self._error = b"", [], [], str(error)
        self._events = events(self._body, complete=exchange.recording.over)
        self._counted = False  # a chunk says how many tokens it holds, or how many were made
        self._ahead: list[tuple[int, bytes, bytes]] = []  # up to LAST events, not yet taken

    def advance(self, limit: int = sys.maxsize) -> bool:
        """Read up to `limit` events; True when there are no more."""
        more = list(itertools.islice(self._events, limit))
        part, over = self._ahead + more, len(more) < limit
        first = 0 if self._stream.count else FIRST
        last = max(first, len(part) - LAST)
        self._take(part[:first])
        if not self._take_plain(part[first:last]):
            self._take(part[first:last])
        self._ahead = part[last:]
        if not over:
            return False
        self._take(self._ahead)
        self._ahead = []
        if not (self._stream.has_choice or self._otherwise) and self._begins_again():
            return self.advance(limit)
        self._stream.end()
        return True

    def _take(self, part: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Take events one by one."""
        for end, name, data in part:
            chunk = self._stream.take(name, data)
            if chunk is not None:
                self._chunks.append((end, chunk.full, chunk.held, chunk.made))
                self._counted = self._counted or not (chunk.held is chunk.made is None)

    def _take_plain(self, part: Sequence[tuple[int, bytes, bytes]]) -> bool:
        """Take events at once, where all of them are plain; else return False, and they have yet to
        be taken."""
        if not part:
            return True
        ends, names, lines = zip(*part, strict=True)
        counts = None if any(names) else self._stream.take_plain(lines)
        if counts is None:
            return False
        self._chunks += zip(ends, itertools.repeat(True), *counts)
        self._counted = self._counted or any(some.count(None) < len(some) for some in counts)
        return True

    def _begins_again(self) -> bool:
        """Begin to read the body as one of another form, where it can be: of another API, as JSON
        lines, or as one object, which the server did not stream although a stream was requested.
        Returns whether it can."""
        recording, self._otherwise = self.exchange.recording, True
        again = self._stream.again(self._body) if recording.over else []
        if not again or not _is_good(recording.status):
            return False
        self._whole = self._stream.count == 0 and len(again) == 1
        self._stream, self._events = Stream(otherwise=True), iter(again)
        return True

    @property
    def text(self) -> str:
        """The answer, without thoughts, once `advance` has returned True."""
        return self._stream.text

    @property
    def uncounted(self) -> str:
        """The thoughts and the text of an answer whose tokens the server did not count; empty where
        it did."""
        stream = self._stream
        known = stream.usage.output_tokens is not None
        return "" if known else "".join((*stream.thoughts, *stream.texts))

    @property
    def token_ids(self) -> list[int]:
        """The ids of the tokens of the answer, thoughts among them; empty where the server gives
        none."""
        return self._stream.ids

    def trace(self) -> Trace:
        """The trace, once `advance` has returned True; times in s since the origin."""
        exchange, made = self.exchange, self._stream.usage.output_tokens
        request = exchange.request
        ends, tokens = self._with_tokens()
        counted_alone = self._otherwise and not self._whole and not self._stream.has_begun
        error = None if exchange.abandoned else self._verdict(bool(ends) and not counted_alone)
        count = sum(tokens) if made is None and tokens is not None else made
        few = count is not None and count < request.output_tokens
        short = few and not request.natural_end
        start_s, origin_s = exchange.start_s, self._origin_s
        scheduled_s = start_s if exchange.scheduled_s is None else exchange.scheduled_s
        return Trace(
            index=request.index,
            warmup=request.warmup,
            scheduled_s=scheduled_s - origin_s,
            start_s=start_s - origin_s,
            end_s=exchange.end_s - origin_s,
            outcome=_outcome(exchange, error, short=short),
            prompt_tokens_asked=request.prompt_tokens,
            output_tokens_asked=request.output_tokens,
            chunk_s=self._stamped(ends),
            chunk_tokens=tokens,
            status=exchange.recording.status,
            error=error,
            ttfo_s=self._ttfo_s(ends, scheduled_s),
            timed_out=exchange.timed_out or exchange.recording.left_open,
            reconnected=exchange.reconnected,
            connect_s=exchange.connect_s,
            turn=request.turn,
            sent_sha256=body_hash(request),
            **self._of_stream(bool(ends)),
        )

    def _of_stream(self, has_tokens: bool) -> dict[str, Any]:
        """The fields of a trace that the stream itself gives, by name. Without a token, the
        fields that count tokens and chunks are left out: they are not known."""
        stream = self._stream
        counted: dict[str, Any] = {
            "output_chars": sum(map(len, stream.texts + stream.thoughts)),
            "reasoning_chunks": len(stream.thoughts),
            "tool_call_deltas": stream.tool_calls,
            "done": None if self._whole else stream.done,
            "refused": stream.refused,
        }
        if has_tokens and self._count_tokens is not None and self.uncounted:
            counted["counted_tokens"] = self._count_tokens(self.uncounted)
        return {
            "prompt_tokens": stream.usage.prompt_tokens,
            "output_tokens": stream.usage.output_tokens,
            "cached_tokens": stream.usage.cached_tokens,
            "reasoning_tokens": stream.usage.reasoning_tokens,
            "finish_reason": stream.finish_reason,
            "server_queue_s": stream.times.get(QUEUE_MS),
            "server_prefill_s": stream.times.get(PREFILL_MS),
            "server_decode_s": stream.times.get(DECODE_MS),
            **(counted if has_tokens else {}),
        }

    def _ttfo_s(self, ends: list[int], scheduled_s: float) -> float | None:
        """The time in s from `scheduled_s` to the first chunk of the answer itself. Where the
        stream has no thoughts in words, that is the first chunk with a token."""
        if not self._stream.thoughts:
            first = ends[:1]
        else:
            at = self._stream.answer_at
            first = [] if at is None else [self._chunks[at][0]]
        return self._stamped(first, scheduled_s)[0] if first else None

    def release(self) -> None:
        """Free the recording; nothing can be read after that."""
        self.exchange.recording.release()

    def _with_tokens(self) -> tuple[list[int], tuple[int, ...] | None]:
        """The offsets in the body at which chunks with content end, and the tokens in each chunk
        (None: not known): from running usage when every piece of text has it, else from token
        ids."""
        if not self._counted:
            return [end for end, full, _, _ in self._chunks if full], None
        running = self._stream.usage.runs and all(
            made is not None for _, full, _, made in self._chunks if full
        )
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
            and self._stream.usage.output_tokens in (sum(known), None)
            and min(known, default=0) >= 0
        )
        return ends, known if ends and complete else None

    def _stamped(self, ends: list[int], since_s: float | None = None) -> tuple[float, ...]:
        """The time in s of the read that brought each offset of `ends`, since the origin or
        `since_s`."""
        origin_s = self._origin_s if since_s is None else since_s
        first, alone = bisect_left(self._ends, ends[0]) if ends else 0, ends[:-1]
        if alone != self._ends[first : first + len(alone)]:  # a read brought several chunks
            alone = []
        reads = map(bisect_left, itertools.repeat(self._ends), ends[len(alone) :])
        stamps = self._stamps[first : first + len(alone)]
        stamps += [self._stamps[read] for read in reads]
        return tuple([at_s - origin_s for at_s in stamps])

    def _verdict(self, has_tokens: bool) -> str | None:
        """The reason why this answer does not count; None where it counts."""
        recording = self.exchange.recording
        if recording.status is not None and not _is_good(recording.status):
            return self._refusal(recording.status)
        stream, failure = self._stream, self.exchange.failure or recording.failure
        if self._error is not None or stream.error is not None:
            return self._error or stream.error
        if failure is not None:
            return failure
        if stream.count == 0:
            return f"no events in the answer: {excerpt(self._body) or 'its body is empty'}"
        if not has_tokens:
            return f"not one token in the stream{stream.own_words}"
        if not stream.ended_well:
            reason = stream.finish_reason or f"missing{stream.own_words}"
            return f"finish reason {reason}, not stop or length"
        if not (recording.framed or stream.done or stream.usage.output_tokens is not None):
            return "the connection ended with neither usage nor [DONE] before"
        return None

    def _refusal(self, status: int) -> str:
        if 300 <= status < 400:
            location = self.exchange.recording.headers.get(b"location", b"elsewhere")
            place = shown_url(excerpt(location))
            return f"HTTP {status}: redirects are not followed in a run (to {place})"
        try:
            refusal = parsed(self._body)
            reason = excerpt(self._body) if refusal is None else message(refusal)
        except (ValueError, RecursionError):
            reason = excerpt(self._body)
        return f"HTTP {status}: {reason}".rstrip(": ")


def _is_good(status: int | None) -> bool:
    """Whether an HTTP status is of an answer: 200, or another 2xx, which some gateways give."""
    return status is not None and 200 <= status < 300


def _outcome(exchange: Exchange, error: str | None, *, short: bool) -> Outcome:
    if exchange.abandoned:
        return "abandoned"
    if error is not None:
        return "error"
    return "short" if short else "ok"


def body_hash(request: Request) -> str | None:
    """The SHA-256, in hex, of a body that was made during the run; None where the plan has it."""
    if request.turn is None or request.turn == 1:
        return None
    return hashlib.sha256(request.content).hexdigest()


def trace_of(exchange: Exchange, origin_s: float = 0.0) -> Trace:
    """The trace of an exchange, with times in s since `origin_s`."""
    reading = AnswerReader(exchange, origin_s)
    reading.advance()
    return reading.trace()
