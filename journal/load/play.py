"""One process's part of a load: the warm-up, then closed or open loop, then reading the answers."""

import asyncio
import contextlib
import gc
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from journal.errors import UsageError
from journal.load.alarm import Alarm
from journal.load.backlog import READ_S, Backlog, LoadPart
from journal.load.client import Client
from journal.load.conversation import converse, talks
from journal.load.health import Pulse, Vitals
from journal.load.supply import Supply
from journal.records.load_shape import Closed, LoadShape, Users
from journal.records.request import Request, Trace

OPEN_AHEAD = 32  # connections ready when an open loop begins; it opens more as it needs them
OPEN_FILES = 65536  # the limit on open files that an open loop may need
FILES_ASIDE = 64  # files a process has open besides its connections


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
    at_once = part.shape.batch if isinstance(part.shape, Closed | Users) else 0
    allow_files(at_once + FILES_ASIDE)
    backlog = Backlog(part, on_trace)
    with _undisturbed():
        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                return runner.run(_play(part, backlog, gate))
        finally:
            backlog.finish()


async def _play(part: LoadPart, backlog: Backlog, gate: Gate | None) -> Vitals:
    client, shape = Client(part.endpoint, part.timeout_s, part.abandon_after_s), part.shape
    warmup, sent = divided(part.requests)
    try:
        if warmup:
            lanes = min(_lanes(shape, len(warmup)), len(warmup))
            await client.open(lanes)
            await _closed_loop(client, Supply([one] for one in warmup), lanes, backlog)
            backlog.finish()
        lanes = _lanes(shape, OPEN_AHEAD)
        if part.endless is None:
            lanes = min(lanes, len(sent))
        groups = talks(sent) if isinstance(shape, Users) else [[one] for one in sent]
        supply = Supply(groups, part)
        schedule = _by_time(sent) if shape.is_open else []
        await client.open(lanes)
        alarm = Alarm()
        begin = Beginning(time.monotonic(), backlog.ttft_s)
        if gate is not None:
            begin = await gate(backlog.ttft_s)

        def work() -> None:
            backlog.work(min(READ_S, alarm.quiet_s()))  # no request is late by reading answers
            supply.work()

        async with alarm, Pulse(work) as pulse:
            if isinstance(shape, Users):
                await converse(client, supply, lanes, backlog, begin.at_s, alarm)
            elif shape.is_open:
                await _open_loop(client, schedule, begin.at_s, backlog, part.max_in_flight, alarm)
            else:
                await _closed_loop(client, supply, lanes, backlog, begin)
        await backlog.count()
        return pulse.vitals()
    finally:
        client.close()
        await asyncio.sleep(0)  # transports close before their loop does


def _lanes(shape: LoadShape, otherwise: int) -> int:
    """The connections that a load needs from its beginning on: one for each request in flight, or
    user; in open loop `otherwise`."""
    return shape.batch if isinstance(shape, Closed | Users) else otherwise


def divided(requests: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """The warm-up, which is over before the others begin, and the others: those that are measured,
    with the fillers before and after them."""
    warmup = [request for request in requests if request.warmup and not request.filler]
    return warmup, [request for request in requests if request.filler or not request.warmup]


async def _closed_loop(
    client: Client,
    supply: Supply,
    lanes: int,
    backlog: Backlog,
    begin: Beginning | None = None,
) -> None:
    """Keep `lanes` requests in flight: send the next one as soon as one is over. A request with a
    phase waits for its share of the time to first token from `begin`."""

    async def lane() -> None:
        while not backlog.is_lost(lanes) and (group := supply.take()) is not None:
            (request,) = group
            if request.phase and begin is not None and begin.ttft_s is not None:
                sent_s = begin.at_s + request.phase * begin.ttft_s
                await asyncio.sleep(sent_s - time.monotonic())
            backlog.add(await client.exchange(request))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(lanes):
            tasks.create_task(lane())


async def _open_loop(
    client: Client,
    schedule: Sequence[tuple[float, int, Request]],
    begin_s: float,
    backlog: Backlog,
    most: int | None,
    alarm: Alarm,
) -> None:
    """Send every request at its own time on an absolute schedule, whether or not others ended; but
    where `most` of them are in flight, as soon as one has ended."""
    places = None if most is None else asyncio.Semaphore(most)

    async def one(request: Request, scheduled_s: float) -> None:
        backlog.add(await client.exchange(request, scheduled_s))
        if places is not None:
            places.release()

    async with asyncio.TaskGroup() as tasks:
        for due_s, _, request in schedule:
            scheduled_s = begin_s + due_s
            await alarm.until(scheduled_s)
            if places is not None:
                await places.acquire()
            if backlog.is_lost():
                break
            tasks.create_task(one(request, scheduled_s))


def _by_time(requests: Sequence[Request]) -> list[tuple[float, int, Request]]:
    """The requests of an open loop in the order in which they are due, each after its time in s
    from the beginning and its index."""
    return sorted((_due_s(request), request.index, request) for request in requests)


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
