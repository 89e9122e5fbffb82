"""The address of a database, the connections to it, and its errors as sentences.

On SQLite every writing transaction begins IMMEDIATE: a transaction that reads first and writes
later fails at once when another process writes in between, whatever the timeout.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BindParameter,
    Connection,
    Engine,
    Row,
    RowMapping,
    String,
    TextClause,
    bindparam,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from journal.errors import MissingExtra, StoreBusy, StoreError
from journal.private import make_folder
from journal.redaction import hidden, in_url, remember, shown_url
from journal.store.utc_time import UtcTime

BUSY_TIMEOUT_S = 10.0

_ADVICE = (
    ("not a database", "is damaged or not a journal: put a copy back, or move it away"),
    ("malformed", "is damaged: put a copy back, or save its rows with sqlite3's .recover"),
    ("readonly", "cannot be written: make the file and its directory writable"),
    ("unable to open", "cannot be opened: see that its directory exists and is writable"),
    ("locked", "is locked by another program: close that one and try again"),
    ("is full", "has no room left: free some disk space; nothing was half written"),
    ("disk i/o error", "cannot be read or written: check the disk, and the room on it"),
    ("connection", "cannot be reached: check that the database server runs and the address"),
)
_MAY_PASS = ("locked", "is full", "disk i/o error", "connection")


def store_address(home: Path, url: str | None = None) -> URL:
    """The address of the journal: `url`, else the JOURNAL_DB environment variable, else
    `home`/journal.db. Raises StoreError for a text that is not a database URL."""
    setting = url or os.environ.get("JOURNAL_DB")
    remember(*(in_url(setting) if setting else ()))
    if not setting:
        return URL.create("sqlite", database=str(home.absolute() / "journal.db"))
    try:
        parsed = make_url(setting)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(
            f"{shown_url(setting)!r} is not a database URL: give one such as "
            "sqlite:////data/journal.db or postgresql+psycopg://user@host/journal"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        name = parsed.database or ":memory:"
        if name.startswith((":memory:", "file:")):
            raise StoreError(
                f"{shown_url(setting)!r} names no file: give one such as sqlite:////data/journal.db"
            )
    return parsed


def file_of(url: URL) -> Path | None:
    """The SQLite file of a database; None where the database is on a server."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def connectable(url: URL, *, migrating: bool = False) -> Engine:
    """The SQLAlchemy engine for `url`. On SQLite transactions are IMMEDIATE and foreign keys are
    checked, but not while `migrating`: a table that is rebuilt would delete its child rows. Raises
    MissingExtra where the driver of a server is not installed."""
    if file_of(url) is None:
        try:
            return create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise MissingExtra(f"a journal on {url.host} ({error.name})", "postgres") from error
    options = {} if "timeout" in url.query else {"timeout": BUSY_TIMEOUT_S}
    engine = create_engine(url, connect_args={"isolation_level": None, **options})
    pragmas = ("foreign_keys=OFF", "journal_mode=WAL") if migrating else ("foreign_keys=ON",)

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def reader(engine: Engine) -> Engine:
    """The engine for reading: all statements of a transaction see one state of the database."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(reading=True)
    return engine.execution_options(isolation_level="REPEATABLE READ")


class ConnectionRows:
    """One transaction of SQLAlchemy, as `Rows` and `Changes` have it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tuples(self, query: str, /, **values: object) -> Sequence[Row[Any]]:
        """The rows of a query."""
        return self._connection.execute(_bound(query, values)).all()

    def mappings(self, query: str, /, **values: object) -> Sequence[RowMapping]:
        """The rows of a query by the names of their columns."""
        return self._connection.execute(_bound(query, values)).mappings().all()

    def add(self, table: str, values: Mapping[str, object], /) -> None:
        """Add a row to a table."""
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        self.change(f"INSERT INTO {table} ({names}) VALUES ({places})", **values)

    def change(self, query: str, /, **values: object) -> None:
        """Change rows by a query."""
        self._connection.execute(_bound(query, values))


def _bound(query: str, values: Mapping[str, object]) -> TextClause:
    return text(query).bindparams(*(_parameter(name, one) for name, one in values.items()))


def _parameter(name: str, value: object) -> BindParameter[Any]:
    if isinstance(value, datetime):
        return bindparam(name, value, UtcTime)
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        kind = None if value else String  # PostgreSQL wants to know of what there is nothing
        return bindparam(name, [*value], kind, expanding=True)
    return bindparam(name, value)


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the database's errors inside the block into a StoreError of one sentence, or into a
    StoreBusy where the same statement may succeed a minute later."""
    try:
        yield
    except (StatementError, OverflowError) as error:
        cause = error.orig if isinstance(error, StatementError) else error
        reason = " ".join(str(cause).split())
        advice = (advice for words, advice in _ADVICE if words in reason.lower())
        sentence = next(advice, "refused these values")
        kind = StoreBusy if any(words in reason.lower() for words in _MAY_PASS) else StoreError
        reason = hidden(reason)
        raise kind(f"the journal {shown_address(url)} {sentence} ({reason})") from error


def shown_address(url: URL) -> str:
    """The address as people read it: the file, or the URL without its secrets."""
    return str(file_of(url) or shown_url(url.render_as_string(hide_password=False)))


def make_private(directory: Path) -> None:
    """Make a directory of its owner alone where there is none. Raises StoreError."""
    try:
        make_folder(directory)
    except OSError as error:
        raise StoreError(
            f"the directory {directory} cannot be made ({error.strerror}): choose another"
        ) from error


def touch_private(path: Path) -> None:
    """Make the file of a new journal, readable by its owner only; leave an old file as it is.
    Raises StoreError."""
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"the journal {path} cannot be written ({error.strerror}): make its directory writable"
        ) from error


def file_identity(path: Path) -> tuple[int, int] | None:
    """The device and the inode of a file; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
