"""A process beside a run that sends records to MLflow: importing MLflow and opening its store take
a core some seconds, for which neither the first request nor the prompt should wait.

It gets ready at the kernel's idle priority, in processor time that is free, and counts among the
journal's own (measure/host.py). It writes only between two loads, when this process waits for it.
Where a control group limits the processor time of all of them, it does not start before the load is
over.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Self

from journal.measure.environment import cpu_quota_cores
from journal.records.run import ExperimentRecord, Record
from journal.store.store import Store
from journal.store.undivided import undivided
from journal.tracking.mlflow_store import refused_connection
from journal.tracking.tracker import not_taken, tracking_uri

READY_S = 240.0  # to import MLflow and to open its store, on a busy machine
SETTLE_S, RECORD_S = 60.0, 10.0  # to send what waits, and for each record of it
ENDED = "the process that sends them has ended"
PROCESS = "journal.tracking.aside_process"


class Aside:
    """A Tracker of one experiment, in a process of its own. No method raises because of MLflow:
    `error` is as a Tracker's once `settle` or `finish` has returned. Records that MLflow lacks stay
    pending in the store."""

    def __init__(self, store: Store, home: Path) -> None:
        self.error: str | None = None
        self._store, self._home = store, home
        self._pipe, self._process = _none()
        self._getting_ready: int | None = None  # the id of the thread that gets ready
        self._ready = self._idle = False
        self._waiting: list[tuple[object, ...]] = []
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
        """Start the process, where that takes nothing from the load."""
        if cpu_quota_cores() is None:
            self._start(idle=True)

    def log(self, record: Record) -> None:
        """Send a run that is in the store to MLflow: now, where the process is ready, else
        later."""
        self._unfinished = record.experiment_id
        self._waiting.append(("log", record))
        if self._process is not None and self._hears(wait=False):
            self._deliver()

    def settle(self) -> None:
        """Wait until everything so far was sent; `error` is up to date then."""
        if not self._gone and (self._waiting or self._process):
            self._start(idle=False)
            self._hurry()
            if self._hears(wait=True):
                self._deliver()
        if self._gone:
            waiting, self._waiting = self._waiting, []
            for _, record, *_ in waiting:
                assert isinstance(record, ExperimentRecord | Record)
                self._store.mark_unlogged(record, self.error or "")

    def finish(
        self,
        experiment: ExperimentRecord,
        artifacts: Sequence[Path] = (),
        summary: str | None = None,
        read: Sequence[Record] | None = None,
    ) -> None:
        """Send how an experiment ended, as a Tracker does, and wait for it; `error` says why MLflow
        lacks something."""
        self._unfinished = None
        self._waiting.append(("finish", experiment, tuple(artifacts), summary, read))
        self.settle()

    def give_up(self, why: str) -> None:
        """Send nothing more to MLflow; the records that it lacks stay pending."""
        self._gone = True
        self.error = f"MLflow lacks some records ({why}): journal sync sends them"
        if self._process is not None:
            self._process.kill()
        self._close()

    def _start(self, *, idle: bool) -> None:
        if self._process is not None or self._gone:
            return
        refused = refused_connection(tracking_uri(self._home))
        if refused is not None:
            self._gone, self.error = True, not_taken(refused, self._home)
            return
        self._pipe, theirs = Pipe()
        self._idle = idle and hasattr(os, "SCHED_IDLE")
        pace = "idle" if self._idle else "now"
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROCESS, str(theirs.fileno()), str(self._home.absolute()), pace],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C in the terminal is for the parent only
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()

    def _hears(self, *, wait: bool) -> bool:
        """Whether the process is ready to send; with `wait`, wait until it is ready or has
        ended."""
        try:
            while self._pipe is not None and not self._ready and (wait or self._pipe.poll()):
                self._hear()
        except TimeoutError:
            self.give_up(f"it was not ready after {READY_S:g} s")
        except (EOFError, OSError):
            self.give_up(ENDED)
        return self._ready and not self._gone

    def _hear(self) -> None:
        """Wait for one message. Raises EOFError or OSError where the process has ended, and
        TimeoutError after READY_S."""
        assert self._pipe is not None
        if not self._pipe.poll(READY_S):
            raise TimeoutError
        name, *values = self._pipe.recv()
        if name == "thread":
            (self._getting_ready,) = values
        self._ready = name == "ready"

    def _deliver(self) -> None:
        """Send all waiting messages, and wait until MLflow has them: no load is measured
        meanwhile."""
        waiting, self._waiting = self._waiting, []
        try:
            assert self._pipe is not None
            for message in waiting:
                with undivided():
                    self._pipe.send(message)
            self._pipe.send(("settle",))
            limit_s = SETTLE_S + RECORD_S * len(waiting)
            if not self._pipe.poll(limit_s):
                self.give_up(f"it did not take them within {limit_s:g} s")
                return
            (self.error,) = self._pipe.recv()
        except (EOFError, OSError):
            self.give_up(ENDED)

    def _hurry(self) -> None:
        """Let the process get ready like any other, since no load is measured now. An ordinary
        account may not raise a lowered priority: there the process starts again."""
        if self._hears(wait=False) or self._gone or not self._idle:
            return
        try:
            if self._getting_ready is None:
                self._hear()  # its first message, which comes at once
            assert self._getting_ready is not None
            os.sched_setscheduler(self._getting_ready, os.SCHED_OTHER, os.sched_param(0))
        except ProcessLookupError:  # it is ready by now
            return
        except TimeoutError:
            self.give_up(f"it was not ready after {READY_S:g} s")
        except EOFError:
            self.give_up(ENDED)
        except OSError:
            self._close()
            self._start(idle=False)

    def _close(self) -> None:
        """Close the pipe and wait for the end of the process. A process that is not ready yet has
        nothing to lose, and could wait long for processor time: it is killed."""
        if self._pipe is not None and self._process is not None:
            if not self._ready:
                self._process.kill()
            self._pipe.close()
            self._process.wait()
        self._pipe, self._process = _none()
        self._ready, self._getting_ready = False, None


def _none() -> tuple[Connection | None, "subprocess.Popen[bytes] | None"]:
    return None, None
