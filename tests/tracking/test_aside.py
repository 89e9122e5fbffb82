"""MLflow gets its records from a process of its own, and no end of that process costs a row."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from journal.records.run import ExperimentRecord, Record
from journal.store.store import Store, open_store
from journal.tracking import aside
from journal.tracking.aside import Aside
from journal.tracking.tracker import sync

pytestmark = pytest.mark.mlflow

NewRecord = Callable[..., Record]
TOLD_S = 60.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def beside() -> list[psutil.Process]:
    """The processes that tell MLflow for this one, which has other children too."""
    children = psutil.Process().children()
    return [child for child in children if aside.PROCESS in child.cmdline()]


def ids_in_mlflow(home: Path) -> list[str]:
    """The ids of ours that MLflow has."""
    with warnings.catch_warnings(action="ignore"):  # about MLflow's own code
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
        experiments = [one.experiment_id for one in client.search_experiments()]
        return sorted(run.data.tags["journal.id"] for run in client.search_runs(experiments))


def test_what_was_logged_is_there_once_it_is_settled(
    store: Store, begun: ExperimentRecord, new_record: NewRecord, tmp_path: Path
) -> None:
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        tracker.log(record)
        tracker.settle()
        assert store.run(record.id).mlflow_run_id is not None
        ended = store.end_experiment(begun.id, "done", begun.started_at)
        tracker.finish(ended, (), "What came of it.", [record])
        assert tracker.error is None
    assert ids_in_mlflow(tmp_path) == sorted([begun.id, record.id])
    assert store.pending() == ([], [])
    assert beside() == []


def test_a_run_that_was_not_finished_is_finished_at_the_end(
    store: Store, begun: ExperimentRecord, new_record: NewRecord, tmp_path: Path
) -> None:
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.log(record)
    assert ids_in_mlflow(tmp_path) == sorted([begun.id, record.id])


def test_what_nobody_asks_for_starts_nothing(store: Store, tmp_path: Path) -> None:
    with Aside(store, tmp_path) as tracker:
        tracker.settle()
        assert beside() == []
    assert not (tmp_path / "mlflow.db").exists()


def test_its_process_leaves_the_processors_to_others(store: Store, tmp_path: Path) -> None:
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        deadline_s = time.monotonic() + TOLD_S
        while not (children := beside()):  # the kernel tells no command line while it starts
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        (child,) = children
        while os.SCHED_IDLE not in {os.sched_getscheduler(each.id) for each in child.threads()}:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_a_busy_host_does_not_keep_records_from_mlflow(
    store: Store, begun: ExperimentRecord, new_record: NewRecord, tmp_path: Path
) -> None:
    """What takes all processors leaves nothing to a thread of idle priority."""
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(2 * len(os.sched_getaffinity(0)))]
    try:
        record = new_record()
        store.add_run(record, None)
        with Aside(store, tmp_path) as tracker:
            tracker.start()
            tracker.log(record)
            tracker.settle()
            assert tracker.error is None
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert record.id in ids_in_mlflow(tmp_path)


def test_an_account_that_may_not_raise_a_priority_begins_anew(
    store: Store, new_record: NewRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        tracker.log(record)
        tracker.settle()
        assert tracker.error is None
    assert record.id in ids_in_mlflow(tmp_path)


def test_it_starts_when_the_load_is_over_under_a_quota(
    store: Store, new_record: NewRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "cpu_quota_cores", lambda: 2.0)
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        tracker.log(record)
        assert beside() == []
        tracker.settle()
        assert record.id in ids_in_mlflow(tmp_path)


def test_a_process_that_dies_leaves_its_records_pending(
    store: Store, begun: ExperimentRecord, new_record: NewRecord, tmp_path: Path
) -> None:
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        (child,) = beside()
        child.send_signal(signal.SIGKILL)
        tracker.log(record)
        tracker.settle()
        tracker.finish(begun)
        assert (
            tracker.error is not None and "the process that sends them has ended" in tracker.error
        )
        assert "journal sync" in tracker.error
    assert [one.id for one in store.pending()[1]] == [record.id]
    assert sync(store, tmp_path).failed == 0
    assert ids_in_mlflow(tmp_path) == sorted([begun.id, record.id])


def test_one_that_gave_up_ends_its_process_at_once(
    store: Store, begun: ExperimentRecord, new_record: NewRecord, tmp_path: Path
) -> None:
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.start()
        tracker.log(record)
        tracker.give_up("stopped at once")
        assert beside() == []
        assert tracker.error is not None and "stopped at once" in tracker.error
    with open_store(tmp_path) as again:
        (pending,), _ = again.pending()
        assert pending == replace(store.experiment(begun.id), mlflow_run_id=None)
