"""Runs are listed and shown, and logs are written, without SQLAlchemy, and as the Store reads the
journal."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import Run, a_record, an_experiment

from journal.errors import DamagedRow, NotFound
from journal.records.doubt import Doubt
from journal.records.figure import Figure
from journal.records.notebook import Checkup, Interaction, Note
from journal.store.checkups import add_checkup
from journal.store.evidence import environment_of, first_answer, first_checkup, good_runs
from journal.store.history import last_began, last_measured
from journal.store.interactions import add_interaction, interactions
from journal.store.journal_file import read
from journal.store.middle_requests import middle_requests
from journal.store.notes import add_note, note_of, notes
from journal.store.request_lengths import request_lengths
from journal.store.store import Store, open_store

if TYPE_CHECKING:
    from journal.store.rows import Journal

RUNS = 5  # one of them with samples
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READS: dict[str, Callable[["Journal"], object]] = {
    "all": lambda store: store.runs(),
    "newest": lambda store: store.runs(limit=2, metrics={"ttft_s.p50"}),
    "of an experiment": lambda store: store.runs(experiment_id=store.run("last").experiment_id),
    "last": lambda store: store.run("last"),
    "begins": lambda store: store.run("2"),
    "experiment": lambda store: store.experiment(store.run("1").experiment_id),
    "from the second on": lambda store: store.runs(since=store.run("1").started_at),
    "before the last": lambda store: store.runs(until=store.run("last").started_at),
    "of another": lambda store: store.runs(apart_from={store.run("last").experiment_id}),
    "without metrics": lambda store: store.runs(metrics=()),
    "experiments": lambda store: store.experiments(until=store.run("last").started_at),
    "no experiments": lambda store: store.experiments(since=datetime.max.replace(tzinfo=UTC)),
    "last began": last_began,
    "good runs": good_runs,
    "good runs before": lambda store: good_runs(store, store.run("last").started_at),
    "environment": lambda store: environment_of(store, store.run("1").id),
    "notes": notes,
    "notes of a day": lambda store: notes(store, NOON.date()),
    "note": lambda store: note_of(store, "n"),
    "questions": lambda store: interactions(store, since=NOON, until=NOON + timedelta(days=1)),
    "first answer": lambda store: first_answer(store, "ask", NOON + timedelta(days=1)),
    "first checkup": first_checkup,
    "measured before": lambda store: last_measured(
        store, [run.cell for run in store.runs()], datetime.max.replace(tzinfo=UTC)
    ),
    "requests": lambda store: middle_requests(store, store.run("5").id),
    "lengths": lambda store: request_lengths(store, [store.run("5").id]),
}
QUESTION = Interaction(
    id="q",
    source="ask",
    asked_at=NOON,
    base_url="http://127.0.0.1:8000/v1",
    model="m",
    api="chat",
    messages=({"role": "user", "content": "so?"},),
    settings={"temperature": 0},
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_store(tmp_path) as store:
        for experiment in range(2):
            begun = an_experiment(experiment)
            kept = store.begin_experiment(begun.experiment, begun.started_at, {"host": "h"})
            for number in range(experiment, RUNS - 1, 2):
                record = a_record(
                    id=f"{number}f",
                    number=number,
                    experiment_id=kept.id,
                    metrics={"ttft_s.p50": Figure(0.1, 0.05, 0.2, number), "requests": 16},
                    doubts=(Doubt("few_requests", {"n": number}), Doubt("stalled", {})),
                )
                store.add_run(record, None)
            store.end_experiment(kept.id, "done", begun.started_at)
        samples = Run().samples()
        whole = a_record(id="5f", number=5, experiment_id=kept.id)
        store.add_run(replace(whole, cell=samples.cell, facts=samples.facts), samples)
        add_note(store, Note(id="n", day=NOON.date(), text="so\udcff", written_at=NOON))
        add_interaction(store, QUESTION)
        add_checkup(store, Checkup(id="c", host="h", made_at=NOON, checks=()))
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The homes whose Store was opened."""
    homes: list[Path] = []

    def opening(home: Path) -> Store:
        homes.append(home)
        return open_store(home)

    monkeypatch.setattr("journal.store.store.open_store", opening)
    return homes


@pytest.mark.parametrize("name", READS)
def test_the_file_is_read_as_the_store_reads_it(name: str, home: Path, opened: list[Path]) -> None:
    with open_store(home) as store:
        expected = READS[name](store)
    assert read(home, READS[name]) == expected
    assert not opened
    assert not [*home.glob("journal.db-*")]  # as SQLite leaves one that is only read


def test_what_is_unusual_is_left_to_the_store(
    home: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no run '9'"):
        read(home, lambda store: store.run("9"))
    (home / "running").mkdir(exist_ok=True)
    (home / "running" / "e1").touch()  # of a process that died
    assert len(read(home, lambda store: store.runs())) == RUNS
    monkeypatch.setenv("JOURNAL_DB", f"sqlite:///{home / 'journal.db'}")
    assert len(read(home, lambda store: store.runs())) == RUNS
    monkeypatch.delenv("JOURNAL_DB")
    new = tmp_path / "new"
    assert read(new, lambda store: store.runs()) == []
    assert opened == [home, home, home, new]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE runs SET cell = '{' WHERE id = '1f'",
        "UPDATE runs SET started_at = 'soon' WHERE id = '1f'",
        "UPDATE runs SET status = 'superb' WHERE id = '1f'",
        "UPDATE metrics SET value = 'many' WHERE run_id = '1f' AND name = 'requests'",
    ],
)
def test_damage_is_named_as_by_the_store(damage: str, home: Path, opened: list[Path]) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as database, database:
        database.execute(damage)
    with pytest.warns(DamagedRow) as seen:
        left = read(home, lambda store: store.runs())
    with pytest.warns(DamagedRow) as said, open_store(home) as store:
        assert store.runs() == left
    assert [str(one.message) for one in seen] == [str(one.message) for one in said]
    assert not opened


def test_an_older_schema_is_left_to_the_store(home: Path, opened: list[Path]) -> None:
    with closing(sqlite3.connect(home / "journal.db")) as database, database:
        database.execute("UPDATE journal_version SET version_num = '0020'")
    assert len(read(home, lambda store: store.runs())) == RUNS  # brought up to date
    assert opened == [home]


def test_what_writes_is_left_to_the_store(home: Path, opened: list[Path]) -> None:
    def kept(store: "Journal") -> list[Note]:
        add_note(store, Note(id="m", day=NOON.date(), text="more", written_at=NOON))
        return notes(store)

    assert len(read(home, kept)) == 2
    assert opened == [home]


@pytest.mark.parametrize("command", [["runs"], ["show", "last"], ["show", "1", "--json"]])
def test_the_commands_that_look_at_runs_load_neither_sqlalchemy_nor_numpy(
    command: list[str], home: Path
) -> None:
    assert not {"sqlalchemy", "numpy"} & loaded_by(*command, home=home)


def test_a_log_is_written_without_sqlalchemy(home: Path) -> None:
    for _ in range(2):  # one that stands there is read before it is written anew
        assert "sqlalchemy" not in loaded_by("log", home=home)


def loaded_by(*command: str, home: Path) -> set[str]:
    """The modules that a command loads."""
    code = (
        "import sys; from journal.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    words = [sys.executable, "-c", code, *command, "--home", str(home)]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    return set(said.stdout.splitlines()[-1].split())
