"""A process that measures the cells of one engine for another process, which stores them.

It is a fresh interpreter in a session of its own: it shares no lock with another load, receives
Ctrl-C only from its parent, and ends when its pipe closes. The guard of its engine then ends that.
"""

import os
import platform
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue

from journal.errors import SpecError
from journal.measure.environment import environment
from journal.records.engine import Endpoint, GpuName
from journal.records.experiment import Engine
from journal.records.progress import Event, Listener
from journal.records.run import Record
from journal.records.samples import Samples
from journal.run.measure_engine import measure_group
from journal.run.parallel.messages import Arrived, Ended, Made, Message, Task
from journal.run.preflight import Around
from journal.serve.interpreter import installed
from journal.serve.start import gpus_of
from journal.store.undivided import undivided

PERIOD_S = 0.1  # between two messages on the progress of a cell: they cost the load time
PATIENCE_S = 30.0  # for a process that has to end, and may have an engine to stop first


class Worker:
    """A worker process, seen from the one that started it. `env` is laid over its variables; once
    it is `closed`, no more messages come."""

    def __init__(self, task: Task, env: Mapping[str, str]) -> None:
        self.pipe, theirs = Pipe()
        self.closed = self._arrived = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "journal.run.parallel.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
        )
        theirs.close()
        with suppress(ConnectionError):  # `receive` notices it
            self.pipe.send(task)

    def receive(self) -> Message | None:
        """The next message; None when no more will come."""
        try:
            with undivided():
                message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self.closed = True
            return None
        self._arrived = self._arrived or isinstance(message.news, Arrived)
        return message

    def answer(self, record: Record) -> None:
        """Send the record of the last run, as it was stored."""
        with undivided(), suppress(ConnectionError):
            self.pipe.send(record)

    def interrupt(self) -> None:
        """Interrupt the worker as Ctrl-C would."""
        self._process.send_signal(signal.SIGINT if self._arrived else signal.SIGKILL)

    def end(self) -> int:
        """Wait for the end of the worker; return its exit code. A worker that still runs must have
        been interrupted: it gets PATIENCE_S to stop its engine, and its runs are not kept."""
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            while not self.closed and self.pipe.poll(max(deadline_s - time.monotonic(), 0.0)):
                message = self.receive()
                if message is not None and isinstance(message.news, Made):
                    self.answer(message.news.record)
        finally:
            self.pipe.close()  # the worker ends then
            self._process.wait()
        return self._process.returncode


def died_of(code: int) -> str:
    """The reason why cells have no measurement, for a worker that ended with this exit code."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process that measured it {how}: look for the reason, and run again with --resume"


# ---- in the process itself ---------------------------------------------------------------------


class _Sender:
    """The sender of events and records to the process that stores them."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._next_s = pipe, 0.0
        self._answers: SimpleQueue[Record] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, news: Arrived | Event | Made | Ended) -> None:
        with undivided():
            self._pipe.send(Message(time.monotonic(), news))

    def tell(self, event: Event) -> None:
        """Send an event. Progress is sent at most every PERIOD_S, and only where the pipe has
        room."""
        now_s = time.monotonic()
        if event.total is not None and 0 < event.done < event.total:
            if now_s < self._next_s or not select.select([], [self._pipe], [], 0)[1]:
                return
            self._next_s = now_s + PERIOD_S
        self.send(event)

    def keep(self, record: Record, samples: Samples | None) -> Record:
        with undivided():
            self.send(Made(record, samples))
            return self._answers.get()

    def _listen(self) -> None:
        """Take answers; end this process when the other end of its pipe is gone."""
        try:
            while True:
                self._answers.put(self._pipe.recv())
        except (EOFError, ConnectionError):
            os._exit(1)


def _measure(pipe: Connection) -> None:
    task: Task = pipe.recv()
    sender, begun = _Sender(pipe), task.begun
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in its workers
    try:
        if task.remote:
            begun = replace(begun, environment=environment(installed(task.engine)))
        sender.send(Arrived(platform.node(), _gpus(task.engine)))
        served = _served(task, sender.tell)
        measure_group(task.group, served, begun, task.known, sender.keep, sender.tell)
        sender.send(Ended())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _served(task: Task, listener: Listener) -> Iterator[Endpoint]:
    if task.remote:
        Around().tell(task.group, task.strict, listener)
    with task.serve(task.engine, task.log_path, listener) as endpoint:
        yield endpoint


def _gpus(engine: Engine) -> tuple[GpuName, ...]:
    try:
        return gpus_of(engine)
    except SpecError:  # its start reports it
        return ()


if __name__ == "__main__":
    _measure(Connection(int(sys.argv[1])))
