"""Run under faulty_disk.c: for every k, a run is added while the k-th write to the journal fails;
after each the journal is whole, holds what was acknowledged, and nothing half."""

import ctypes
import errno
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from builders import Run

from journal.errors import StoreError
from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.store.store import Store, open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short": 0}
MOST = 400  # writes of one run
SAMPLES = Run().samples()
DISK = ctypes.CDLL(None)
DISK.writes.restype = ctypes.c_long


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


def child(home: Path, experiment_id: str, k: int, error: int) -> int:
    """Add a run while the k-th write fails: 0 acknowledged, 1 refused, 2 another error; 4 more
    where no write failed any more."""
    DISK.arm(ctypes.c_long(k), error)
    try:
        with open_store(home, f"sqlite:///{home}/journal.db") as store:
            add(store, "second", experiment_id)
        code = 0
    except StoreError:
        code = 1
    except BaseException:  # noqa: BLE001 - reported by its exit code
        import traceback

        traceback.print_exc()
        code = 2
    return code + (4 if DISK.writes() < k else 0)


def check(home: Path, *, acknowledged: bool) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    with open_store(home, f"sqlite:///{home}/journal.db") as store:
        runs = {run.id for run in store.runs()}
        assert "first" in runs and store.samples("first") == SAMPLES
        assert not acknowledged or "second" in runs
        if "second" in runs:
            assert store.samples("second") == SAMPLES


def main(folder: Path) -> None:
    template = folder / "template"
    with open_store(template, f"sqlite:///{template}/journal.db") as store:
        experiment_id = store.begin_experiment(Experiment(name="x"), NOON, {}).id
        add(store, "first", experiment_id)
        store.end_experiment(experiment_id, "done", NOON)
    for name, error in FAULTS.items():
        for k in range(1, MOST):
            home = folder / "home"
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(template, home)
            pid = os.fork()
            if pid == 0:
                os._exit(child(home, experiment_id, k, error))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code & 3 in (0, 1), f"{name} at write {k}: exit code {code}"
            check(home, acknowledged=code & 3 == 0)
            if code & 4:
                print(f"{name}: {k - 1} writes", flush=True)
                break
        else:
            raise AssertionError(f"{name}: more than {MOST} writes")


main(Path(sys.argv[1]))
