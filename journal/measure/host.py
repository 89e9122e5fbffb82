"""This host beside a load and before it: the use of its processors by others, swapping, and
sleep."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from journal.errors import MeasureError
from journal.measure.process import ProcessTree
from journal.records.samples import HostReading
from journal.units import data_size, percent

PERIOD_S = 1.0
LOOK_S = 0.3  # processor time is counted in steps of 0.01 s
LITTLE_MEMORY = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Host:
    """Readings of the processors that this process may use. `server_pid` is the root of the
    server's process tree when that is on this host; `whole`: the journal's own use, with the
    server's part, is known and can be separated from the use of others."""

    def __init__(self, server_pid: int | None, *, whole: bool) -> None:
        self._me, self._server_pid = psutil.Process(), server_pid
        self._server = None if server_pid is None else ProcessTree(server_pid)
        self._whole = whole

    def look(self, at_s: float) -> HostReading:
        cpus = _usable()
        times = [cpu for number, cpu in enumerate(psutil.cpu_times(percpu=True)) if number in cpus]
        return HostReading(
            at_s=at_s,
            cpus=len(cpus),
            busy_s=sum(cpu.user + cpu.nice + cpu.system for cpu in times),
            ours_s=self._ours_s() if self._whole else None,
            stolen_s=sum(getattr(cpu, "steal", 0.0) for cpu in times),
            asleep_s=_asleep_s(),
            swapped_bytes_total=_swapped_bytes(),
        )

    def _ours_s(self) -> float | None:
        """The CPU time in s of this process, of its children, and of the server; None once the
        server has ended."""
        mine = sum(self._me.cpu_times()[:4]) + self._children_s()
        try:
            theirs = None if self._server is None else self._server.look(0.0).cpu_s
        except MeasureError:  # the server has ended, and what it used is no longer known
            return None
        return mine + (0.0 if theirs is None else theirs)

    def _children_s(self) -> float:
        """The CPU time in s of the living children of this process: they send load, or records to
        MLflow."""
        used_s = 0.0
        for pid in _children() - {self._server_pid}:
            with suppress(psutil.Error):
                used_s += sum(psutil.Process(pid).cpu_times()[:2])
        return used_s


def _children() -> set[int]:
    """The process ids of the children of this process; empty where the kernel does not list
    them."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            pids.update(map(int, task.read_text().split()))
    return pids


class HostWatch:
    """A look at this host that begins now. `server_pid` is the root of a server that belongs
    here."""

    def __init__(self, server_pid: int | None = None) -> None:
        self._host = Host(server_pid, whole=True)
        self._first = self._host.look(time.monotonic())

    def disturbances(self) -> list[str]:
        """The conditions that would disturb a measurement on this host that began now, a sentence
        each. It returns LOOK_S after the look began at the earliest."""
        from journal.doubts.surroundings import BUSY_FLAG  # numpy, which loads while this waits

        first = self._first
        time.sleep(max(0.0, first.at_s + LOOK_S - time.monotonic()))
        last = self._host.look(time.monotonic())
        sentences = []
        busy, ours = (_rise(first, last, name) for name in ("busy_s", "ours_s"))
        share = (busy - ours) / ((last.at_s - first.at_s) * first.cpus)
        if share >= BUSY_FLAG:
            what = f"{percent(min(share, 1.0))} of this host's {first.cpus} processors"
            sentences.append(f"other programs use {what}: stop them")
        if _rise(first, last, "swapped_bytes_total"):
            sentences.append("this host is swapping: free some memory")
        memory = psutil.virtual_memory()
        if memory.available < LITTLE_MEMORY * memory.total:
            left = f"{data_size(memory.available)} of {data_size(memory.total)}"
            sentences.append(f"only {left} of this host's memory are free: end what takes it")
        return sentences


def host_disturbances(server_pid: int | None = None) -> list[str]:
    """The conditions that would disturb a measurement on this host now, a sentence each."""
    return HostWatch(server_pid).disturbances()


def _rise(first: HostReading, last: HostReading, name: str) -> float:
    before, after = getattr(first, name), getattr(last, name)
    return 0.0 if before is None or after is None else float(after - before)


def _usable() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _asleep_s() -> float | None:
    """The time in s that the host was suspended since it started: the boot clock counts it, the
    monotonic one does not (clock_gettime(2))."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _swapped_bytes() -> int | None:
    """The bytes swapped in and out since the host started; None where the kernel does not count
    them."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    pages = [int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout "))]
    return sum(pages) * PAGE_BYTES if len(pages) == 2 else None
