"""The guard between this program and an engine: nothing of the engine outlives either of them.

Run as a script of its own, `python -I -S guard.py PARENT GRACE_S COMMAND...`, never imported. It
starts COMMAND in a session of its own and writes its process id to standard output. Standard input
is a pipe that the parent holds open: a byte `s` means stop (TERM to the group, KILL after GRACE_S),
a byte `k` means kill at once, and the end of the pipe, which comes with the parent's death by any
signal, means stop. As a subreaper it inherits the orphans of the engine, and so finds those that
left the group. It exits when nothing is left, with the engine's exit code.
"""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ORPHAN_GRACE_S = 2.0  # for processes that a dead engine leaves behind: they have nothing to save
TRACKER_S = 2.0  # Python's resource tracker needs a moment to free the shared memory of the killed
PERIOD_S = 0.1

stop_signals: list[int] = []
ended: dict[int, int] = {}  # the exit codes of the guard's children, by process id


def start_in_session(command: list[str]) -> int:
    """Start `command` in a session of its own, with this program's standard error for its output;
    return its process id. If the guard is killed, the kernel ends the command."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (2, 1)):
            os.dup2(source, target)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def reap() -> None:
    """Note the exit code of every child that has ended."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            ended[pid] = code if code >= 0 else 128 - code


def family() -> set[int]:
    """The process ids of all living descendants of the guard."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    pids: set[int] = set()
    queue = [os.getpid()]
    while queue:
        born = children.get(queue.pop(), [])
        queue += born
        pids.update(born)
    return pids


def tracks_resources(pid: int) -> bool:
    with suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def wait_for_end(child: int, parent: int) -> None:
    """Wait until the engine ends, or has to be stopped."""
    while child not in ended and not stop_signals and os.getppid() == parent:
        if select.select([0], [], [], PERIOD_S)[0]:
            break
        reap()
    reap()


def kill_requested() -> bool:
    """Whether a `k` has come. An `s`, or the end of the pipe, has already started the stop."""
    return bool(select.select([0], [], [], 0)[0]) and os.read(0, 1) == b"k"


def end(child: int, grace_s: float) -> None:
    """End all that is left: TERM to the group, GRACE_S to end, then KILL until nothing is left."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while family() and time.monotonic() < deadline and not kill_requested():
        time.sleep(PERIOD_S / 2)
        reap()
    trackers_until = time.monotonic() + TRACKER_S
    while pids := family():
        for pid in pids:
            if time.monotonic() > trackers_until or not tracks_resources(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(PERIOD_S / 5)
        reap()
    reap()


def main() -> int:
    parent, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: stop_signals.append(received))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    child = start_in_session(command)
    try:
        with suppress(BrokenPipeError):
            os.write(1, f"{child}\n".encode())
        wait_for_end(child, parent)
    finally:
        end(child, ORPHAN_GRACE_S if child in ended else grace_s)
    return ended.get(child, 0)


if __name__ == "__main__":
    sys.exit(main())
