"""Driving a server: requests sent in closed or open loop, and a trace of each."""

import asyncio
import math
import os
from collections.abc import Callable, Sequence

from journal.errors import UsageError
from journal.load.backlog import LoadPart
from journal.load.health import Vitals, health
from journal.load.play import play
from journal.plan.prompts import Endless
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed, LoadShape, Users
from journal.records.request import ClientHealth, Request, Trace

CHUNKS_PER_CORE_S = (
    80_000.0  # four fifths of the rate at which one core still runs less than 20 ms late
)
STREAM_CHUNKS_S = 100.0  # chunks/s of a fast stream; this server's rate is not known beforehand


def drive(
    requests: Sequence[Request],
    endpoint: Endpoint,
    *,
    shape: LoadShape,
    timeout_s: float,
    processes: int | None,
    origin_s: float,
    on_done: Callable[[Trace], None] | None = None,
    max_error_rate: float = 1.0,
    max_in_flight: int | None = None,
    duration_s: float | None = None,
    endless: Endless | None = None,
    abandon_after_s: float | None = None,
) -> tuple[tuple[Trace, ...], ClientHealth]:
    """Send `requests`; return the trace of each that was sent, by index, and the client's health.

    In a closed loop `shape.batch` requests are in flight; of users each has one in flight, or
    thinks; in an open loop each request is sent `due_s` after the measured part began, on an
    absolute schedule, however many are in flight, up to `max_in_flight` of them. The warm-up goes
    first and is over before the measured part begins. A closed loop, and users, send for
    `duration_s` where that is given: `requests`, and then those of `endless`. A request that is not
    over after `abandon_after_s` is given up. Times count in s from `origin_s` (time.monotonic()).
    `on_done` receives each trace some time after its end. All requests are sent, unless more than
    `max_error_rate` of the measured ones (and 50) fail, or the server stands still: then the
    requests in flight are waited for, and the others are not sent and have no trace.

    Raises EndpointError where the server cannot be reached, UsageError for a load that cannot
    be sent. On KeyboardInterrupt every connection and process is gone before it is passed on.
    """
    lanes = shape.batch if isinstance(shape, Closed | Users) else None
    if lanes is not None and lanes < 1:
        raise UsageError(f"batch {lanes}: at least one request must be in flight")
    if processes is not None and processes < 1:
        raise UsageError(f"processes {processes}: at least one process must send")
    traces: list[Trace] = []

    def keep(trace: Trace) -> None:
        traces.append(trace)
        if on_done is not None:
            on_done(trace)

    part = LoadPart(
        requests=requests,
        endpoint=endpoint,
        shape=shape,
        timeout_s=timeout_s,
        origin_s=origin_s,
        max_error_rate=max_error_rate,
        max_in_flight=max_in_flight if shape.is_open else None,
        duration_s=None if shape.is_open else duration_s,
        endless=endless,
        abandon_after_s=abandon_after_s,
    )
    count = processes_for(requests, shape) if processes is None else processes
    count = max(1, min(count, len(requests) if lanes is None else lanes))
    if shape.is_open and max_in_flight is not None:
        count = min(count, max_in_flight)
    vitals: Sequence[Vitals]
    if count == 1 and not _inside_a_loop():
        vitals = [play(part, keep)]
    else:
        from journal.load.workers import share

        vitals = share(part, count, keep)
    traces.sort(key=lambda trace: trace.index)
    return tuple(traces), health(traces, vitals, scheduled=shape.is_open and max_in_flight is None)


def _inside_a_loop() -> bool:
    """Whether the caller runs an event loop, as a notebook does: a thread can run only one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def processes_for(requests: Sequence[Request], shape: LoadShape) -> int:
    """The number of processes that the offered load needs: one for every `CHUNKS_PER_CORE_S`
    chunks/s, and at most half of the cores, because a server on this host needs the others."""
    if isinstance(shape, Closed | Users):
        chunks_per_s = shape.batch * STREAM_CHUNKS_S
    else:
        measured = [request for request in requests if not request.warmup]
        lasts_s = max((request.due_s or 0.0 for request in measured), default=0.0)
        tokens = sum(request.output_tokens for request in measured)
        chunks_per_s = tokens / lasts_s if lasts_s > 0 else 0.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(math.ceil(chunks_per_s / CHUNKS_PER_CORE_S), (cores or 1) // 2))
