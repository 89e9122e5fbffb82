"""Several engines at a time on this host, each on GPUs of its own."""

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import cast

from journal.errors import MeasureError, SpecError
from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.engine import VISIBLE_GPUS, GpuName
from journal.records.progress import Event, Listener
from journal.run.parallel.collector import Collector
from journal.run.parallel.messages import Task
from journal.run.parallel.worker import Worker, died_of
from journal.serve import gpu_memory
from journal.serve.start import gpus_wanted


def check_fits(planned: Sequence[Cell], width: int, listener: Listener) -> None:
    """Refuse (SpecError) to measure `width` engines at a time where this host has too few GPUs for
    them, or where an engine names its own GPUs. Report engines without GPUs to `listener`."""
    engines = [engine for engine, _ in by_engine(planned) if engine]
    if width < 1:
        raise SpecError(f"--parallel-gpus {width}: at least one engine has to run at a time")
    if any(VISIBLE_GPUS in engine.env for engine in engines):
        raise SpecError(
            f"an engine's env names its GPUs ({VISIBLE_GPUS}), and --parallel-gpus chooses them "
            "for each engine: leave one of the two out"
        )
    wanted = sorted((gpus_wanted(engine) for engine in engines), reverse=True)[:width]
    there = _visible() if any(wanted) else ()
    if sum(wanted) > len(there):
        raise SpecError(
            f"{len(wanted)} engines side by side need {' + '.join(map(str, wanted))} GPUs, and "
            f"{len(there)} can be seen here: lower --parallel-gpus or tensor_parallel, or look at "
            f"nvidia-smi and {VISIBLE_GPUS}"
        )
    if len(wanted) > 1 and 0 in wanted:
        reason = "engines side by side on a CPU share its cores, and are slower than each is alone"
        listener(Event("warning", f"doubts are to be expected, because {reason}"))


def _visible() -> tuple[GpuName, ...]:
    """The GPUs to distribute, whole ones first; empty where the driver does not answer, which the
    start of each engine reports."""
    try:
        gpus = gpu_memory.visible_to(os.environ).gpus
    except MeasureError:
        return ()
    return tuple(_ordered(gpus))


def _ordered(gpus: Sequence[GpuName]) -> list[GpuName]:
    return sorted(gpus, key=lambda gpu: (type(gpu) is str, gpu))


@dataclass(frozen=True, slots=True)
class _Running:
    number: int
    worker: Worker
    gpus: tuple[GpuName, ...]


class SideBySide:
    """The measurement of the tasks of `collector`, `width` at a time, each in a process of its own
    and on free GPUs of this host."""

    def __init__(self, width: int, collector: Collector) -> None:
        self._width, self._collector = width, collector
        self._free: list[GpuName] = []
        with suppress(SpecError):  # a SpecError was raised before, or no engine needs a GPU
            self._free = list(_visible())
        self._running: dict[Connection, _Running] = {}

    def measure(self) -> None:
        """Measure all tasks and pass their messages to the collector. On KeyboardInterrupt each
        process stops as it does alone, and its measured runs are collected first; at a second one
        its engine is killed."""
        waiting = deque(enumerate(self._collector.tasks))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._width:
                    self._start(*waiting.popleft())
                self._hear()
        except KeyboardInterrupt:
            for running in self._running.values():
                running.worker.interrupt()
            while self._running:
                self._hear(stopped=True)
            raise
        finally:
            for running in self._running.values():
                running.worker.interrupt()
            for running in self._running.values():
                running.worker.end()

    def _start(self, number: int, task: Task) -> None:
        gpus = tuple(self._free[: gpus_wanted(task.engine)])
        env = {VISIBLE_GPUS: ",".join(map(str, gpus))} if gpus else {}
        worker = Worker(task, env)
        self._running[worker.pipe] = _Running(number, worker, gpus)
        self._free = self._free[len(gpus) :]

    def _hear(self, *, stopped: bool = False) -> None:
        """Act on the messages that are there, or on the next one."""
        for pipe in cast(list[Connection], wait(list(self._running))):
            one = self._running[pipe]
            message = one.worker.receive()
            if message is not None:
                self._collector.take(one.number, message, one.worker.answer)
                continue
            del self._running[pipe]
            self._free = _ordered([*self._free, *one.gpus])
            code = one.worker.end()
            self._collector.leave(one.number, None if stopped else died_of(code))
