"""The client's own health: how late its event loop ran, and how much of its core it used."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from journal.records.request import ClientHealth, Trace

TICK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The vitals of one process of the client: how late each tick of its event loop came, in s,
    the share of one core that it used (None: not known), and the name of the event loop."""

    delays_s: Sequence[float]
    cpu_fraction: float | None
    event_loop: str


class Pulse:
    """A ticker on an absolute schedule of TICK_S. While its block runs it notes how late each
    tick comes and then calls `work`. Loop timers count in ms, so up to 1 ms of delay is theirs."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._delays_s: list[float] = []

    async def __aenter__(self) -> "Pulse":
        self._loop = asyncio.get_running_loop()
        self._began_s, self._cpu_began_s = time.monotonic(), time.process_time()
        self._due_s = self._began_s
        self._next()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        self._cpu_s = time.process_time() - self._cpu_began_s
        self._wall_s = time.monotonic() - self._began_s

    def _next(self) -> None:
        self._due_s += TICK_S
        self._timer = self._loop.call_later(self._due_s - time.monotonic(), self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._delays_s.append(max(0.0, now - self._due_s))
        missed = math.floor((now - self._due_s) / TICK_S)
        if missed > 0:  # one long delay counts once
            self._due_s += missed * TICK_S
        self._work()
        self._next()

    def vitals(self) -> Vitals:
        return Vitals(
            delays_s=self._delays_s,
            cpu_fraction=self._cpu_s / self._wall_s if self._wall_s > 0 else None,
            event_loop=type(self._loop).__module__.partition(".")[0],
        )


def health(traces: Iterable[Trace], parts: Sequence[Vitals], *, scheduled: bool) -> ClientHealth:
    """The health of the whole client: the delays of all its processes pooled, and the CPU share
    of the busiest one.

    The send delay (sent minus scheduled) exists in open loop only: a closed loop has no schedule,
    and where requests in flight are limited, the server decides when they go."""
    delays = sorted(delay for part in parts for delay in part.delays_s)
    sent = sorted(
        trace.start_s - trace.scheduled_s for trace in traces if scheduled and not trace.warmup
    )
    shares = [part.cpu_fraction for part in parts if part.cpu_fraction is not None]
    return ClientHealth(
        loop_delay_p99_s=_p99(delays),
        loop_delay_max_s=delays[-1] if delays else None,
        send_delay_p99_s=_p99(sent),
        cpu_fraction=max(shares, default=None),
        processes=len(parts),
        event_loop=parts[0].event_loop,
    )


def _p99(ordered: Sequence[float]) -> float | None:
    """The nearest-rank p99 (None without a value). Of fewer than a hundred values that is the
    largest, on purpose: a guard may be too careful."""
    return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else None
