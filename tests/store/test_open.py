"""Opening a journal: where it is, who may read it, and the message when it cannot be opened."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from journal.errors import StoreError, StoreTooNew
from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.schema import VERSION_TABLE
from journal.store.store import open_store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_journal_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "new" / "lab"
    before = os.umask(0o000)
    try:
        with open_store(home) as store:
            store.begin_experiment(Experiment(name="x"), NOW, {})
            assert mode(home) == 0o700
            assert mode(home / "journal.db") == mode(home / "journal.db-wal") == 0o600
    finally:
        os.umask(before)


def test_the_mode_of_an_old_journal_is_its_owners_choice(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    (tmp_path / "journal.db").chmod(0o640)
    open_store(tmp_path).close()
    assert mode(tmp_path / "journal.db") == 0o640


def test_the_address_is_the_argument_or_the_environment_or_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, named, chosen = (tmp_path / name for name in ("home", "named.db", "deep/chosen.db"))
    open_store(home).close()
    assert (home / "journal.db").exists()
    monkeypatch.setenv("JOURNAL_DB", f"sqlite:///{named}")
    open_store(tmp_path / "other").close()
    assert named.exists()
    assert (tmp_path / "other").is_dir()
    open_store(home, f"sqlite:///{chosen}").close()
    assert chosen.exists()


@pytest.mark.parametrize("name", ["with space", "100%", "日志", "a#b?c&d", "it's"])
def test_any_directory_will_do(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    with open_store(home) as store:
        begun = store.begin_experiment(Experiment(name="x"), NOW, {})
    with open_store(home) as store:
        assert store.experiment("last").experiment == begun.experiment
    names = sorted(path.name for path in home.iterdir())
    assert names == ["journal.db", "journal.db.lock", "running"]


def test_a_relative_home_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(Path("lab")) as store:
        monkeypatch.chdir("/")
        store.begin_experiment(Experiment(name="x"), NOW, {})
    assert (tmp_path / "lab" / "journal.db").exists()


def test_an_up_to_date_journal_opens_without_alembic(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    script = (
        "import sys; from pathlib import Path; from journal.store.store import open_store;"
        "open_store(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    "address",
    ["not a url", "nosuchdb://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x"],
)
def test_a_text_that_is_not_an_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(StoreError, match="give one such as"):
        open_store(tmp_path, address)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a database URL") as raised:
        open_store(tmp_path, "nosuchdb://me:s3cret@h/x")
    assert "s3cret" not in str(raised.value)


def test_a_password_of_a_server_that_is_not_there_is_never_shown(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: serving-journal[postgres]")
    with pytest.raises(StoreError, match="cannot be reached") as raised:
        open_store(tmp_path, "postgresql://me:s3cret@127.0.0.1:9/x?connect_timeout=5")
    assert "s3cret" not in str(raised.value)


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path, url: str) -> None:
    from sqlalchemy import create_engine, text

    open_store(tmp_path, url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for _ in range(2):
        with pytest.raises(StoreTooNew, match=r"its schema is 9999.*upgrade serving-journal"):
            open_store(tmp_path, url)
    engine.dispose()


def test_a_damaged_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"This is a shopping list, and no database." * 100)
    with pytest.raises(StoreError, match=f"{path} is damaged or not a journal"):
        open_store(tmp_path)
    assert path.read_bytes().startswith(b"This is a shopping list")


def test_a_torn_file_is_damaged(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for _ in range(200):
            store.begin_experiment(Experiment(name="x" * 1000), NOW, {})
    path = tmp_path / "journal.db"
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    with pytest.raises(StoreError, match="is damaged"), open_store(tmp_path) as store:
        store.experiments()


def test_another_programs_database_is_left_alone(tmp_path: Path, url: str) -> None:
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE runs (run_uuid INTEGER)"))
    with pytest.raises(StoreError, match=r"tables of another program \(runs\)"):
        open_store(tmp_path, url)
    assert inspect(engine).get_table_names() == ["runs"]
    engine.dispose()


def test_a_directory_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file cannot be made"):
        open_store(tmp_path / "file")


def test_a_locked_journal_is_reported_as_locked(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_store(tmp_path).close()
    with (
        open_store(tmp_path, f"sqlite:///{path}?timeout=0.1") as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is locked by another program"):
            store.begin_experiment(Experiment(name="x"), NOW, {})
        assert store.experiments() == []
        other.execute("ROLLBACK")
        store.begin_experiment(Experiment(name="x"), NOW, {})


def test_a_full_disk_loses_the_run_but_not_the_journal(tmp_path: Path, samples: Samples) -> None:
    def cramped(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 60")

    event.listen(Engine, "connect", cramped)
    try:
        with open_store(tmp_path) as store:
            begun = store.begin_experiment(Experiment(name="x"), NOW, {})
            record = Record(
                id="a",
                experiment_id=begun.id,
                cell=samples.cell,
                status="valid",
                started_at=NOW,
                duration_s=1.0,
                facts=samples.facts,
            )
            large = Samples(
                cell=samples.cell,
                facts=samples.facts,
                traces=samples.traces * 3000,
                readings=samples.readings,
                client=samples.client,
            )
            with pytest.raises(StoreError, match="has no room left"):
                store.add_run(record, large)
            assert store.runs() == []
            store.add_run(record, samples)
            assert store.samples("a") == samples
    finally:
        event.remove(Engine, "connect", cramped)


@pytest.fixture
def a_strangers_directory() -> Iterator[Path]:
    """A directory that this process may read and not write; root acts as nobody meanwhile."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    root = os.geteuid() == 0
    yield directory
    if root:
        os.seteuid(0)
    directory.chmod(0o755)
    shutil.rmtree(directory)


def give_up_rights(directory: Path) -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)
    else:
        directory.chmod(0o555)


def test_a_directory_that_cannot_be_written_is_named(a_strangers_directory: Path) -> None:
    home = a_strangers_directory
    open_store(home / "lab").close()
    for path in (home / "lab", home / "lab" / "journal.db"):
        path.chmod(0o555)
    give_up_rights(home)
    with pytest.raises(StoreError, match=f"{home}.*writable"):
        open_store(home)
    with pytest.raises(StoreError, match=f"{home}/new cannot be made"):
        open_store(home / "new")
    with pytest.raises(StoreError, match=f"{home}/lab/journal.db cannot be.*writable"):
        open_store(home / "lab")
