"""A load on more than one core: worker processes share the streams, and their raw traces are
merged. Their clocks need no merging: all processes of a system share its monotonic clock.

A worker is a fresh interpreter (never a copy of this one), and it ends when its pipe closes.
"""

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from multiprocessing.connection import Connection, Pipe, wait
from queue import SimpleQueue
from typing import cast

from journal.errors import JournalError, MeasureError
from journal.load.backlog import LoadPart
from journal.load.conversation import talks
from journal.load.health import Vitals
from journal.load.play import Beginning, Ready, divided, play
from journal.records.load_shape import Closed, LoadShape, Users
from journal.records.request import Trace

AHEAD_S = 0.05  # from the message to all workers until they begin


def share(part: LoadPart, processes: int, on_trace: Callable[[Trace], None]) -> list[Vitals]:
    """Send all of `part` from `processes` worker processes, which begin the measured part
    together; pass each trace to `on_trace` and return the vitals of each process. Raises what
    `play` raises, and MeasureError where a worker ends early."""
    workers = [_Worker() for _ in range(processes)]
    vitals: list[Vitals] = []
    try:
        for worker, piece in zip(workers, _pieces(part, processes), strict=True):
            worker.send(piece)
        ready: list[Ready] = []
        by_pipe = {worker.pipe: worker for worker in workers}
        while by_pipe:
            for pipe in cast(list[Connection], wait(list(by_pipe))):
                message = by_pipe[pipe].receive()
                if isinstance(message, Trace):
                    on_trace(message)
                elif isinstance(message, Vitals):
                    vitals.append(message)
                    del by_pipe[pipe]
                elif isinstance(message, Ready):
                    ready.append(message)
                    if len(ready) == processes:
                        known = (each.ttft_s for each in ready if each.ttft_s is not None)
                        begin = Beginning(time.monotonic() + AHEAD_S, min(known, default=None))
                        for worker in workers:
                            worker.send(begin)
        return vitals
    finally:
        for worker in workers:
            worker.end()


def _pieces(part: LoadPart, processes: int) -> Sequence[LoadPart]:
    """The part of each process: every n-th request or conversation, and an equal share of
    the batch."""
    warmup, sent = divided(part.requests)
    groups = talks(sent) if isinstance(part.shape, Users) else [[one] for one in sent]
    return [
        replace(
            part,
            requests=(*warmup[k::processes], *chain.from_iterable(groups[k::processes])),
            shape=_share(part.shape, k, processes),
            max_in_flight=_share_of(part.max_in_flight, k, processes),
            share=(k, processes),
            endless=part.endless and replace(part.endless, after=part.endless.after[k::processes]),
        )
        for k in range(processes)
    ]


def _share(shape: LoadShape, k: int, processes: int) -> LoadShape:
    """The share of the batch that process `k` keeps in flight; an open loop is divided by
    requests instead."""
    if isinstance(shape, Closed | Users):
        return replace(shape, batch=len(range(k, shape.batch, processes)))
    return shape


def _share_of(most: int | None, k: int, processes: int) -> int | None:
    """The share of the limit on requests in flight that process `k` keeps to."""
    return None if most is None else len(range(k, most, processes))


class _Worker:
    """One worker process, seen from the one that started it."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "journal.load.workers", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent; it ends the workers
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()

    def send(self, message: object) -> None:
        with self._raising_if_ended():
            self.pipe.send(message)

    def receive(self) -> object:
        with self._raising_if_ended():
            message = self.pipe.recv()
        if isinstance(message, JournalError):
            raise message
        return message

    @contextmanager
    def _raising_if_ended(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            raise MeasureError(
                f"a load worker ended before its work was done (exit code {self._process.wait()}): "
                "try again with fewer processes"
            ) from None

    def end(self) -> None:
        self.pipe.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _work(pipe: Connection) -> None:
    """The worker's side: receive a part, play it, send each trace and at last the vitals.

    Two threads wait on the pipe, so that the event loop never does."""
    part: LoadPart = pipe.recv()
    begin: Future[Beginning] = Future()
    outbox: SimpleQueue[bytes | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, begin), daemon=True).start()
    sender = threading.Thread(target=_send, args=(pipe, outbox))
    sender.start()

    def tell(message: object) -> None:
        outbox.put(pickle.dumps(message))

    async def gate(ttft_s: float | None) -> Beginning:
        tell(Ready(ttft_s))
        beginning = await asyncio.wrap_future(begin)
        await asyncio.sleep(beginning.at_s - time.monotonic())
        return beginning

    try:
        tell(play(part, tell, gate))
    except JournalError as error:
        tell(error)
    finally:
        outbox.put(None)
        sender.join()


def _listen(pipe: Connection, begin: "Future[Beginning]") -> None:
    """Receive the time to begin; end this process when the other end of its pipe is gone."""
    try:
        begin.set_result(pipe.recv())
        pipe.recv()
    except (EOFError, ConnectionError):
        os._exit(1)


def _send(pipe: Connection, outbox: "SimpleQueue[bytes | None]") -> None:
    while (message := outbox.get()) is not None:
        pipe.send_bytes(message)


if __name__ == "__main__":
    _work(Connection(int(sys.argv[1])))
