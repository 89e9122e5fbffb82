"""Requests, their traces as the client saw them, and the client's own health."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "short", "error", "abandoned"]


@dataclass(frozen=True, slots=True)
class StoredBody:
    """The body of a request in a file, from `offset` on, `length` bytes long."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to be sent. `due_s` is its scheduled time in s from the start of the
    measured load; None in closed loop, where it is sent as soon as a place is free.

    `body` is its JSON, or the place of it where many of them would fill the memory. `natural_end`:
    its answer may end before `output_tokens`, and is whole then. `turn` counts from 1 in the
    conversation of that number, `conversation`; both are None outside of one. The body of a turn
    has what it adds, and `prompt_tokens` the tokens of that, until the answers before it are known;
    `think_s` is the time in s that its user thinks after its answer.
    `warmup`: it is not measured. A `filler` is not measured either: it keeps its stream of a
    closed loop busy before or after the measured requests. `phase` is the share (0 to 1) of the
    time to first token by which a filler waits when the loop begins."""

    index: int
    body: bytes | StoredBody
    prompt_tokens: int
    output_tokens: int
    warmup: bool = False
    due_s: float | None = None
    filler: bool = False
    phase: float = 0.0
    natural_end: bool = False
    conversation: int | None = None
    turn: int | None = None
    think_s: float = 0.0

    @property
    def content(self) -> bytes:
        """The bytes of the body, read from its file where it lies in one."""
        body = self.body
        if isinstance(body, bytes):
            return body
        with Path(body.path).open("rb", buffering=0) as file:
            file.seek(body.offset)
            return file.read(body.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The trace of one request, as the client saw it. It is frozen and stored: every metric can be
    computed again from it.

    `warmup`: it was not measured, as one of the warm-up or as a filler.
    `scheduled_s` is the time at which it was due (equal to `start_s` in closed loop), `start_s`
    that at which it was sent, `end_s` that at which the answer was complete; all in s on one
    monotonic clock. `chunk_s` holds the time of every chunk with content (a role-only delta does
    not count), and `chunk_tokens` the tokens in each, where the server gives them.
    `prompt_tokens` and `output_tokens` are the server's usage, `*_asked` the requested lengths.
    `server_queue_s`, `server_prefill_s`, `server_decode_s` are vLLM's per-request metrics.

    `ttfo_s` is the time from `scheduled_s` to the first chunk of the answer itself, thoughts left
    out. `reasoning_tokens` are thoughts by the server's usage, `reasoning_chunks` the chunks with
    thoughts in words, `tool_call_deltas` the parts of tool calls. `done`: the stream ended with
    [DONE]; `timed_out`: it did not end in time, or was closed here after [DONE], since its body
    did not end; `reconnected`: it was sent again on a fresh
    connection, since the kept one was closed before a byte came; `refused`: text came as a refusal.
    `counted_tokens` are the tokens of the text by the model's own tokenizer, where that is at hand
    here or at the server, which gave no usage. These are None in old journals. `connect_s` is the
    time in s that opening a connection took after `start_s`; None where a kept one carried the
    request. An `abandoned` request is one whose user left before its answer was over: it did not
    fail, and has no latency. `turn` counts from 1 in its conversation (None: it was in none).
    `sent_sha256` is the hash in hex of a body that was made during the run, of the answers before
    it."""

    index: int
    warmup: bool
    scheduled_s: float
    start_s: float
    end_s: float
    outcome: Outcome
    prompt_tokens_asked: int
    output_tokens_asked: int
    chunk_s: tuple[float, ...] = ()
    chunk_tokens: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    output_chars: int | None = None
    finish_reason: str | None = None
    status: int | None = None
    error: str | None = None
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    server_decode_s: float | None = None
    ttfo_s: float | None = None
    reasoning_tokens: int | None = None
    reasoning_chunks: int | None = None
    tool_call_deltas: int | None = None
    done: bool | None = None
    timed_out: bool | None = None
    reconnected: bool | None = None
    refused: bool | None = None
    counted_tokens: int | None = None
    connect_s: float | None = None
    turn: int | None = None
    sent_sha256: str | None = None

    @property
    def answered(self) -> bool:
        """Whether its answer came, whole or short: it neither failed nor was abandoned."""
        return self.outcome in ("ok", "short")

    @property
    def tokens_by(self) -> Literal["usage", "ids", "chunks", "text"] | None:
        """The source of the number of output tokens: the server's usage, the token ids in the
        chunks, the chunks themselves where as many came as tokens were asked for and the server
        says that it stopped at that length, or the text; None: the number is not known."""
        if self.output_tokens is not None:
            return "usage"
        if self.chunk_tokens is not None:
            return "ids"
        if self.finish_reason == "length" and len(self.chunk_s) == self.output_tokens_asked:
            return "chunks"
        return None if self.counted_tokens is None else "text"

    @property
    def tokens(self) -> int | None:
        """The number of output tokens, from the source `tokens_by`."""
        by = self.tokens_by
        if by == "ids":
            return sum(self.chunk_tokens or ())
        if by == "chunks":
            return len(self.chunk_s)
        return self.output_tokens if by == "usage" else self.counted_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHealth:
    """The health of the client in a run: the delays of its event loop and of its sending, and the
    part of a core (0 to 1) that its busiest process used. None: not measured."""

    loop_delay_p99_s: float | None = None
    loop_delay_max_s: float | None = None
    send_delay_p99_s: float | None = None
    cpu_fraction: float | None = None
    processes: int = 1
    event_loop: str = "asyncio"
