"""A process tree under its guard: started, watched, and ended so that nothing of it remains."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from journal.errors import EngineError
from journal.private import make_folder

GRACE_S = 10.0  # between TERM and KILL; an engine that loads its weights heeds no TERM
PATIENCE_S = 10.0  # after that even SIGKILL did not help
TRACKER_S = 2.0  # Python's resource tracker needs a moment to free the shared memory of the killed
GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Guarded:
    """A process tree and its guard. `pid` is the root of the tree and its process group."""

    pid: int
    guard: "subprocess.Popen[bytes]"
    grace_s: float

    def lives(self) -> bool:
        """Whether the root, and its guard, still run."""
        return self.guard.poll() is None and is_running(self.pid)

    def exit_code(self) -> int | None:
        """The root's exit code (128 + the signal that killed it) once nothing of the tree is left,
        else None. A server whose worker was killed may exit with 0."""
        return self.guard.poll()

    def processes(self) -> list[psutil.Process]:
        """Every living process of the tree, orphans of the root included."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.guard.pid).children(recursive=True)
        return []

    def stop(self, *, within_s: float | None = None) -> None:
        """End the tree: TERM, and KILL after `grace_s`, or after `within_s` where that is less;
        return when nothing of it is left. A second call does nothing.

        A KeyboardInterrupt while it waits kills the tree at once and is raised again. Raises
        EngineError when a process of the tree cannot be killed.
        """
        try:
            self._tell(b"s")
            if within_s is not None:
                with suppress(subprocess.TimeoutExpired):
                    self.guard.wait(within_s)
                self._tell(b"k")
            self.guard.wait(self.grace_s + PATIENCE_S)
        except subprocess.TimeoutExpired:
            pids = ", ".join(str(process.pid) for process in self.processes())
            raise EngineError(
                f"the engine's processes {pids} do not end, not even by SIGKILL: they wait in "
                "the kernel, for a disk or a driver; look at them with ps before the next run"
            ) from None
        except BaseException:
            self._tell(b"k")
            with suppress(subprocess.TimeoutExpired):
                self.guard.wait(PATIENCE_S)
            raise
        finally:
            self._close()

    def _tell(self, order: bytes) -> None:
        assert self.guard.stdin is not None
        if not self.guard.stdin.closed:
            with suppress(BrokenPipeError):
                self.guard.stdin.write(order)

    def _close(self) -> None:
        """Close the pipes to the guard. A guard that was killed itself can end nothing, so the tree
        is killed here."""
        for pipe in (self.guard.stdin, self.guard.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if (self.guard.poll() or 0) < 0:
            self._end_session()

    def _end_session(self) -> None:
        """Kill all that is left of the tree's session, and last the resource trackers in it, which
        free the shared memory of the killed and then end by themselves."""
        began_s = time.monotonic()
        while left := [one for one in psutil.process_iter() if self._has(one)]:
            took_s = time.monotonic() - began_s
            if took_s > PATIENCE_S:
                return
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    if took_s > TRACKER_S or not _tracks_resources(one):
                        one.kill()
            time.sleep(0.02)

    def _has(self, one: psutil.Process) -> bool:
        with suppress(ProcessLookupError, PermissionError):
            return self.pid in (one.pid, os.getsid(one.pid)) and is_running(one.pid)
        return False


def _tracks_resources(one: psutil.Process) -> bool:
    return "multiprocessing.resource_tracker" in " ".join(one.cmdline())


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_guarded(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log_path: Path,
    grace_s: float = GRACE_S,
) -> Guarded:
    """Start `command` under a guard, in a session of its own, with its output in a private file.

    The guard ends the whole tree when this process dies, by any signal. Raises EngineError where
    the guard does not start.
    """
    make_folder(log_path.parent)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", GUARD, str(os.getpid()), str(grace_s), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(env),
            bufsize=0,
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert guard.stdout is not None
    first_line = guard.stdout.readline()
    if not first_line:
        guard.communicate()
        raise EngineError(
            f"the guard process ended with exit code {guard.returncode} at once: see {log_path}"
        )
    return Guarded(pid=int(first_line), guard=guard, grace_s=grace_s)
