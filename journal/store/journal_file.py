"""A journal in a file, read with Python's own sqlite3: what lists and shows runs, and what writes a
log, is done before SQLAlchemy is imported. Whatever is unusual is left to the Store, which reads
every journal.
"""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from journal.errors import StoreError
from journal.records.run import ExperimentRecord, Record
from journal.store.row_care import DAMAGE
from journal.store.run_rows import read_experiments, read_runs, read_runs_of
from journal.store.schema import HEAD, VERSION_TABLE

if TYPE_CHECKING:
    from journal.store.rows import Changes, Journal, Rows

T = TypeVar("T")

_SEVERAL = re.compile(r"\bIN :(\w+)")


def read(home: Path, work: "Callable[[Journal], T]") -> T:
    """The result of `work`, which reads, on the journal of `home`: on its file where that is usual,
    else, and where `work` writes after all, anew on its Store. Raises what opening a Store, or
    `work`, raises."""
    path = home.absolute() / "journal.db"
    try:
        if not os.environ.get("JOURNAL_DB") and path.is_file() and not _running(home):
            address = f"file:{quote(str(path))}?mode=rw"
            with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as database:
                return work(JournalFile(database, path))
    except (sqlite3.Error, StoreError, OSError, *DAMAGE):
        pass  # the Store says what it is, or reads what is not damaged
    from journal.store.store import open_store

    with open_store(home) as store:
        return work(store)


def _running(home: Path) -> bool:
    """Whether an experiment runs, or did when its process died: opening a Store ends the latter."""
    return any((home / "running").glob("[!.]*"))


class JournalFile:
    """The journal in an SQLite file, as it is when it is first read. Its methods are as those of a
    Store, but raise one of DAMAGE where a Store would look closer, or write."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        database.execute("PRAGMA query_only = ON")
        database.execute("BEGIN")
        (version,) = self._one(f"SELECT version_num FROM {VERSION_TABLE}")
        if version != HEAD:
            raise LookupError("it has another schema")

    @contextmanager
    def reading(self) -> "Iterator[Rows]":
        """The transaction of this file."""
        yield self

    def changing(self) -> "AbstractContextManager[Changes]":
        raise LookupError("only a Store writes")

    @property
    def requests_folder(self) -> Path:
        """The folder of the Parquet files that requests were moved to."""
        from journal.store.parquet import folder_beside

        return folder_beside(self._path)

    def tuples(self, query: str, /, **values: object) -> Sequence[Sequence[Any]]:
        """The rows of a query, as `Rows` has it."""
        return self._execute(query, values).fetchall()

    def mappings(self, query: str, /, **values: object) -> Sequence[Mapping[str, Any]]:
        """The rows of a query by the names of their columns."""
        cursor = self._execute(query, values)
        names = [name for name, *_ in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _execute(self, query: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        several = _SEVERAL.sub(r"IN (SELECT value FROM json_each(:\1))", query)
        return self._database.execute(several, {name: _bound(one) for name, one in values.items()})

    def _one(self, query: str, **values: object) -> Sequence[Any]:
        """The only row of a query. Raises LookupError where it has none or several."""
        rows = self._execute(query, values).fetchmany(2)
        if len(rows) != 1:
            raise LookupError(f"{len(rows)} rows in place of one")
        row: Sequence[Any] = rows[0]
        return row

    def experiments(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> list[ExperimentRecord]:
        """The experiments that started at or after `since` and before `until`, newest last."""
        return read_experiments(self, since=since, until=until)

    def experiment(self, experiment_id: str) -> ExperimentRecord:
        """The experiment with this whole id."""
        (experiment,) = read_experiments(self, experiment_id=experiment_id)
        return experiment

    def run(self, run_id: str) -> Record:
        """The run with this id, or with the only id that begins so, or the "last" one."""
        if run_id == "last":
            (record,) = self.runs(limit=1)
            return record
        begins = "SELECT id FROM runs WHERE substr(id, 1, :length) = :begin"
        (whole_id,) = self._one(begins, length=len(run_id), begin=run_id)
        (record,) = read_runs(self, "SELECT id FROM runs WHERE id = :id", {"id": whole_id})
        return record

    def runs(
        self,
        *,
        experiment_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        metrics: Collection[str] | None = None,
        apart_from: Collection[str] = (),
    ) -> list[Record]:
        """The runs of one experiment, or of all, as a Store gives them."""
        return read_runs_of(
            self,
            experiment_id=experiment_id,
            since=since,
            until=until,
            limit=limit,
            metrics=metrics,
            apart_from=apart_from,
        )


def _bound(value: object) -> object:
    """A value as SQLite stores it; several values as one JSON."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return json.dumps([*value])
    return value
