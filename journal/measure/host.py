"""Counters of this host beside a load: who else uses its processors, swapping, and sleep."""

import os
import time
from pathlib import Path

import psutil

from journal.errors import MeasureError
from journal.measure.process import ProcessTree
from journal.records import HostReading

PERIOD_S = 1.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Host:
    """Looks at the processors that this process may use. `server_pid` is the root of the server's
    process tree when that is on this host; `whole` is whether what we use, the server's part
    included, can be told from what others use."""

    def __init__(self, server_pid: int | None, *, whole: bool) -> None:
        self._me = psutil.Process()
        self._server = None if server_pid is None else ProcessTree(server_pid)
        self._whole = whole

    def look(self, at_s: float) -> HostReading:
        cpus = _usable()
        times = [
            each for number, each in enumerate(psutil.cpu_times(percpu=True)) if number in cpus
        ]
        return HostReading(
            at_s=at_s,
            cpus=len(cpus),
            busy_s=sum(each.user + each.nice + each.system for each in times),
            ours_s=self._ours_s() if self._whole else None,
            stolen_s=sum(getattr(each, "steal", 0.0) for each in times),
            asleep_s=_asleep_s(),
            swapped_bytes_total=_swapped_bytes(),
        )

    def _ours_s(self) -> float | None:
        """The CPU time of this process, of its children that have ended, and of the server."""
        mine = sum(self._me.cpu_times()[:4])
        try:
            theirs = None if self._server is None else self._server.look(0.0).cpu_s
        except MeasureError:  # the server has ended, and what it used is no longer known
            return None
        return mine + (0.0 if theirs is None else theirs)


def _usable() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _asleep_s() -> float | None:
    """How long the host was suspended since it started: the boot clock counts it, the monotonic
    one does not (clock_gettime(2))."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _swapped_bytes() -> int | None:
    """Bytes swapped in and out since the host started; None where the kernel does not count."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    pages = [int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout "))]
    return sum(pages) * PAGE_BYTES if len(pages) == 2 else None
