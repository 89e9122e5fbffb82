"""A damaged or foreign row is named, and hides no other; a flipped bit is found."""

import json
import shutil
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from builders import Run
from sqlalchemy import Date
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.errors import DamagedRow, JournalError, StoreError
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.notebook import Check, Checkup, Interaction, Note, Tag
from journal.records.run import Record
from journal.report.log import write_log
from journal.store.checkups import add_checkup, last_checkup
from journal.store.interactions import add_interaction, interactions
from journal.store.merge import merge
from journal.store.notes import add_note, note_of, notes
from journal.store.store import Store, open_store
from journal.store.tables import Row
from journal.store.tags import add_tag, all_tags, tag_named
from journal.store.verify import verify

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEEP = "[" * 20_000
# What may stand in a column, as SQLite takes anything anywhere.
VALUES: tuple[object, ...] = (
    *("", "{", "nonsense", '{"a": 1}', "[1]", "../../x", DEEP, "null", '{"load": "x"}'),
    *(b"\xff\x00", 10**18, -1, 2.5, None),
)
KEYS = {"experiments": "id", "runs": "id", "interactions": "id", "notes": "id", "checkups": "id"}


def question(number: int) -> Interaction:
    return Interaction(
        id=f"q{number}",
        source="ask",
        asked_at=NOON,
        base_url="http://127.0.0.1:8000/v1",
        model="m",
        api="chat",
        messages=({"role": "user", "content": "so?"},),
        settings={},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two rows of every kind."""
    home = tmp_path_factory.mktemp("whole")
    samples = Run().samples()
    with open_store(home, f"sqlite:///{home}/journal.db") as store:
        for number in range(2):
            begun = store.begin_experiment(Experiment(name=f"e{number}"), NOON, {"host": "h"})
            record = Record(
                id=f"run{number}",
                experiment_id=begun.id,
                cell=samples.cell,
                status="valid",
                started_at=NOON,
                duration_s=1.0,
                metrics={"ttft_s.p50": journal.Figure(0.1, 0.09, 0.11, 24)},
                doubts=(Doubt("few_samples", {"n": 1}),),
                facts=samples.facts,
            )
            store.add_run(record, samples)
            store.end_experiment(begun.id, "done", NOON)
            add_interaction(store, question(number))
            words = {"day": date(2026, 3, 1), "written_at": NOON, "text": "so"}
            add_note(store, Note(id=f"n{number}", experiment_id=None, run_id=None, **words))
            check = Check(name="disk", state="ok", found="room")
            add_checkup(store, Checkup(id=f"c{number}", host="h", made_at=NOON, checks=(check,)))
            add_tag(store, Tag(name=f"t{number}", tagged_at=NOON, run_ids=(f"run{number}",)))
    return home


def copied(whole: Path, tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path / "lab", ignore_errors=True)
    shutil.copytree(whole, tmp_path / "lab")
    return tmp_path / "lab"


def damage(home: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        database.execute(statement, values)
        database.commit()


def read_all(store: Store) -> dict[str, list[str]]:
    """The ids of all rows that can be read, by kind."""
    return {
        "experiments": [one.experiment.name for one in store.experiments()],
        "runs": [one.id for one in store.runs()],
        "interactions": [one.id for one in interactions(store)],
        "notes": [one.id for one in notes(store)],
        "tags": [one.name for one in all_tags(store)],
    }


def columns_of(table: str) -> list[tuple[str, bool]]:
    rows = Row.metadata.tables[table]
    return [(one.name, bool(one.nullable)) for one in rows.columns if not one.primary_key]


@pytest.mark.filterwarnings("ignore::journal.errors.DamagedRow")
@pytest.mark.parametrize("table", sorted(Row.metadata.tables))
def test_a_damaged_value_is_named_and_hides_no_other_row(
    whole: Path, tmp_path: Path, table: str
) -> None:
    home, first = copied(whole, tmp_path), f"(SELECT min(rowid) FROM {table})"
    with (
        open_store(home) as store,
        closing(sqlite3.connect(home / "journal.db", isolation_level=None)) as database,
    ):
        database.execute("PRAGMA foreign_keys=OFF")
        for number, (column, nullable) in enumerate(columns_of(table)):
            where = f"WHERE rowid = {first}"
            row = database.execute(f'SELECT "{column}" FROM {table} {where}').fetchone()
            if row is None:  # no reading of that kind
                continue
            (before,) = row
            values = {VALUES[(number * 5 + step) % len(VALUES)] for step in (0, 6)}
            for value in [*values, *([None] if nullable else [])]:
                if value is None and not nullable:
                    continue
                database.execute(f'UPDATE {table} SET "{column}" = ? {where}', (value,))
                place = f"{table}.{column} = {value!r:.30}"
                left = read_all(store)
                assert left["runs"][-1:] == ["run1"], place
                assert store.samples("run1") is not None, place
                lost = [kind for kind, ids in left.items() if len(ids) == 1]
                assert lost in ([], [table]) and all(left.values()), place
                if lost:
                    with pytest.warns(DamagedRow):
                        read_all(store)
                with suppress(StoreError):
                    store.samples("run0")
            database.execute(f'UPDATE {table} SET "{column}" = ? {where}', (before,))


TIMES = [
    (table.name, column.name)
    for table in Row.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, Date) or "DateTime" in type(column.type).__name__
]
LOOKS = (["checklist"], ["tag"], ["compare", "t0", "t1"], ["log", "2026-03-01"], ["quiz"])


@pytest.mark.filterwarnings("ignore::journal.errors.DamagedRow")
@pytest.mark.parametrize("value", ["nonsense", 5])
@pytest.mark.parametrize(("table", "column"), TIMES)
def test_a_time_that_is_none_is_named_by_every_command(
    whole: Path, tmp_path: Path, table: str, column: str, value: object
) -> None:
    """SQLAlchemy reads times itself, before any code of ours sees the row."""
    home = copied(whole, tmp_path)
    first = f"(SELECT min(rowid) FROM {table})"
    damage(home, f'UPDATE {table} SET "{column}" = ? WHERE rowid = {first}', value)
    for words in LOOKS:
        done = CliRunner().invoke(app, [*words, "--home", str(home)])
        refused = done.exception is None or isinstance(done.exception, (JournalError, SystemExit))
        assert refused, (words, done.exception)
    with open_store(home) as store:
        with suppress(StoreError):
            note_of(store, "n0")
        found = last_checkup(store, "h")
    assert found is not None and found.id == "c1"


@pytest.mark.parametrize("run_ids", ['"abc"', '{"a": 1}', "null", "[1]", "[", DEEP])
def test_a_tag_without_a_list_of_ids_is_damaged(whole: Path, tmp_path: Path, run_ids: str) -> None:
    home = copied(whole, tmp_path)
    damage(home, "UPDATE tags SET run_ids = ? WHERE id = 't0'", run_ids)
    with open_store(home) as store:
        with pytest.warns(DamagedRow, match="t0"):
            assert [one.name for one in all_tags(store)] == ["t1"]
        with pytest.raises(StoreError, match="t0"):
            tag_named(store, "t0")


@pytest.mark.filterwarnings("ignore::journal.errors.DamagedRow")
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("runs", "cell"), ("runs", "environment"), ("metrics", "value"), ("doubts", "values")),
        *(("experiments", "experiment"), ("runs", "started_at")),
    ],
)
def test_the_log_is_written_beside_a_damaged_row(
    whole: Path, tmp_path: Path, table: str, column: str
) -> None:
    home = copied(whole, tmp_path)
    first = f"(SELECT min(rowid) FROM {table})"
    damage(home, f'UPDATE {table} SET "{column}" = ? WHERE rowid = {first}', "{")
    with open_store(home) as store:
        written = write_log(store, home, day=date(2026, 3, 1))
    assert "run1" in written.markdown.read_text()


def test_a_damaged_row_is_named_in_a_warning(whole: Path, tmp_path: Path) -> None:
    home = copied(whole, tmp_path)
    damage(home, "UPDATE runs SET cell = '{' WHERE id = 'run0'")
    with open_store(home) as store:
        with pytest.warns(DamagedRow, match="run run0 cannot be read .*left out"):
            assert [one.id for one in store.runs()] == ["run1"]
        with pytest.raises(StoreError, match="run0"):
            store.run("run0")
    done = subprocess.run(
        [sys.executable, "-m", "journal", "runs", "--home", str(home)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "run1" in done.stdout
    assert "journal: run run0 cannot be read" in done.stderr, done.stderr


def test_every_flipped_bit_of_the_chunks_is_found(whole: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(whole / "journal.db")) as database:
        query = "SELECT rowid, chunk_s, chunk_tokens FROM requests WHERE run_id = 'run0' LIMIT 1"
        rowid, chunk_s, chunk_tokens = database.execute(query).fetchone()
    blobs = {"chunk_s": chunk_s, "chunk_tokens": chunk_tokens}
    for column, blob in blobs.items():
        if blob is None:
            continue
        for bit in (0, 7, len(blob) * 4, len(blob) * 8 - 1):
            home = copied(whole, tmp_path)
            flipped = bytearray(blob)
            flipped[bit // 8] ^= 1 << bit % 8
            damage(home, f"UPDATE requests SET {column} = ? WHERE rowid = ?", bytes(flipped), rowid)
            found = verify(home)
            assert [fault for fault in found.faults if "samples of run run0" in fault]
            assert found.samples == 1
            with open_store(home) as store, pytest.raises(StoreError, match="not those that were"):
                store.samples("run0")


def test_a_whole_journal_has_no_fault_and_the_command_says_so(whole: Path, tmp_path: Path) -> None:
    home = copied(whole, tmp_path)
    found = verify(home)
    assert found.ok and (found.rows, found.samples, found.without_checksum) == (12, 2, 0)
    command = [sys.executable, "-m", "journal", "verify", "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["ok"] is True
    damage(home, "UPDATE requests SET chunk_s = zeroblob(8) WHERE run_id = 'run1'")
    damage(home, "UPDATE checkups SET checks = '?' WHERE id = 'c0'")
    done = subprocess.run(command[:-1], capture_output=True, text=True)
    assert done.returncode == 1
    assert "samples of run run1" in done.stderr and "checkup c0" in done.stderr


def test_a_request_without_a_checksum_is_read_and_counted(whole: Path, tmp_path: Path) -> None:
    home = copied(whole, tmp_path)
    damage(home, "UPDATE requests SET checksum = NULL WHERE run_id = 'run0'")
    found = verify(home)
    assert found.ok and found.without_checksum > 0


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE runs SET cell = '{' WHERE id = 'run0'", "run0"),
        ("UPDATE runs SET requests_file = '../../../secret' WHERE id = 'run0'", "secret"),
        ("UPDATE runs SET requests_file = '/etc/passwd' WHERE id = 'run0'", "passwd"),
        ("UPDATE runs SET id = '../../run0' WHERE id = 'run0'", "run0"),
        ("UPDATE requests SET chunk_s = zeroblob(8) WHERE run_id = 'run0'", "run0"),
        ("UPDATE requests SET start_s = 'x' WHERE run_id = 'run0'", "run0"),
        ("UPDATE experiments SET experiment = '[]' WHERE name = 'e0'", "experiment"),
        ("UPDATE experiments SET id = '../e' WHERE name = 'e0'", "e"),
        ("UPDATE doubts SET \"values\" = '[]' WHERE run_id = 'run0'", "run0"),
        ("UPDATE metrics SET value = 'x' WHERE run_id = 'run0'", "figure"),
    ],
)
def test_another_journal_is_read_before_it_is_taken_in(
    whole: Path, tmp_path: Path, statement: str, named: str
) -> None:
    other, home = copied(whole, tmp_path), tmp_path / "mine"
    damage(other, statement)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedRow)
        taken = merge(other, home)
    assert any(named in str(one.message) for one in caught), caught
    assert taken.runs == 1
    assert verify(home).ok


def test_a_damaged_file_is_not_taken_in(whole: Path, tmp_path: Path) -> None:
    other = copied(whole, tmp_path)
    path = other / "journal.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    for at in range(4096 * 3, len(data), 4096):
        data[at : at + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(StoreError):
        merge(other, tmp_path / "mine")
