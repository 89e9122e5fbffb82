"""Merging: the rows of another journal that this one lacks are copied, under the same ids."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, RowMapping, Table, insert, select, text, update

from journal.errors import StoreError, UsageError
from journal.paths import file_is_at, folder_is_at
from journal.store import codec, core_tables, from_rows
from journal.store.checkups import checkup_of
from journal.store.database import file_of, store_address
from journal.store.interactions import interaction_of
from journal.store.lock_files import locked
from journal.store.notes import add_note, note_of, notes
from journal.store.parquet import folder_beside, request_rows
from journal.store.row_care import each_of, naming, warn_of
from journal.store.schema import VERSION_TABLE
from journal.store.store import Store, open_store
from journal.store.tags import tag_of

_experiments, _runs, _requests = core_tables.experiments, core_tables.runs, core_tables.requests
_PARTS = [rows for rows in core_tables.METADATA.sorted_tables if "run_id" in rows.primary_key.c]
_OTHERS = [
    rows
    for rows in core_tables.METADATA.sorted_tables
    if rows not in (*_PARTS, _experiments, _runs, core_tables.notes)
]
_READERS = {
    "experiments": from_rows.experiment_record,
    "interactions": interaction_of,
    "checkups": checkup_of,
    "tags": tag_of,
}
_ADVISORY_LOCK = 0x6D657267  # of PostgreSQL: "merg"
_UNKNOWN_TO_MLFLOW = {"mlflow_run_id": None, "mlflow_pending": True, "mlflow_error": None}


@dataclass(frozen=True, slots=True)
class Merged:
    """The numbers of rows that a merge added. `others`: questions by hand, checkups and
    tags."""

    experiments: int
    runs: int
    notes: int
    others: int


def merge(other: str | Path, home: str | Path = "lab") -> Merged:
    """Copy everything that the journal of `home` lacks from the journal `other` (its journal.db,
    or its home), each row under its own id: a second merge changes nothing. `other` is only read;
    an older schema is brought up to date in a copy.

    A note that was changed on both sides is kept in both versions; a tag that both have stays
    this journal's. A row that cannot be read is
    left out with a warning (DamagedRow). Raises UsageError for a file that is not a journal,
    StoreTooNew for a journal of a newer version.
    """
    path = _file(Path(other))
    if file_of(store_address(Path(home))) == path.absolute():
        raise UsageError(f"{path} is this journal itself: name another one")
    with tempfile.TemporaryDirectory(prefix="journal-merge-") as folder:
        copy = Path(folder, "journal.db")
        _copy(path, copy)
        with (
            open_store(Path(folder), f"sqlite:///{copy}") as theirs,
            open_store(Path(home)) as ours,
            _alone(ours, Path(home)),
        ):
            return Merged(
                experiments=_take_experiments(theirs, ours),
                runs=_take_runs(theirs, ours, folder_beside(path)),
                others=sum(_take(theirs, ours, rows) for rows in _OTHERS),
                notes=_take_notes(theirs, ours),
            )


@contextmanager
def _alone(ours: Store, home: Path) -> Iterator[None]:
    """Hold a journal for one merge: another one at the same time waits, and adds the rest. A
    database that several hosts share is held by a lock of its own, which ends with its
    connection."""
    if file_of(ours.url) is not None:
        with locked(home / "merge.lock"):
            yield
        return
    with ours.transaction(writing=True) as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        yield


def _file(other: Path) -> Path:
    path = other / "journal.db" if folder_is_at(other) else other
    if not file_is_at(path):
        raise UsageError(f"there is no journal at {path}: name a journal.db, or its home")
    return path


def _copy(path: Path, copy: Path) -> None:
    """Copy one state of the database, even while another process writes to it. Raises StoreError
    for a file that cannot be read, UsageError for a database that is not a journal."""
    try:
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise StoreError(f"{path} is damaged ({found}): save its rows with .recover first")
            named = "SELECT 1 FROM sqlite_master WHERE name = ?"
            known = target.execute(named, (VERSION_TABLE,)).fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read as a journal ({error})") from error
    if known is None:
        raise UsageError(f"{path} is a database, but not a journal: name another one")


def _ids(store: Store, rows: Table) -> set[str]:
    with store.transaction(writing=False) as connection:
        return set(connection.scalars(select(rows.c.id)))


def _take_experiments(theirs: Store, ours: Store) -> int:
    """Copy new experiments, and the ends of experiments that were running at an earlier merge;
    return the number of new ones."""
    taken = _take(theirs, ours, _experiments, _UNKNOWN_TO_MLFLOW)
    running = select(_experiments.c.id).where(_experiments.c.status == "running")
    with ours.transaction(writing=False) as connection:
        open_ids = list(connection.scalars(running))
    query = select(_experiments.c.id, _experiments.c.status, _experiments.c.ended_at)
    query = query.where(_experiments.c.id.in_(open_ids), _experiments.c.status != "running")
    with theirs.transaction(writing=False) as connection:
        ended = list(connection.execute(query).mappings())
    with ours.transaction(writing=True) as connection:
        for row in ended:
            values = {"status": row["status"], "ended_at": row["ended_at"], "mlflow_pending": True}
            connection.execute(
                update(_experiments).where(_experiments.c.id == row["id"]).values(values)
            )
    return taken


def _take_runs(theirs: Store, ours: Store, folder: Path) -> int:
    """Copy new runs one by one, each whole with its samples or not at all; return their number.
    `folder` has the requests that were moved into files."""
    new, taken = sorted(_ids(theirs, _runs) - _ids(ours, _runs)), 0
    begun = _ids(ours, _experiments)
    for run_id in new:
        try:
            run, parts = _read_run(theirs, run_id, folder)
            if run["experiment_id"] not in begun:
                raise StoreError(f"run {run_id} is of an experiment that cannot be read")
        except StoreError as error:
            warn_of(error)
            continue
        taken += 1
        with ours.transaction(writing=True) as writing:
            writing.execute(insert(_runs), run | _UNKNOWN_TO_MLFLOW | {"requests_file": None})
            for part, rows in parts:
                if rows:
                    writing.execute(insert(part), rows)
    return taken


def _read_run(
    theirs: Store, run_id: str, folder: Path
) -> tuple[dict[str, object], list[tuple[Table, list[dict[str, object]]]]]:
    """The row of a run, and its rows in the other tables, read as the commands read them. Raises
    StoreError for a run that is damaged."""
    with theirs.transaction(writing=False) as reading, naming(f"run {run_id}"):
        run = _rows(reading, _runs, "id", run_id)[0]
        parts = [(part, _rows(reading, part, "run_id", run_id)) for part in _PARTS]
        if run["requests_file"] is not None:
            moved = request_rows(reading, run, folder)
            parts.append((_requests, [dict(row) for row in moved]))
    by_table = {part.name: rows for part, rows in parts if rows}
    of = {rows.name: field for rows, field, _ in codec.READING_KINDS}
    for figure in by_table.get("metrics", ()):
        from_rows.stored_figure(
            *(figure[name] for name in ("name", "value", "low", "high", "count"))
        )
    from_rows.run_record(run, {}, [from_rows.doubt(row) for row in by_table.get("doubts", ())])
    if run["client"] is not None:
        readings = {field: by_table.get(name, []) for name, field in of.items()}
        codec.samples(run, by_table.get("requests", []), readings)
    return run, parts


def _rows(connection: Connection, rows: Table, column: str, value: str) -> list[dict[str, object]]:
    query = select(rows).where(rows.c[column] == value)
    return [dict(row) for row in connection.execute(query).mappings()]


def _take(
    theirs: Store, ours: Store, rows: Table, changes: Mapping[str, object] | None = None
) -> int:
    """Copy the rows of a table whose ids are new, with `changes` to each; return their number."""
    new = _ids(theirs, rows) - _ids(ours, rows)
    with theirs.transaction(writing=False) as reading:
        every = each_of(reading, select(rows), rows.c.id, _checked_by(rows))
        copies = [{**row, **(changes or {})} for row in every if row["id"] in new]
    if copies:
        with ours.transaction(writing=True) as writing:
            writing.execute(insert(rows), copies)
    return len(copies)


def _checked_by(rows: Table) -> Callable[[RowMapping], RowMapping]:
    """A function that returns a row of this table, or raises StoreError where it is damaged."""
    read: Callable[[RowMapping], object] = _READERS[rows.name]

    def checked(row: RowMapping) -> RowMapping:
        read(row)
        return row

    return checked


def _take_notes(theirs: Store, ours: Store) -> int:
    taken = 0
    for note in notes(theirs):
        there = note_of(ours, note.id)
        if there is not None and there.text != note.text:
            both = f"{note.id} {note.text}".encode("utf-8", "surrogateescape")
            note = replace(note, id=sha256(both).hexdigest()[:16])
            there = note_of(ours, note.id)
        if there is None:
            add_note(ours, note)
            taken += 1
    return taken
