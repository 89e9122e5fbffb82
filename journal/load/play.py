"""One process's part of a load: the warm-up, then closed or open loop, then reading the answers."""

import asyncio
import contextlib
import gc
import math
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from journal.errors import UsageError
from journal.load.answer import AnswerReader, Exchange
from journal.load.client import Client
from journal.load.health import Pulse, Vitals
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed, LoadShape
from journal.records.request import Request, Trace
from journal.redaction import hidden, pattern

READ_S = 0.001  # the longest slice in which answers are read while others stream
EVENTS_AT_ONCE = 50  # about 0.15 ms
OPEN_AHEAD = 32  # connections ready when an open loop begins; it opens more as it needs them
OPEN_FILES = 65536  # the limit on open files that an open loop may need
FAILURES = 50  # failed requests that never end a load: they cost little, and show the cause
SILENCES = 3  # time-outs with no answer between them, of two requests in flight or more
FILES_ASIDE = 64  # files a process has open besides its connections


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPart:
    """The part of a load that one process sends. A closed loop keeps `shape.batch` requests in
    flight, an open one no more than `max_in_flight`. Times in its traces count from `origin_s` on
    the monotonic clock. Once more than `max_error_rate` of the measured requests, and FAILURES,
    have failed, no more are sent."""

    requests: Sequence[Request]
    endpoint: Endpoint
    shape: LoadShape
    timeout_s: float
    origin_s: float
    max_error_rate: float = 1.0
    max_in_flight: int | None = None


class Ready(NamedTuple):
    """The message of a process whose warm-up is over: the least time to first token of that, in s
    (None: not known)."""

    ttft_s: float | None


class Beginning(NamedTuple):
    """The beginning of the load after the warm-up: its time on the monotonic clock, in s, and the
    least time to first token of the warm-up of all processes, in s (None: not known)."""

    at_s: float
    ttft_s: float | None


Gate = Callable[[float | None], Awaitable[Beginning]]


class Backlog:
    """Answers that are over and not yet read. They are read in slices of at most READ_S, so that
    no time stamp waits for JSON: some 30,000 chunks/s. Chunks that come faster wait here, in about
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
                self._on_trace(trace)
                self._reading.release()
                self._reading = None

    def finish(self) -> None:
        """Read all answers that are left."""
        self.work(float("inf"))

    def _without_key(self, trace: Trace) -> Trace:
        """The trace without the key in its error, where the server quoted it."""
        if trace.error is None or self._secret is None:
            return trace
        return replace(trace, error=hidden(trace.error, self._secret))


def token_counter(path: str | None) -> Callable[[str], int] | None:
    """The number of tokens in a text by the tokenizer.json at `path`; None without a path, and
    where the package that reads it is not installed."""
    if path is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    tokenizer = Tokenizer.from_file(path)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def play(
    part: LoadPart,
    on_trace: Callable[[Trace], None],
    gate: Gate | None = None,
) -> Vitals:
    """Send all of `part`, pass each trace to `on_trace` in no certain order, and return the
    vitals of this process. `gate` is awaited between warm-up and measurement: it is given the least
    TTFT of this process's warm-up and gives the beginning.

    Raises EndpointError where the server cannot be reached. On KeyboardInterrupt the connections
    are closed, and `on_trace` still receives the answers that were over."""
    at_once = part.shape.batch if isinstance(part.shape, Closed) else 0
    allow_files(at_once + FILES_ASIDE)
    backlog = Backlog(part, on_trace)
    with _undisturbed():
        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                return runner.run(_play(part, backlog, gate))
        finally:
            backlog.finish()


async def _play(part: LoadPart, backlog: Backlog, gate: Gate | None) -> Vitals:
    client, shape = Client(part.endpoint, part.timeout_s), part.shape
    warmup, sent = divided(part.requests)
    try:
        if warmup:
            lanes = min(shape.batch, len(warmup)) if isinstance(shape, Closed) else len(warmup)
            await client.open(lanes)
            await _closed_loop(client, warmup, lanes, backlog)
            backlog.finish()
        ready = shape.batch if isinstance(shape, Closed) else OPEN_AHEAD
        lanes = min(ready, len(sent))
        await client.open(lanes)
        begin = Beginning(time.monotonic(), backlog.ttft_s)
        if gate is not None:
            begin = await gate(backlog.ttft_s)
        async with Pulse(backlog.work) as pulse:
            if shape.is_open:
                await _open_loop(client, sent, begin.at_s, backlog, part.max_in_flight)
            else:
                await _closed_loop(client, sent, lanes, backlog, begin)
        return pulse.vitals()
    finally:
        client.close()
        await asyncio.sleep(0)  # transports close before their loop does


def divided(requests: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """The warm-up, which is over before the others begin, and the others: those that are measured,
    with the fillers before and after them."""
    warmup = [request for request in requests if request.warmup and not request.filler]
    return warmup, [request for request in requests if request.filler or not request.warmup]


async def _closed_loop(
    client: Client,
    requests: Sequence[Request],
    lanes: int,
    backlog: Backlog,
    begin: Beginning | None = None,
) -> None:
    """Keep `lanes` requests in flight: send the next one as soon as one is over. A request with a
    phase waits for its share of the time to first token from `begin`."""
    left = iter(requests)

    async def lane() -> None:
        while not backlog.is_lost(lanes) and (request := next(left, None)) is not None:
            if request.phase and begin is not None and begin.ttft_s is not None:
                sent_s = begin.at_s + request.phase * begin.ttft_s
                await asyncio.sleep(sent_s - time.monotonic())
            backlog.add(await client.exchange(request))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(lanes):
            tasks.create_task(lane())


async def _open_loop(
    client: Client,
    requests: Sequence[Request],
    begin_s: float,
    backlog: Backlog,
    most: int | None,
) -> None:
    """Send every request at its own time on an absolute schedule, whether or not others ended; but
    where `most` of them are in flight, as soon as one has ended."""
    schedule = sorted((begin_s + _due_s(request), request.index, request) for request in requests)

    places = None if most is None else asyncio.Semaphore(most)

    async def one(request: Request, scheduled_s: float) -> None:
        backlog.add(await client.exchange(request, scheduled_s))
        if places is not None:
            places.release()

    async with asyncio.TaskGroup() as tasks:
        for scheduled_s, _, request in schedule:
            # Timers count in ms: turns of the event loop fill the last fraction of one.
            while (left_s := scheduled_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            if places is not None:
                await places.acquire()
            if backlog.is_lost():
                break
            tasks.create_task(one(request, scheduled_s))


def _due_s(request: Request) -> float:
    if request.due_s is None:
        raise UsageError(f"request {request.index} has no due time, and an open loop needs one")
    return request.due_s


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A block without garbage collection, in which other threads of this process hand the
    interpreter back after 0.5 ms instead of 5: both would delay time stamps."""
    collects, interval_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        if collects:
            gc.enable()


def event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop: uvloop's where uvloop is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def allow_files(needed: int) -> None:
    """Raise this process's limit on open files, to OPEN_FILES where the system allows it. Raises
    UsageError where the system does not allow `needed`."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = math.inf if hard == resource.RLIM_INFINITY else hard
    if allowed < needed:
        raise UsageError(
            f"{needed} open files are needed and this system allows {hard}: raise the limit "
            "(ulimit -Hn) or lower the batch"
        )
    wanted = int(min(allowed, max(needed, OPEN_FILES)))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
