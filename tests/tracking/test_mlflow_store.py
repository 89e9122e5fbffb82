"""MLflow's database is made whole or not at all."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from journal.records.experiment import Experiment
from journal.store.lock_files import locked
from journal.store.store import open_store
from journal.tracking.mlflow_store import database_url, make_whole
from journal.tracking.tracker import Tracker

pytestmark = pytest.mark.mlflow

MAKE = """
import sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from journal.tracking.mlflow_store import make_whole

print("begin", flush=True)
make_whole(Path(sys.argv[1]))
print("made", flush=True)
"""


def test_killed_while_it_is_made_it_is_made_again(tmp_path: Path) -> None:
    for after_s in (0.1, 0.3):
        child = subprocess.Popen(
            [sys.executable, "-c", MAKE, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "JOURNAL_CACHE": str(tmp_path / "cache")},
        )
        assert child.stdout is not None and child.stdout.readline() == "begin\n"
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if not (tmp_path / "mlflow.db").exists():
            (tmp_path / ".mlflow.db.half-done-journal").write_bytes(b"what to undo")
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


def test_the_next_home_begins_with_what_the_first_one_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_CACHE", str(tmp_path / "cache"))
    homes = [tmp_path / name for name in ("first", "second", "after-damage")]
    for home in homes:
        if home.name == "after-damage":
            (kept,) = tmp_path.glob("cache/mlflow/*")
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert b"first" not in kept.read_bytes()
            kept.write_bytes(b"no database" * 1000)
        home.mkdir()
        make_whole(home)
    said = [_said(home / "mlflow.db") for home in homes]
    assert [places for places, _ in said] == [
        [(0, f"file://{home}/mlflow-artifacts/0")] for home in homes
    ]
    assert said[0][1] == said[1][1] == said[2][1] and len(said[0][1]) > 20
    assert not list(tmp_path.glob("**/.*"))


def _said(database: Path) -> tuple[list[tuple[int, str]], set[tuple[str, str]]]:
    """The experiments in MLflow's database with their places, and the tables and indexes of it."""
    with closing(sqlite3.connect(database)) as connection:
        return (
            connection.execute(
                "SELECT experiment_id, artifact_location FROM experiments"
            ).fetchall(),
            set(connection.execute("SELECT type, name FROM sqlite_master")),
        )


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


ODD = ("a?b#c%41 d:e&f=g;h@i", "?mode=memory&x=#;@:", "%2e%2e%2f", 'it\'s "日本" \\ né')


@pytest.mark.parametrize("name", ODD)
def test_a_home_of_any_name_keeps_its_data_inside_and_private(
    name: str, mlflow_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's and MLflow's, artifacts included; MLflow's tables are copied, to be quick."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home, elsewhere = tmp_path / "in" / name, tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = os.umask(0)
    try:
        with open_store(home) as store:
            (home / "mlflow.db").touch(mode=0o600)
            (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
            note = home / "so.md"
            note.touch(mode=0o600)
            with Tracker(store, home) as tracker:
                begun = store.begin_experiment(Experiment(name="odd"), datetime.now(UTC), {})
                assert tracker.finish(begun, [note]), tracker.error
    finally:
        os.umask(before)
    made = {path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {path for path in made if home not in path.parents} == set()
    assert {"journal.db", "mlflow.db"} <= {path.name for path in made}
    assert [path for path in made if path.name == "so.md" and path != note], "in the artifacts"
    doors = home / "mlflow-artifacts", home
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in doors)
    left_open = [path for path in made if path.stat().st_mode & 0o077]
    assert [path for path in left_open if home / "mlflow-artifacts" not in path.parents] == []
