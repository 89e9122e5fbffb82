"""The guard: whatever dies, by whatever signal, nothing of the tree remains."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from journal.serve import process_tree as process

Gone = Callable[..., bool]
PARENT = """
import os, sys, time
from pathlib import Path
from journal.serve import process_tree as process
tree = process.start_guarded(sys.argv[2:], env=os.environ, log_path=Path(sys.argv[1]), grace_s=0.3)
print("started", flush=True)
time.sleep(600)
"""
# A root with a child that leaves its session, and a grandchild there; none heeds TERM.
FAMILY = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
depth, path = int(sys.argv[1]), sys.argv[2]
with open(path, "a") as file:
    file.write(f"{os.getpid()}\\n")
if depth:
    subprocess.Popen([sys.executable, "-S", *sys.orig_argv[2:-2], str(depth - 1), path],
                     start_new_session=depth == 2)
time.sleep(600)
"""


def family(path: Path) -> list[str]:
    return [sys.executable, "-S", "-c", FAMILY, "2", str(path)]


def pids_in(path: Path) -> list[int]:
    while not path.exists() or len(path.read_text().split()) < 3:
        time.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.timing
def test_a_stubborn_tree_is_ended(tmp_path: Path, gone: Gone) -> None:
    pids_path, log_path = tmp_path / "pids", tmp_path / "logs" / "log"
    tree = process.start_guarded(family(pids_path), env=os.environ, log_path=log_path, grace_s=0.3)
    pids = pids_in(pids_path)
    assert tree.pid == pids[0]
    assert {one.pid for one in tree.processes()} == set(pids)
    assert tree.lives()
    assert tree.exit_code() is None
    tree.stop()
    assert gone(pids, within_s=0.0)
    assert not tree.lives()
    assert tree.exit_code() == 128 + signal.SIGKILL
    tree.stop()


def test_what_the_tree_says_is_kept_in_a_private_file(tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    says = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    tree = process.start_guarded([sys.executable, "-uc", says], env=os.environ, log_path=log_path)
    assert tree.guard.wait(20) == tree.exit_code() == 3
    tree.stop()
    assert log_path.read_text() == "out\nerr\n"
    assert stat.S_IMODE(log_path.stat().st_mode) == 0o600


def test_a_command_that_cannot_be_run_says_so_in_the_log(tmp_path: Path) -> None:
    tree = process.start_guarded(["/no/such/python"], env=os.environ, log_path=tmp_path / "log")
    assert tree.guard.wait(20) == 127
    tree.stop()
    assert "cannot run /no/such/python" in (tmp_path / "log").read_text()


def test_the_variables_are_those_that_were_given(tmp_path: Path) -> None:
    says = "import os, json; print(json.dumps(dict(os.environ)))"
    log_path = tmp_path / "log"
    tree = process.start_guarded(
        [sys.executable, "-c", says], env={"ONLY": "this"}, log_path=log_path
    )
    tree.guard.wait(20)
    tree.stop()
    env = json.loads(log_path.read_text())
    assert env["ONLY"] == "this"
    assert "PATH" not in env


@pytest.mark.timing
def test_children_follow_when_the_root_dies(tmp_path: Path, gone: Gone) -> None:
    pids_path = tmp_path / "pids"
    tree = process.start_guarded(family(pids_path), env=os.environ, log_path=tmp_path / "log")
    pids = pids_in(pids_path)
    os.kill(pids[0], signal.SIGKILL)
    assert gone(pids)
    assert tree.guard.wait(20) == 128 + signal.SIGKILL
    tree.stop()


@pytest.mark.timing
def test_stop_still_ends_the_group_when_the_guard_is_killed(tmp_path: Path, gone: Gone) -> None:
    stays = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    command = [sys.executable, "-S", "-c", stays]
    tree = process.start_guarded(command, env=os.environ, log_path=tmp_path / "log")
    tree.guard.kill()
    tree.guard.wait()
    assert not tree.lives()
    tree.stop()
    assert gone([tree.pid])


SHARES = """
import multiprocessing.shared_memory as shared, sys, time
with open(sys.argv[1], "w") as file:
    file.write(shared.SharedMemory(create=True, size=4096).name)
time.sleep(600)
"""


@pytest.mark.timing
def test_stop_leaves_no_shared_memory_when_the_guard_is_killed(tmp_path: Path, gone: Gone) -> None:
    name = tmp_path / "name"
    command = [sys.executable, "-c", SHARES, str(name)]
    tree = process.start_guarded(command, env=os.environ, log_path=tmp_path / "log")
    while not (name.exists() and name.read_text()):
        time.sleep(0.01)
    memory = Path("/dev/shm") / name.read_text()
    assert memory.exists()
    os.kill(tree.pid, signal.SIGSTOP)  # the death of its guard would end it
    tree.guard.kill()
    tree.guard.wait()
    tree.stop()
    assert gone([tree.pid])
    assert not memory.exists()


@pytest.mark.timing
def test_an_interrupt_while_it_stops_kills_at_once(tmp_path: Path, gone: Gone) -> None:
    pids_path = tmp_path / "pids"
    tree = process.start_guarded(
        family(pids_path), env=os.environ, log_path=tmp_path / "log", grace_s=60
    )
    pids = pids_in(pids_path)
    impatience = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    impatience.start()
    with pytest.raises(KeyboardInterrupt):
        tree.stop()
    impatience.join()
    assert gone(pids, within_s=0.0)


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_remains_when_the_parent_dies_by_a_signal(
    tmp_path: Path, gone: Gone, number: signal.Signals
) -> None:
    pids_path = tmp_path / "pids"
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), *family(pids_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as parent:
        pids = pids_in(pids_path)
        parent.send_signal(number)
    assert gone(pids)


def test_sigkill_of_the_parent_at_random_moments(tmp_path: Path) -> None:
    """Also while the guard itself, or the root of the tree, has hardly started."""
    for attempt in range(8):
        pids_path = tmp_path / f"pids{attempt}"
        command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), *family(pids_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            if attempt % 2:
                parent.stdout.readline()
            time.sleep(random.uniform(0.0, 0.4))
            parent.kill()
        deadline = time.monotonic() + 20
        while named(pids_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not named(pids_path)


def named(path: Path) -> list[int]:
    """The processes, the guard among them, that have `path` in their command line."""
    return [
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if str(path) in (one.info["cmdline"] or []) and process.is_running(one.pid)
    ]
