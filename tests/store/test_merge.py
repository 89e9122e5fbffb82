"""Another journal taken in: everything, once, under the same ids."""

import dataclasses
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import journal
from journal.errors import StoreError, StoreTooNew, UsageError
from journal.records.experiment import Experiment
from journal.records.notebook import Interaction
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples
from journal.store.interactions import add_interaction, interactions
from journal.store.merge import Merged, merge
from journal.store.notes import change_note, notes
from journal.store.schema import VERSION_TABLE
from journal.store.store import Store, open_store

NewRecord = Callable[..., Record]
DATA = Path(__file__).parent / "data"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = Merged(experiments=0, runs=0, notes=0, others=0)


@pytest.fixture
def other(
    store: Store, new_record: NewRecord, samples: Samples, begun: ExperimentRecord, url: str
) -> Store:
    """The journal that takes in, with one run of its own."""
    store.add_run(new_record(), samples)
    return store


@pytest.fixture
def away(tmp_path: Path, samples: Samples) -> Path:
    """A journal from another machine: two experiments, two runs, a note and a question."""
    home = tmp_path / "away"
    with open_store(home, f"sqlite:///{home}/journal.db") as store:
        first = store.begin_experiment(Experiment(name="away"), NOON, {"host": "gpu-box"})
        store.begin_experiment(Experiment(name="empty"), NOON, {})
        for number in range(2):
            record = Record(
                id=f"{number:016x}",
                experiment_id=first.id,
                cell=samples.cell,
                status="valid",
                started_at=NOON + timedelta(minutes=number),
                duration_s=1.0,
                facts=samples.facts,
                mlflow_run_id="theirs",
            )
            store.add_run(record, samples if number == 0 else None)
        store.end_experiment(first.id, "done", NOON + timedelta(hours=1))
        question = Interaction(
            id="q1",
            source="chat",
            asked_at=NOON,
            base_url="http://127.0.0.1/v1",
            model="m",
            api="chat",
            messages=({"role": "user", "content": "Why?"},),
        )
        add_interaction(store, question)
    journal.note("from afar", home, run=f"{1:016x}", zone=UTC)
    return home


def test_all_is_taken_in_once(
    other: Store,
    away: Path,
    tmp_path: Path,
    url: str,
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOURNAL_DB", url)
    own = other.runs()
    assert merge(away, tmp_path) == Merged(experiments=2, runs=2, notes=1, others=1)
    records = {record.id: record for record in other.runs()}
    with open_store(away, f"sqlite:///{away}/journal.db") as theirs:
        for record in theirs.runs():
            assert records[record.id] == dataclasses.replace(record, mlflow_run_id=None)
        assert other.samples(f"{0:016x}") == samples == theirs.samples(f"{0:016x}")
        assert other.samples(f"{1:016x}") is None
        assert {e.id for e in theirs.experiments()} < {e.id for e in other.experiments()}
        assert notes(other) == notes(theirs)
        assert interactions(other) == interactions(theirs)
    assert [records[record.id] for record in own] == own
    assert {record.id for record in other.pending()[1]} == set(records), "MLflow lacks them all"
    assert merge(away / "journal.db", tmp_path) == NOTHING
    assert len(other.runs()) == len(own) + 2


def test_what_came_since_is_taken_in_later(away: Path, tmp_path: Path, samples: Samples) -> None:
    home = tmp_path / "home"
    with open_store(away) as theirs, open_store(home) as ours:
        begun = theirs.begin_experiment(Experiment(name="long"), NOON, {})
        merge(away, home)
        assert ours.experiment(begun.id).status == "running"
        record = dataclasses.replace(theirs.runs()[0], id="f" * 16, experiment_id=begun.id)
        theirs.add_run(record, samples)
        theirs.end_experiment(begun.id, "done", NOON + timedelta(hours=2))
        assert merge(away, home) == Merged(experiments=0, runs=1, notes=0, others=0)
        assert ours.experiment(begun.id) == theirs.experiment(begun.id)
        assert ours.samples("f" * 16) == samples


def test_a_note_that_was_changed_on_both_sides_is_kept_in_both(away: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    merge(away, home)
    with open_store(home) as ours, open_store(away) as theirs:
        change_note(ours, notes(ours)[0], "changed here")
        change_note(theirs, notes(theirs)[0], "changed there")
    assert merge(away, home).notes == 1
    assert merge(away, home) == NOTHING
    with open_store(home) as ours:
        merged = notes(ours)
    assert sorted(note.text for note in merged) == ["changed here", "changed there"]
    assert {note.day for note in merged} == {date(2026, 3, 1)}


def test_two_journals_can_take_in_each_other(away: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    journal.note("at home", home, day=date(2026, 3, 2))
    merge(away, home)
    merge(home, away)
    assert merge(away, home) == merge(home, away) == NOTHING
    with open_store(home) as ours, open_store(away) as theirs:
        assert notes(ours) == notes(theirs)


def test_an_older_journal_is_brought_up_to_date_in_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((DATA / "schema-0001.sql").read_text())
    before = path.read_bytes()
    merged = merge(path, tmp_path / "home")
    assert (merged.experiments, merged.runs) == (1, 2)
    assert path.read_bytes() == before


def test_a_journal_that_is_being_written_to_is_read_at_one_moment(
    away: Path, tmp_path: Path
) -> None:
    with open_store(away) as theirs, theirs.transaction(writing=True) as connection:
        connection.exec_driver_sql("DELETE FROM notes")
        assert merge(away, tmp_path / "home").notes == 1


def test_what_cannot_be_taken_in_is_refused(away: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    text, empty, foreign, newer = (
        tmp_path / name for name in ("text", "empty", "foreign", "newer")
    )
    text.write_text("no database")
    empty.touch()
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE runs (id)")
    shutil.copy(away / "journal.db", newer)
    with closing(sqlite3.connect(newer)) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9998'")
        database.commit()
    open_store(home).close()
    for path, kind, reason in (
        (tmp_path / "none", UsageError, "there is no journal at"),
        (text, StoreError, "cannot be read as a journal"),
        (empty, UsageError, "not a journal"),
        (foreign, UsageError, "is a database, but not a journal"),
        (newer, StoreTooNew, "newer version"),
        (home, UsageError, "is this journal itself"),
    ):
        with pytest.raises(kind, match=reason):
            merge(path, home)
    assert merge(away, home).runs == 2
