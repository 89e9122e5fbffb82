"""Mutants: single random changes of the rooms that compute numbers, and the tests that notice them.

    python -m benchmarks.mutate --rooms metrics,load --count 50 --seed 1

Each mutant is one change of one expression (a number, a comparison, an operator, a `not`, what is
returned) in a copy of the tree; it is killed when the tests that mirror its room fail or run out
of time. Left out is what a test could only restate: types, decorators, messages, and the named
constants and tables of facts at the top of a module. The mutants that survive are listed, and some
are harmless: a test is owed to the others.

Own code, since mutmut and cosmic-ray try every mutant of a module and have one command of tests
for all of them: hours here, where a sample with the tests of its room takes minutes.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import copy
import importlib.util
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import ROOT

ROOMS = ("metrics", "compare", "theory", "load", "store")
COPIED = ("journal", "tests", "migrations", "experiments", "docs", "pyproject.toml", "README.md")
# The sections of a log are where comparisons are put into words, and tested with them.
ELSEWHERE = {"compare": ("tests/report/sections",)}
SHOWN_CHARS = 88
# One more or less is no change worth a test from here on.
LARGE = 1e4
# A mutant may be this much slower than the room's tests are, and no more.
SLOWER = 3.0
GRACE_S = 20.0
BASELINE_S = 600.0
NOTHING_CHOSEN = 5  # pytest's status where its marks leave no test of the files
PROGRESS_EACH = 10

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change: the bytes from `start` to `end` of a module become `after`."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:SHOWN_CHARS] for text in (self.before, self.after))
        return f"{self.path}:{self.line} {self.kind}: {before} -> {after}"

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]


# ---- the changes that one expression allows ----------------------------------------------------


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Each kind of change that fits the node, with the node that it becomes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "bool", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        if abs(node.value) < LARGE:
            yield "number", ast.Constant(node.value + 1)
            yield "number", ast.Constant(node.value - 1)
        else:
            yield "number", ast.Constant(node.value * 2)
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS[type(node.ops[0])]:
            yield "comparison", _changed(node, ops=[other(), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield "operator", _changed(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield "and/or", _changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node.operand
    elif isinstance(node, ast.Return) and not _nothing(node.value):
        yield "return", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Not):
        yield "not", node.test


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _nothing(value: ast.AST | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _parts(node: ast.AST, inside_table: bool) -> Iterator[ast.AST]:
    """The node and all below it that a test can be owed to."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: a check of our own
        return
    if isinstance(node, ast.Lambda):
        inside_table = False
    if not inside_table:
        yield node
    left_out: set[int] = set()
    for name in ("annotation", "returns", "decorator_list", "bases"):
        value = getattr(node, name, None)
        if value is not None:
            left_out |= {id(part) for part in (value if isinstance(value, list) else [value])}
    for child in ast.iter_child_nodes(node):
        if id(child) not in left_out:
            yield from _parts(child, inside_table)


def _is_table(statement: ast.stmt) -> bool:
    """Whether a statement at the top of a module names a constant, or a table of them."""
    return isinstance(statement, ast.Assign | ast.AnnAssign)


def mutants(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    made = []
    for statement in ast.parse(source).body:
        for node in _parts(statement, _is_table(statement)):
            for kind, other in changes(node):
                place = other if kind == "not" and not isinstance(node, ast.UnaryOp) else node
                start = starts[place.lineno - 1] + place.col_offset
                end = starts[place.end_lineno - 1] + place.end_col_offset
                text = ast.unparse(other)
                if place is other:
                    after = f"(not ({text}))"
                else:
                    after = text if kind == "return" else f"({text})"
                before = source[start:end].decode()
                made.append(
                    Mutant(
                        **{"path": path, "line": place.lineno, "kind": kind},
                        **{"start": start, "end": end, "before": before, "after": after},
                    )
                )
    return made


def drawn(root: Path, room: str, count: int, seed: int) -> list[Mutant]:
    """A random sample of the room's mutants: `count` of them, or all where there are fewer."""
    everything = []
    for path in sorted((root / "journal" / room).rglob("*.py")):
        everything += mutants(str(path.relative_to(root)), path.read_bytes())
    sample = random.Random(f"{seed} {room}").sample(everything, min(count, len(everything)))
    return sorted(sample, key=lambda mutant: (mutant.path, mutant.line))


# ---- the tests of one mutant -------------------------------------------------------------------


def mirrored(root: Path, room: str) -> list[str]:
    """The files of the room's tests."""
    folders = (root / "tests" / room, *(root / folder for folder in ELSEWHERE.get(room, ())))
    return sorted(
        str(path.relative_to(root)) for folder in folders for path in folder.rglob("test_*.py")
    )


def passes(root: Path, tests: Sequence[str], limit_s: float) -> bool:
    """Whether the tests pass in the copy at `root` in time."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "not engine and not slow and not timing", *tests]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        command,
        cwd=root,
        env=env | {"PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(limit_s) in (0, NOTHING_CHOSEN)
        except subprocess.TimeoutExpired:
            return False
        finally:
            # what a test that was cut short has started belongs to the same session
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def killed(root: Path, room: str, mutant: Mutant, limit_s: float) -> bool:
    """Whether the room's tests fail, or take too long, with the mutant in the copy at `root`. Those
    that bear the module's name go first, and alone: collecting a room takes longer than they do."""
    path = root / mutant.path
    files = mirrored(root, room)
    own = [name for name in files if Path(name).stem == f"test_{path.stem}"]
    others = [name for name in files if name not in own]
    source = path.read_bytes()
    # A compiled module is known by its source's size and second: too coarse for two mutants.
    compiled = Path(importlib.util.cache_from_source(str(path)))
    compiled.unlink(missing_ok=True)
    path.write_bytes(mutant.applied(source))
    try:
        return not all(passes(root, tests, limit_s) for tests in (own, others) if tests)
    finally:
        path.write_bytes(source)
        compiled.unlink(missing_ok=True)


# ---- a run -------------------------------------------------------------------------------------


def copied(root: Path, target: Path) -> None:
    """A copy of the tree at `root` as far as the tests of the rooms read it."""
    for name in COPIED:
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / name, target / name, ignore=ignored)
        elif (root / name).exists():
            shutil.copy(root / name, target)


def survivors(trees: Sequence[Path], room: str, sample: Sequence[Mutant]) -> list[Mutant]:
    """The mutants that the room's tests do not notice; each tree tries one at a time."""
    began_s = time.monotonic()
    if not passes(trees[0], mirrored(trees[0], room), BASELINE_S):
        raise SystemExit(f"the tests of {room} fail without a change: see `pytest tests/{room}`")
    limit_s = SLOWER * (time.monotonic() - began_s) + GRACE_S
    free: queue.Queue[Path] = queue.Queue()
    for tree in trees:
        free.put(tree)

    def tried(mutant: Mutant) -> bool:
        tree = free.get()
        try:
            return killed(tree, room, mutant, limit_s)
        finally:
            free.put(tree)

    left = []
    with concurrent.futures.ThreadPoolExecutor(len(trees)) as pool:
        for number, (mutant, noticed) in enumerate(
            zip(sample, pool.map(tried, sample), strict=True), 1
        ):
            if not noticed:
                left.append(mutant)
                print(f"  survived {mutant}", flush=True)
            if number % PROGRESS_EACH == 0:
                print(f"  {room}: {number} of {len(sample)} tried", flush=True)
    return left


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutate")
    parser.add_argument("--rooms", default=",".join(ROOMS), help="the rooms, with commas between")
    parser.add_argument("--count", type=int, default=40, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=1, help="another one draws others")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at the same time")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="journal-mutate-") as folder:
        trees = [Path(folder) / str(number) for number in range(asked.jobs)]
        for tree in trees:
            tree.mkdir()
            copied(root, tree)
        lines = []
        for room in asked.rooms.split(","):
            # of the copy: the tree itself may be worked on meanwhile
            sample = drawn(trees[0], room, asked.count, asked.seed)
            killed_count = len(sample) - len(survivors(trees, room, sample))
            lines.append(f"{room}: killed {killed_count}/{len(sample)}")
            print(lines[-1], flush=True)
    print(f"seed {asked.seed}; " + ", ".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
