"""A process that measures the cells of one engine for another process, which stores them.

It is a fresh interpreter in a session of its own: it shares no lock with another load, hears of a
Ctrl-C only when it is told, and ends when its pipe does. The guard of its engine then ends that.
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

PERIOD_S = 0.1  # between two words on how far a cell is: they cost the load time
PATIENCE_S = 30.0  # with a process that was told to end, and may have an engine to stop first


class Worker:
    """Such a process, seen from the one that started it. `env` is laid over its variables; once it
    is `closed`, no more messages come."""

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
        with suppress(ConnectionError):  # the message that does not come will tell
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
        """The record of the last run, as it was kept."""
        with undivided(), suppress(ConnectionError):
            self.pipe.send(record)

    def interrupt(self) -> None:
        """Do there what a Ctrl-C does."""
        self._process.send_signal(signal.SIGINT if self._arrived else signal.SIGKILL)

    def end(self) -> int:
        """Its exit code. One that goes on must have been interrupted, and has a while to stop its
        engine; what it measured by then is not kept."""
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            while not self.closed and self.pipe.poll(max(deadline_s - time.monotonic(), 0.0)):
                message = self.receive()
                if message is not None and isinstance(message.news, Made):
                    self.answer(message.news.record)
        finally:
            self.pipe.close()  # it does not outlive that
            self._process.wait()
        return self._process.returncode


def died_of(code: int) -> str:
    """Why cells have no measurement whose worker ended with this exit code."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process that measured it {how}: look for the reason, and run again with --resume"


# ---- in the process itself ---------------------------------------------------------------------


class _Sender:
    """The way home for events and records."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._next_s = pipe, 0.0
        self._answers: SimpleQueue[Record] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, news: Arrived | Event | Made | Ended) -> None:
        with undivided():
            self._pipe.send(Message(time.monotonic(), news))

    def tell(self, event: Event) -> None:
        """How far something is, is told now and then, and only where that need not wait."""
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
        """Take answers; end this process when nobody is left to measure for."""
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
        if task.afar:
            begun = replace(begun, environment=environment(installed(task.engine)))
        sender.send(Arrived(platform.node(), _gpus(task.engine)))
        served = _served(task, sender.tell)
        measure_group(task.group, served, begun, task.known, sender.keep, sender.tell)
        sender.send(Ended())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _served(task: Task, listener: Listener) -> Iterator[Endpoint]:
    if task.afar:
        Around().tell(task.group, task.strict, listener)
    with task.serve(task.engine, task.log_path, listener) as endpoint:
        yield endpoint


def _gpus(engine: Engine) -> tuple[GpuName, ...]:
    try:
        return gpus_of(engine)
    except SpecError:  # which its start will tell
        return ()


if __name__ == "__main__":
    _measure(Connection(int(sys.argv[1])))
