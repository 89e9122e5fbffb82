"""Compaction: old requests, with the times of all their chunks, move out of the database into
Parquet files.

A file is written under another name, read back, flushed to the disk and then given its own name.
Only then are its rows removed, in the transaction that notes the file with their runs. A process
that is killed in between leaves a file that no reader uses, and the next process writes it again
under the same name.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, ColumnElement, delete, exists, func, select, update

from journal.errors import StoreError, UsageError
from journal.records.progress import Event, Listener, ignore
from journal.store import core_tables, parquet
from journal.store.database import BUSY_TIMEOUT_S, connectable, explained, file_of, shown_address
from journal.store.lock_files import locked
from journal.store.store import Store, open_store

if TYPE_CHECKING:
    import pyarrow as pa

FILE_BYTES, FILE_RUNS = 64 * 2**20, 1000  # limits of one file: bytes in memory, and runs
MOST_DAYS = 100_000
FREE = 0.1  # the free share of a database file above which it is made smaller

_runs, _requests = core_tables.runs, core_tables.requests


@dataclass(frozen=True, slots=True)
class Compacted:
    """The result of a compaction: the runs, requests and files that were moved or written, and
    the sizes of files and database in bytes. `chunk_bytes` is the size that the chunks' times and
    tokens had in the database."""

    runs: int
    requests: int
    chunk_bytes: int
    files: int
    files_bytes: int
    database_before_bytes: int
    database_after_bytes: int

    @property
    def saved_bytes(self) -> int:
        """The bytes of disk that the compaction saved; negative where it took more."""
        return self.database_before_bytes - self.database_after_bytes - self.files_bytes


def compact(
    home: str | Path = "lab",
    *,
    older_than_days: int,
    dry_run: bool = False,
    listener: Listener = ignore,
) -> Compacted:
    """Move the requests of all runs that began before the UTC day `older_than_days` ago into
    Parquet files beside the journal of `home`, where every reader of requests finds them.

    With `dry_run` the requests are only counted. Raises UsageError for days below 0 or above
    MOST_DAYS, MissingExtra without pyarrow, StoreError where a file cannot be written.
    """
    if not 0 <= older_than_days <= MOST_DAYS:
        raise UsageError(f"{older_than_days} is not a number of days: give 0 to {MOST_DAYS:,}")
    with open_store(Path(home)) as store:
        day = datetime.now(UTC).date() - timedelta(days=older_than_days)
        old = _old(datetime.combine(day, time.min, UTC))
        runs, requests, chunk_bytes = _counted(store, old)
        before = _size(store)
        files = _move_all(store, old, runs, listener) if runs and not dry_run else []
        if not dry_run:
            _give_back(store.url)
        return Compacted(
            runs=runs,
            requests=requests,
            chunk_bytes=chunk_bytes,
            files=len(files),
            files_bytes=sum(path.stat().st_size for path in files),
            database_before_bytes=before,
            database_after_bytes=_size(store),
        )


# ---- the runs to move ------------------------------------------------------------------------


def _old(before: datetime) -> ColumnElement[bool]:
    """The condition for the runs whose requests are to be moved."""
    own = _requests.alias()
    in_database = exists().where(own.c.run_id == _runs.c.id)
    return (_runs.c.started_at < before) & _runs.c.requests_file.is_(None) & in_database


def _counted(store: Store, old: ColumnElement[bool]) -> tuple[int, int, int]:
    """The number of runs, the number of their requests, and the bytes of their chunks."""
    size = func.length(_requests.c.chunk_s) + func.coalesce(
        func.length(_requests.c.chunk_tokens), 0
    )
    query = select(func.count(_runs.c.id.distinct()), func.count(), func.sum(size))
    query = query.select_from(_runs.join(_requests, _requests.c.run_id == _runs.c.id)).where(old)
    with store.transaction(writing=False) as connection:
        runs, requests, bytes_ = connection.execute(query).one()
    return runs, requests, int(bytes_ or 0)


def _size(store: Store) -> int:
    """The size of the database in bytes."""
    path = file_of(store.url)
    if path is not None:
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    with store.transaction(writing=False) as connection:
        return int(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)


# ---- moving ----------------------------------------------------------------------------------


def _move_all(store: Store, old: ColumnElement[bool], runs: int, listener: Listener) -> list[Path]:
    """Move the requests of `old`; return the files that were written. A lock allows one process
    at a time."""
    folder, files, done = store.requests_folder, [], 0
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with locked(folder / ".lock"):
            for left in folder.glob(".*.parquet"):
                left.unlink()  # a killed process left it
            for day, tables in _batches(store, old):
                listener(Event("cell", f"moving the requests of {day}", done, runs))
                files.append(_move(store, folder, day, tables))
                done += len(tables)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror or error}): make it writable, or free "
            "space on its disk; nothing is lost"
        ) from error
    return files


def _batches(
    store: Store, old: ColumnElement[bool]
) -> "Iterator[tuple[date, dict[str, pa.Table]]]":
    """The UTC day and the requests of its runs (by run id) for each file that is to be written."""
    query = select(_runs.c.id, _runs.c.started_at, _runs.c.requests_file).where(old)
    with store.transaction(writing=False) as connection:
        rows_of_runs = connection.execute(query.order_by(_runs.c.started_at, _runs.c.id))
        runs = rows_of_runs.mappings().all()
    batch: dict[str, pa.Table] = {}
    size = 0
    for number, run in enumerate(runs):
        with store.transaction(writing=False) as connection:
            rows = parquet.request_rows(connection, run, store.requests_folder)
        if rows:  # without them another process was quicker
            batch[run["id"]] = parquet.as_table(rows)
            size += batch[run["id"]].nbytes
        day = _day(run["started_at"])
        full = len(batch) == FILE_RUNS or size >= FILE_BYTES
        last = number + 1 == len(runs) or _day(runs[number + 1]["started_at"]) != day
        if batch and (full or last):
            yield day, batch
            batch, size = {}, 0


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _move(store: Store, folder: Path, day: date, tables: "dict[str, pa.Table]") -> Path:
    """Write the file of these runs, then remove their rows; return its path. Raises StoreError
    where another process moves the same rows."""
    digest = sha256(" ".join(tables).encode()).hexdigest()[:16]
    path = folder / f"{day}-{digest}.parquet"
    unnamed = folder / f".{path.name}"
    parquet.write_runs(unnamed, list(tables.values()))
    unnamed.replace(path)
    _flush(folder)
    mine = _runs.c.id.in_(tables) & _runs.c.requests_file.is_(None)
    with store.transaction(writing=True) as connection:
        noted = connection.execute(update(_runs).where(mine).values(requests_file=path.name))
        removed = connection.execute(delete(_requests).where(_requests.c.run_id.in_(tables)))
        if (noted.rowcount, removed.rowcount) != (len(tables), sum(map(len, tables.values()))):
            raise StoreError(
                f"another process moves requests of {shown_address(store.url)}: {path} was written "
                "in vain, and no row was removed; try again when that process is done"
            )
    return path


def _flush(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_back(url: URL) -> None:
    """Free the space of removed rows: on the disk, or on a server for new rows. Raises
    StoreError."""
    path = file_of(url)
    if path is None:
        engine = connectable(url).execution_options(isolation_level="AUTOCOMMIT")
        with explained(url), engine.connect() as connection:
            connection.exec_driver_sql("VACUUM requests")
        engine.dispose()
        return
    try:
        with closing(
            sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        ) as database:
            (free,), (pages,) = (
                database.execute(f"PRAGMA {count}").fetchone()
                for count in ("freelist_count", "page_count")
            )
            if free > FREE * pages:
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StoreError(
            f"the requests were moved, but {path} could not be made smaller ({error}): compact "
            "again when its disk has room and no other process writes"
        ) from error
