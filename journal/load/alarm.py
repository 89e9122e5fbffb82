"""An alarm that wakes tasks within a fraction of a millisecond.

The timers of event loops count in whole ms. Linux has one that counts in ns and that a loop watches
as it does a connection: it wakes once for each time that is due.
"""

import asyncio
import heapq
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_NS_PER_S = 10**9


class _Timer(NamedTuple):
    """A timer of the system, as a file that can be read once it has rung, and what sets it to a
    time in ns on the monotonic clock (0: to none)."""

    file: int
    set: Callable[[int], object]


class Alarm:
    """Tasks that wait for their times, and the timer that is set for the first of them. Where the
    system has no such timer, those of the loop are waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sending = 0  # times that came a moment ago
        self._timer = _timer()
        if self._timer is not None:
            self._loop.add_reader(self._timer.file, self._ring)

    async def __aenter__(self) -> "Alarm":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._loop.remove_reader(self._timer.file)
            os.close(self._timer.file)

    def quiet_s(self) -> float:
        """The time until the next task wakes: infinite where none waits, and none left while one
        that has woken is yet to send."""
        if self._sending:
            return 0.0
        return self._waiting[0][0] - time.monotonic() if self._waiting else math.inf

    async def until(self, due_s: float) -> None:
        """Wait until `due_s` on the monotonic clock."""
        while (left_s := due_s - time.monotonic()) > 0:
            if self._timer is None:
                await asyncio.sleep(left_s)
                continue
            rung = self._loop.create_future()
            heapq.heappush(self._waiting, (due_s, next(self._order), rung))
            if self._waiting[0][2] is rung:
                self._set(self._timer)
            await rung

    def _ring(self) -> None:
        assert self._timer is not None
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, rung = heapq.heappop(self._waiting)
            if not rung.done():  # its task may have been cancelled
                rung.set_result(None)
        self._set(self._timer)
        self._sending += 1
        # In the next turn of the loop the task goes on, in the one after it what it began.
        self._loop.call_soon(self._loop.call_soon, self._sent)

    def _sent(self) -> None:
        self._sending -= 1

    def _set(self, timer: _Timer) -> None:
        """Set the timer for the first task, or to none; that it rang is forgotten."""
        timer.set(math.ceil(self._waiting[0][0] * _NS_PER_S) if self._waiting else 0)


def _timer() -> _Timer | None:
    """A timer, set to no time yet; None where the system has none. Python has it from 3.13 on."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    system = ctypes.PyDLL(None)  # holds the interpreter, which another thread would keep for long
    file: int = system.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if file < 0:
        return None

    def set_to(at_ns: int) -> None:
        no_interval_and_at = (ctypes.c_long * 4)(0, 0, *divmod(at_ns, _NS_PER_S))
        system.timerfd_settime(file, _ABSOLUTE, no_interval_and_at, None)

    return _Timer(file, set_to)
