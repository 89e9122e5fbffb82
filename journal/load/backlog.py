"""Answers that are over and wait to be read, and the part of a load that they belong to."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from journal.load.answer import AnswerReader, Exchange
from journal.load.text_tokens import counts_by_server, token_counter
from journal.plan.prompts import Endless
from journal.records.engine import Endpoint
from journal.records.load_shape import LoadShape
from journal.records.request import Request, Trace
from journal.redaction import hidden, pattern

READ_S = 0.001  # the longest slice in which answers are read while others stream
EVENTS_AT_ONCE = 100  # about 0.1 ms; 0.3 ms where none is plain
FAILURES = 50  # failed requests that never end a load: they cost little, and show the cause
SILENCES = 3  # time-outs with no answer between them, of two requests in flight or more


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPart:
    """The part of a load that one process sends. A closed loop keeps `shape.batch` requests in
    flight, an open one no more than `max_in_flight`. Times in its traces count from `origin_s` on
    the monotonic clock. Once more than `max_error_rate` of the measured requests, and FAILURES,
    have failed, no more are sent. With `duration_s` no measured request is sent after so many s
    from the first; `endless` has those beyond `requests`, of whose groups this process draws every
    n-th from the k-th on, by `share` (k, n). A request that is not over
    after `abandon_after_s` is given up."""

    requests: Sequence[Request]
    endpoint: Endpoint
    shape: LoadShape
    timeout_s: float
    origin_s: float
    max_error_rate: float = 1.0
    max_in_flight: int | None = None
    duration_s: float | None = None
    endless: Endless | None = None
    share: tuple[int, int] = (0, 1)
    abandon_after_s: float | None = None


class Backlog:
    """Answers that are over and not yet read. They are read in slices of at most READ_S, so that
    no time stamp waits for JSON: some 80,000 chunks/s. Chunks that come faster wait here, in about
    300 bytes each, until the load is over."""

    def __init__(self, part: LoadPart, on_trace: Callable[[Trace], None]) -> None:
        self._part = part
        self._on_trace = on_trace
        self._secret = pattern(part.endpoint.secrets)
        self._count_tokens = token_counter(part.endpoint.tokenizer)
        self._waiting: deque[Exchange] = deque()
        self._reading: AnswerReader | None = None
        measured = sum(not request.warmup for request in part.requests)
        self._failures_left = max(part.max_error_rate * measured, FAILURES)
        self._uncounted: list[tuple[Trace, str]] = []  # traces with texts for the server to count
        self._silences = 0  # time-outs since the last answer that ended
        self.ttft_s: float | None = None  # the least of the requests that are not measured

    def add(self, exchange: Exchange) -> None:
        """Add an exchange that is over."""
        self._waiting.append(exchange)
        self._silences = self._silences + 1 if exchange.timed_out else 0

    def is_lost(self, lanes: int = SILENCES) -> bool:
        """Whether the load should end early: too many requests failed, or the server answers none
        of the `lanes` requests in flight."""
        return self._failures_left < 0 or self._silences >= min(lanes + 1, SILENCES)

    def work(self, limit_s: float = READ_S) -> None:
        """Read answers for up to `limit_s`."""
        until = time.monotonic() + limit_s
        while (self._reading is not None or self._waiting) and time.monotonic() < until:
            if self._reading is None:
                exchange, origin_s = self._waiting.popleft(), self._part.origin_s
                self._reading = AnswerReader(exchange, origin_s, self._count_tokens)
            if self._reading.advance(EVENTS_AT_ONCE):
                trace = self._without_key(self._reading.trace())
                self._failures_left -= trace.outcome == "error" and not trace.warmup
                if trace.warmup and trace.chunk_s:
                    ttft_s = trace.chunk_s[0] - trace.start_s
                    self.ttft_s = ttft_s if self.ttft_s is None else min(self.ttft_s, ttft_s)
                self._pass_on(trace, self._reading)
                if self._reading.exchange.on_read is not None:
                    self._reading.exchange.on_read(self._reading, trace)
                self._reading.release()
                self._reading = None

    def finish(self) -> None:
        """Read all answers that are left."""
        self.work(float("inf"))
        for trace, _ in self._uncounted:
            self._on_trace(trace)
        self._uncounted.clear()

    async def count(self) -> None:
        """Let the server count the tokens of answers without usage, now that none is in flight."""
        self.work(float("inf"))
        endpoint, timeout_s = self._part.endpoint, self._part.timeout_s
        texts = [text for _, text in self._uncounted]
        counts = await counts_by_server(texts, endpoint, timeout_s) if texts else []
        self._uncounted = [
            (replace(trace, counted_tokens=count), text)
            for (trace, text), count in zip(self._uncounted, counts, strict=True)
        ]

    def _pass_on(self, trace: Trace, reading: AnswerReader) -> None:
        if self._part.endpoint.tokenizes_at is not None and reading.uncounted:
            self._uncounted.append((trace, reading.uncounted))
        else:
            self._on_trace(trace)

    def _without_key(self, trace: Trace) -> Trace:
        """The trace without the key in its error, where the server quoted it."""
        if trace.error is None or self._secret is None:
            return trace
        return replace(trace, error=hidden(trace.error, self._secret))
