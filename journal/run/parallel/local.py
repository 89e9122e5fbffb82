"""Several engines at a time on this host, each on cards of its own."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import cast

from journal.errors import SpecError
from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.progress import Event, Listener
from journal.run.parallel.collector import Collector
from journal.run.parallel.messages import Task
from journal.run.parallel.worker import Worker, died_of
from journal.serve import gpu_memory as cards
from journal.serve.start import cards_wanted

VISIBLE = "CUDA_VISIBLE_DEVICES"


def check_fits(planned: Sequence[Cell], width: int, listener: Listener) -> None:
    """Refuse (SpecError) to measure `width` engines at a time where this host has too few cards for
    them, or where it is not for us to choose the cards. Tell of engines without cards."""
    engines = [engine for engine, _ in by_engine(planned) if engine]
    if width < 1:
        raise SpecError(f"--parallel-gpus {width}: at least one engine has to run at a time")
    if any(VISIBLE in engine.env for engine in engines):
        raise SpecError(
            f"an engine's env names its cards ({VISIBLE}), and --parallel-gpus chooses them for "
            "each engine: leave one of the two out"
        )
    if any(
        not part.strip().isdecimal() for part in os.environ.get(VISIBLE, "0").split(",") if part
    ):
        raise SpecError(
            f"{VISIBLE} = {os.environ[VISIBLE]!r} does not name cards by their numbers, and "
            "--parallel-gpus deals them out by these: name them so"
        )
    wanted = sorted((cards_wanted(engine) for engine in engines), reverse=True)[:width]
    there = cards.seen(os.environ)
    if sum(wanted) > len(there):
        raise SpecError(
            f"{len(wanted)} engines side by side need {' + '.join(map(str, wanted))} cards, and "
            f"{len(there)} can be seen here: lower --parallel-gpus or tensor_parallel, or look at "
            f"nvidia-smi and {VISIBLE}"
        )
    if len(wanted) > 1 and 0 in wanted:
        told = "engines side by side on a CPU share its cores, and are slower than each is alone"
        listener(Event("prepare", f"doubts are to be expected, because {told}"))


@dataclass(frozen=True, slots=True)
class _Running:
    number: int
    worker: Worker
    gpus: tuple[int, ...]


class SideBySide:
    """Measures the tasks of `collector`, `width` at a time, each in a process of its own and on
    cards of this host that are free, and takes there what comes of them."""

    def __init__(self, width: int, collector: Collector) -> None:
        self._width, self._collector = width, collector
        self._free = set(cards.seen(os.environ))
        self._running: dict[Connection, _Running] = {}

    def measure(self) -> None:
        """On KeyboardInterrupt each process stops as it does alone, and what it measured comes
        home first; at a second one its engine is killed."""
        waiting = deque(enumerate(self._collector.tasks))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._width:
                    self._start(*waiting.popleft())
                self._hear()
        except KeyboardInterrupt:
            for each in self._running.values():
                each.worker.interrupt()
            while self._running:
                self._hear(stopped=True)
            raise
        finally:
            for each in self._running.values():
                each.worker.interrupt()
            for each in self._running.values():
                each.worker.end()

    def _start(self, number: int, task: Task) -> None:
        gpus = tuple(sorted(self._free)[: cards_wanted(task.engine)])
        env = {VISIBLE: ",".join(map(str, gpus))} if gpus else {}
        worker = Worker(task, env)
        self._running[worker.pipe] = _Running(number, worker, gpus)
        self._free -= set(gpus)

    def _hear(self, *, stopped: bool = False) -> None:
        """Act on the messages that are there, or come next."""
        for pipe in cast(list[Connection], wait(list(self._running))):
            one = self._running[pipe]
            message = one.worker.receive()
            if message is not None:
                self._collector.take(one.number, message, one.worker.answer)
                continue
            del self._running[pipe]
            self._free |= set(one.gpus)
            code = one.worker.end()
            self._collector.leave(one.number, None if stopped else died_of(code))
