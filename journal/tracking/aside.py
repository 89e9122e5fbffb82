"""MLflow is told by a process of its own, which starts beside the load: to import MLflow and to
open its store takes a core some seconds, which nobody should wait for before the first request or
after the last answer.

It runs at the kernel's idle priority, takes processor time that nobody else wants, and is counted
among ours (measure/host.py). Where a control group grants all of us so much time and no more, it
does not start before the load is over.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from journal.measure.environment import cpu_quota_cores
from journal.records.run import ExperimentRecord, Record
from journal.store.store import Store, open_store
from journal.store.undivided import undivided
from journal.tracking.tracker import Tracker

ENDED = "the process that tells it has ended"


class Aside:
    """A Tracker of one experiment, in a process of its own. No method raises for MLflow's sake:
    `error` is as a Tracker's once `settle` or `finish` has returned. What MLflow was not told of
    stays pending in the store."""

    def __init__(self, store: Store, home: Path) -> None:
        self.error: str | None = None
        self._store, self._home = store, home
        self._pipe, self._process = _none()
        self._waiting: list[tuple[object, ...]] = []
        self._questions = 0
        self._gone = False
        self._unfinished: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._unfinished is not None:
            self.finish(self._store.experiment(self._unfinished))
        self._close()

    def start(self) -> None:
        """Begin to get ready, where that takes nothing from the load."""
        if cpu_quota_cores() is None:
            self._start()

    def log(self, record: Record) -> None:
        """Have MLflow told, some time later, of a run that is in the store."""
        self._unfinished = record.experiment_id
        self._send("log", record)

    def settle(self) -> None:
        """Wait until MLflow was told of all so far."""
        if self._gone or not (self._waiting or self._process):
            return
        self._questions += 1
        self._start()
        self._send("settle", self._questions)
        self._hurry()
        try:
            answered = 0
            while self._pipe is not None and answered < self._questions:
                answered, self.error = self._pipe.recv()
        except (EOFError, OSError):
            self.give_up(ENDED)

    def finish(
        self,
        experiment: ExperimentRecord,
        artifacts: Sequence[Path] = (),
        summary: str | None = None,
        read: Sequence[Record] | None = None,
    ) -> None:
        """As a Tracker's; MLflow was told, or `error` says why not."""
        self._unfinished = None
        self._send("finish", experiment, tuple(artifacts), summary, read)
        self.settle()
        if self._gone:
            self._store.mark_unlogged(experiment, self.error or "")

    def give_up(self, why: str) -> None:
        """Ask MLflow no more; what it lacks stays pending."""
        self._gone = True
        self.error = f"MLflow was not told of all ({why}): journal sync tells it the rest."
        if self._process is not None:
            self._process.kill()
        self._close()

    def _start(self) -> None:
        if self._process is not None:
            return
        self._pipe, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), str(self._home.absolute())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # a Ctrl-C of the terminal is for us
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._send(*message)

    def _send(self, *message: object) -> None:
        if self._gone:
            return
        if self._pipe is None:
            self._waiting.append(message)
            return
        try:
            with undivided():
                self._pipe.send(message)
        except OSError:
            self.give_up(ENDED)

    def _hurry(self) -> None:
        """Nobody measures now. An ordinary account may not raise a priority that it lowered."""
        if self._process is not None and hasattr(os, "SCHED_OTHER"):
            with contextlib.suppress(OSError):
                os.sched_setscheduler(self._process.pid, os.SCHED_OTHER, os.sched_param(0))

    def _close(self) -> None:
        """Let the process end: it does so when nobody is left to listen to."""
        if self._pipe is not None and self._process is not None:
            self._pipe.close()
            self._process.wait()
        self._pipe, self._process = _none()


def _none() -> tuple[Connection | None, "subprocess.Popen[bytes] | None"]:
    return None, None


# ---- in the process itself ---------------------------------------------------------------------


def main(descriptor: str, home: str) -> None:
    """Do what comes through the pipe until it is closed."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
    pipe = Connection(int(descriptor))
    messages: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, messages), daemon=True).start()
    with open_store(Path(home)) as store:
        tracker = Tracker(store, Path(home))
        tracker.prepare()
        while True:
            name, *values = messages.get()
            if name == "log":
                tracker.log(*values)
            elif name == "finish":
                tracker.finish(*values)
            else:
                pipe.send((*values, tracker.error))


def _listen(pipe: Connection, messages: SimpleQueue[tuple[Any, ...]]) -> None:
    """Take what comes, so that nobody waits to be rid of it."""
    try:
        while True:
            messages.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
