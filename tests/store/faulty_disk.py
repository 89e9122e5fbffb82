"""Run under faulty_disk.c: a command's writing is tried while the k-th write to the journal fails,
for k = 1, 1 + step, ...; after each the journal is whole, holds what was acknowledged, and nothing
half.

    python faulty_disk.py FOLDER STEP
"""

import ctypes
import errno
import os
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from builders import Run

from journal.errors import DamagedRow, JournalError
from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.store.compact import compact
from journal.store.merge import merge
from journal.store.store import Store, open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short": 0}
MOST = 3000  # writes of one command
SAMPLES = Run().samples()
DISK = ctypes.CDLL(None)
DISK.writes.restype = ctypes.c_long


def opened(home: Path) -> Store:
    return open_store(home, f"sqlite:///{home}/journal.db")


def add(store: Store, run_id: str, experiment_id: str) -> None:
    record = Record(
        id=run_id,
        experiment_id=experiment_id,
        cell=SAMPLES.cell,
        status="valid",
        started_at=NOON,
        duration_s=1.0,
        facts=SAMPLES.facts,
    )
    store.add_run(record, SAMPLES)


def add_second(home: Path) -> None:
    with opened(home) as store:
        add(store, "second", store.runs()[0].experiment_id)


# What is tried: name -> (what it does to a home that has the run "first", the run that it adds).
ACTS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "a run": (add_second, "second"),
    "a merge": (lambda home: merge(home.parent / "away" / "journal.db", home), "away"),
    "a compaction": (lambda home: compact(home, older_than_days=1), None),
    "a new journal": (lambda home: opened(home.parent / "new").close(), None),
}


def child(home: Path, act: Callable[[Path], object], k: int, error: int) -> int:
    """Act while the k-th write fails: 0 acknowledged, 1 refused, 2 another error; 4 more where no
    write failed any more."""
    os.environ["JOURNAL_DB"] = f"sqlite:///{home}/journal.db"
    DISK.arm(ctypes.c_long(k), error)
    try:
        act(home)
        code = 0
    except JournalError:
        code = 1
    except BaseException:  # noqa: BLE001 - reported by its exit code
        import traceback

        traceback.print_exc()
        code = 2
    return code + (4 if DISK.writes() < k else 0)


def check(home: Path, added: str | None, *, acknowledged: bool) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    with opened(home) as store:
        runs = {run.id for run in store.runs()}
        assert "first" in runs and store.samples("first") == SAMPLES
        assert added is None or not acknowledged or added in runs
        if added in runs:
            assert store.samples(added) == SAMPLES


def template(home: Path, run_id: str) -> None:
    with opened(home) as store:
        experiment_id = store.begin_experiment(Experiment(name="x"), NOON, {}).id
        add(store, run_id, experiment_id)
        store.end_experiment(experiment_id, "done", NOON)


def tried(folder: Path, name: str, fault: str, step: int) -> int:
    """How often an act was tried until no write failed any more."""
    act, added = ACTS[name]
    home = folder / "home"
    for k in range(1, MOST, step):
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder / "new", ignore_errors=True)
        shutil.copytree(folder / "template", home)
        pid = os.fork()
        if pid == 0:
            os._exit(child(home, act, k, FAULTS[fault]))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code & 3 in (0, 1), f"{name}, {fault} at write {k}: exit code {code}"
        check(home, added, acknowledged=code & 3 == 0)
        if name == "a new journal":
            opened(folder / "new").close()  # what is there can be gone on with
        if code & 4:
            return k
    raise AssertionError(f"{name}, {fault}: more than {MOST} writes")


def main(folder: Path, step: int) -> None:
    warnings.simplefilter("ignore", DamagedRow)
    template(folder / "template", "first")
    template(folder / "away", "away")
    for name in ACTS:
        for fault in FAULTS:
            print(f"{name}, {fault}: {tried(folder, name, fault, step) - 1} writes", flush=True)


main(Path(sys.argv[1]), int(sys.argv[2]))
