"""The process that sends records to MLflow beside a run: it gets ready in a thread that takes only
free processor time, and then carries out the messages of its pipe.

Its messages: ("thread", id of the thread that gets ready), ("ready",), and for each ("settle",)
that it receives (error,), as a Tracker's.
"""

import gc
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.tracking.tracker import Tracker


def main(descriptor: str, home: str, pace: str) -> None:
    """Carry out the messages of the pipe until it is closed. `pace` is "idle" or "now"."""
    pipe = Connection(int(descriptor))
    messages: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    ready: SimpleQueue[Tracker] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, messages), daemon=True).start()
    arguments = (Path(home), pipe, ready, pace == "idle")
    threading.Thread(target=_get_ready, args=arguments, daemon=True).start()
    tracker = ready.get()
    pipe.send(("ready",))
    while True:
        name, *values = messages.get()
        if name == "log":
            tracker.log(*values)
        elif name == "finish":
            tracker.finish(*values)
        else:
            pipe.send((tracker.error,))


def _get_ready(home: Path, pipe: Connection, ready: "SimpleQueue[Tracker]", idle: bool) -> None:
    """Import MLflow and open its store. A thread has a priority of its own on Linux
    (sched_setscheduler(2)). Where that fails the process ends, and its parent hears of it."""
    gc.disable()  # what is imported is many objects, and none is garbage
    try:
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            pipe.send(("thread", threading.get_native_id()))
        sys.modules["pandas"] = None  # type: ignore[assignment]  # not needed, and slow to import
        from journal.store.store import open_store
        from journal.tracking.tracker import Tracker

        tracker = Tracker(open_store(home), home)
        tracker.prepare()
        gc.freeze()
        gc.enable()
        ready.put(tracker)
    except BaseException:  # noqa: BLE001 (a process edge: whatever it was, the parent hears the end)
        os._exit(1)


def _listen(pipe: Connection, messages: SimpleQueue[tuple[Any, ...]]) -> None:
    """Take messages at once, so that their sender never waits."""
    try:
        while True:
            messages.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
