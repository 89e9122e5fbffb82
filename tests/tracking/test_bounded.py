"""MLflow costs a bounded time, whatever it is and however it fails."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from journal.records.experiment import Experiment
from journal.records.run import ExperimentRecord, Record
from journal.store.store import Store, open_store
from journal.tracking import aside, mlflow_store
from journal.tracking.aside import Aside
from journal.tracking.mlflow_store import check_reachable
from journal.tracking.tracker import Tracker

pytestmark = pytest.mark.mlflow

NewRecord = Callable[..., Record]
PASSWORD = "pa55w0rd-0f-the-database"


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_database_server_that_refuses_or_says_nothing_costs_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr(mlflow_store, "CONNECT_S", 2)
    with silent() as port:
        for at, why in ((9, "refused"), (port, "timeout")):
            began_s = time.monotonic()
            with pytest.raises(Exception, match=why):
                check_reachable(f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:{at}/mlflow")
            assert time.monotonic() - began_s < 20
    check_reachable("sqlite:////nowhere/at/all.db")
    check_reachable("http://127.0.0.1:9")


def test_the_cause_is_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    address = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    from datetime import UTC, datetime

    with open_store(tmp_path, f"sqlite:///{tmp_path}/journal.db") as store:
        begun = store.begin_experiment(Experiment(name="x"), datetime.now(UTC), {})
        ended = store.end_experiment(begun.id, "done", datetime.now(UTC))
        tracker, began_s = Tracker(store, tmp_path), time.monotonic()
        assert not tracker.finish(ended)
        assert time.monotonic() - began_s < 40
    assert tracker.error is not None and "refused" in tracker.error
    assert "pa55w0rd" not in tracker.error and "me:***@127.0.0.1:9" in tracker.error


def test_a_process_that_never_gets_ready_is_given_up(
    store: Store,
    begun: ExperimentRecord,
    new_record: NewRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sleeps_for_ever.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(aside, "PROCESS", "sleeps_for_ever")
    monkeypatch.setattr(aside, "READY_S", 0.5)
    record = new_record()
    store.add_run(record, None)
    with Aside(store, tmp_path) as tracker:
        tracker.log(record)
        began_s = time.monotonic()
        tracker.settle()
        assert time.monotonic() - began_s < 20
    assert tracker.error is not None and "not ready after 0.5 s" in tracker.error
    assert [one.id for one in store.pending()[1]] == [record.id]
