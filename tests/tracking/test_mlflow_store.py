"""MLflow's database is made whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from journal.records.experiment import Experiment
from journal.store.migrate import locked
from journal.store.store import open_store
from journal.tracking.mlflow_store import database_url, make_whole
from journal.tracking.tracker import Tracker

MAKE = """
import sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from journal.tracking.mlflow_store import make_whole

pytestmark = pytest.mark.mlflow
print("begin", flush=True)
make_whole(Path(sys.argv[1]))
print("made", flush=True)
"""


def test_killed_while_it_is_made_it_is_made_again(tmp_path: Path) -> None:
    for after_s in (0.2, 0.8):
        child = subprocess.Popen(
            [sys.executable, "-c", MAKE, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdout is not None and child.stdout.readline() == "begin\n"
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    with open_store(tmp_path) as store, Tracker(store, tmp_path) as tracker:
        begun = store.begin_experiment(Experiment(name="x"), datetime.now(UTC), {})
        assert tracker.finish(begun), tracker.error
        assert tracker.error is None
    assert not list(tmp_path.glob(".mlflow*"))


def test_it_is_its_owners_alone_and_left_as_it_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with locked(tmp_path / "mlflow.lock"):
            make_whole(tmp_path)
    finally:
        os.umask(before)
    database = tmp_path / "mlflow.db"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "mlflow-artifacts").stat().st_mode) == 0o700
    inode = database.stat().st_ino
    make_whole(tmp_path)
    assert database.stat().st_ino == inode


@pytest.mark.parametrize("name", ["a?b", "a#b", "50%41 of: it", "?mode=ro&x=1#%2F"])
def test_a_path_is_no_url(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose name holds what means something in a URL keeps MLflow's data inside."""
    from sqlalchemy import make_url

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / name
    home.mkdir()
    url = make_url(database_url(home))
    assert not url.query and url.database is not None
    assert Path(url.database).parent.resolve() == home.resolve()
    assert database_url(home) == database_url(home)
    (tmp_path / "other").mkdir()
    assert database_url(tmp_path / "other") == f"sqlite:///{tmp_path}/other/mlflow.db"


@pytest.mark.slow
def test_mlflow_keeps_its_data_in_a_home_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "a?b#c%41 d:e"
    home.mkdir()
    make_whole(home)
    client = MlflowClient(tracking_uri=database_url(home))
    where = (home / "mlflow-artifacts").as_uri()
    run = client.create_run(client.create_experiment("x", artifact_location=where))
    client.log_text(run.info.run_id, "so", "words.txt")
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and home not in path.parents]
    assert [path for path in outside if "cache" not in path.parts] == []
    assert (home / "mlflow.db").stat().st_mode & 0o077 == 0
    assert list(home.rglob("words.txt"))
