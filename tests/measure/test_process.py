import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from journal.errors import MeasureError
from journal.measure.process import ProcessTree

MIB = 2**20
# A process with a child. The child takes 40 MiB on a line of input, then burns time until its end.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE)
for line in sys.stdin:
    child.stdin.write(line.encode())
    child.stdin.flush()
    if line.strip() == "end":
        child.wait()
    print("done", flush=True)
child.communicate()
"""
CHILD = """
import sys
for line in sys.stdin:
    if line.strip() == "end": break
    held = bytearray(40 * 2**20); held[::4096] = b"x" * len(held[::4096])
    for _ in range(4_000_000): pass
    print("done", file=sys.stderr, flush=True)
"""


@contextlib.contextmanager
def family() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            tell(parent, "hello")
            yield parent
        finally:
            assert parent.stdin is not None
            parent.stdin.close()
            parent.wait()


def tell(parent: subprocess.Popen[str], line: str) -> None:
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stderr is not None
    parent.stdin.write(line + "\n")
    parent.stdin.flush()
    parent.stdout.readline()
    if line != "end":
        parent.stderr.readline()


def test_memory_and_time_of_the_whole_tree() -> None:
    with family() as parent:
        tree = ProcessTree(parent.pid)
        first = tree.look(1.0)
        assert (first.at_s, first.processes) == (1.0, 2)
        assert len(tree.pids) == 2
        assert parent.pid in tree.pids
        assert 45 * MIB < first.rss_bytes < 400 * MIB
        tell(parent, "burn")
        second = tree.look(2.0)
        assert first.cpu_s is not None
        assert second.cpu_s is not None
        assert second.cpu_s > first.cpu_s


def test_a_child_that_ends_leaves_its_time_and_takes_its_memory() -> None:
    with family() as parent:
        tree = ProcessTree(parent.pid)
        before = tree.look(0)
        tell(parent, "end")
        after = tree.look(1)
        assert (before.processes, after.processes) == (2, 1)
        assert after.rss_bytes < before.rss_bytes - 30 * MIB
        assert before.cpu_s is not None
        assert after.cpu_s is not None
        assert after.cpu_s >= before.cpu_s


def test_a_server_that_has_ended() -> None:
    with family() as parent:
        tree = ProcessTree(parent.pid)
        tree.look(0)
    with pytest.raises(MeasureError, match=f"process {parent.pid} has ended"):
        tree.look(1)
    with pytest.raises(MeasureError, match=f"process {parent.pid} is not running"):
        ProcessTree(parent.pid)


def test_a_look_is_quick_enough_to_take_beside_a_load() -> None:
    tree = ProcessTree(os.getpid())
    began = time.thread_time()
    for _ in range(50):
        tree.look(0)
    assert (time.thread_time() - began) / 50 < 0.005  # about 0.05 ms; a walk of /proc costs more
