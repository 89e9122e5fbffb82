"""Memory and CPU time of a server's process tree on this host.

Memory is the sum of the processes' resident sets, as ps and top show them, so pages that several
processes share (libraries, mostly) count once for each of them. The proportional set size would
divide them, but for it the kernel walks the page tables of every process while it holds the lock
that the engine's own allocations need: milliseconds per GiB, too costly beside a load.
"""

import time

import psutil

from journal.measure.absence import unreadable
from journal.records.samples import ProcessReading

CHILDREN_PERIOD_S = 5.0  # a search for children reads all of /proc; servers seldom start new ones


class ProcessTree:
    """The process `pid` and all its descendants. `pids` are their ids at the last search. Raises
    MeasureError when there is no such process."""

    def __init__(self, pid: int) -> None:
        try:
            self._root = psutil.Process(pid)
        except psutil.Error as error:
            raise unreadable("process_gone", pid=pid) from error
        self._members: set[psutil.Process] = {self._root}
        self._cpu_s: dict[psutil.Process, float] = {}
        self._searched = -CHILDREN_PERIOD_S
        self.pids: frozenset[int] = frozenset()
        self._find_children(time.monotonic())

    def look(self, at_s: float) -> ProcessReading:
        """A reading of the tree: resident bytes, living processes, and CPU time in s (user and
        system, with processes that have ended since the first look). Raises MeasureError when all
        processes have ended."""
        now = time.monotonic()
        if now - self._searched >= CHILDREN_PERIOD_S:
            self._find_children(now)
        rss_bytes = alive = 0
        for process in tuple(self._members):
            try:
                with process.oneshot():
                    rss_bytes += process.memory_info().rss
                    times = process.cpu_times()
            except psutil.NoSuchProcess:
                self._members.discard(process)
                continue
            except psutil.AccessDenied as error:
                raise unreadable("process_denied", pid=process.pid) from error
            alive += 1
            self._cpu_s[process] = times.user + times.system
        if not alive:
            raise unreadable("process_ended", pid=self._root.pid)
        cpu_s = sum(self._cpu_s.values())
        return ProcessReading(at_s=at_s, rss_bytes=rss_bytes, processes=alive, cpu_s=cpu_s)

    def _find_children(self, now: float) -> None:
        self._searched = now
        try:
            self._members |= {self._root, *self._root.children(recursive=True)}
        except psutil.Error:
            self._members.discard(self._root)
        self.pids = frozenset(process.pid for process in self._members)
