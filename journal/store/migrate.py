"""Migration of a database to the newest schema when it is opened.

A database that is up to date costs one look at its version. An empty one gets the tables of the
newest schema. For any other, Alembic is imported and runs the migrations. Both happen in one
transaction, alone: under a lock file for SQLite, under an advisory lock on PostgreSQL. An SQLite
journal with content is copied beside itself first. The views for people are made again after each.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    inspect,
    text,
)

from journal.errors import StoreError, StoreTooNew
from journal.store.core_tables import METADATA
from journal.store.database import connectable, explained, file_of, reader, shown_address
from journal.store.lock_files import LOCK_TIMEOUT_S, locked
from journal.store.schema import HEAD, VERSION_TABLE
from journal.store.views import drop_views, make_views

_ADVISORY_LOCK = int.from_bytes(b"journal")


def migrations() -> Path:
    """The directory of migrations: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def is_up_to_date(engine: Engine) -> bool:
    """Whether the database has the schema that this package was made for."""
    with explained(engine.url), reader(engine).connect() as connection:
        return _version(connection) == HEAD


def bring_up_to_date(url: URL, scripts: Path | None = None) -> None:
    """Apply the migrations (of `scripts`, by default the package's) that the database lacks.

    Raises StoreTooNew for a schema that they do not know, StoreError for a database in which
    another program has tables of the same names, for a lock that does not become free in time,
    and for a migration that failed; the database is then as it was before.
    """
    path = file_of(url)
    engine = connectable(url, migrating=True)
    try:
        with explained(url):
            if path is None:
                with engine.begin() as connection:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S:.0f}s'"))
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                    _upgrade(connection, scripts)
            else:
                with locked(path.with_name(path.name + ".lock")):
                    _upgrade_file(engine, path, scripts)
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return version


def _upgrade(connection: Connection, scripts: Path | None) -> None:
    """Make the tables, or run the migrations (of `scripts`, where there are some), inside the
    transaction of `connection`. Raises what `bring_up_to_date` raises."""
    version = _version(connection)
    if scripts is None and version == HEAD:  # another process has just made it
        return
    if version is None:
        _check_empty(connection)
        if scripts is None:
            _make_tables(connection)
            return
    _migrate(connection, version, scripts or migrations())


def _check_empty(connection: Connection) -> None:
    """Raise StoreError where the database has tables of the journal's names without its version."""
    strangers = set(inspect(connection).get_table_names()) & set(METADATA.tables)
    if strangers:
        raise StoreError(
            f"the database {shown_address(connection.engine.url)} has tables of another program "
            f"({', '.join(sorted(strangers))}): give the journal a database of its own"
        )


def _make_tables(connection: Connection) -> None:
    """The newest schema in an empty database, as the migrations would make it."""
    METADATA.create_all(connection, checkfirst=False)
    versions = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
    versions.create(connection)
    connection.execute(versions.insert().values(version_num=HEAD))
    make_views(connection)


def _migrate(connection: Connection, version: str | None, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    where, newest = shown_address(connection.engine.url), script.get_current_head()
    known = {revision.revision for revision in script.walk_revisions()}
    if version is not None and version not in known:
        raise StoreTooNew(
            f"the journal {where} was written by a newer version of this package (its schema is "
            f"{version}, the newest known here is {newest}): upgrade serving-journal"
        )
    try:
        drop_views(connection)
        command.upgrade(config, "head")
        if HEAD in known:
            make_views(connection)
    except Exception as error:
        raise StoreError(
            f"the journal {where} could not be brought from schema {version or 'none'} to "
            f"{newest} and was left as it was ({error})"
        ) from error


def _upgrade_file(engine: Engine, path: Path, scripts: Path | None) -> None:
    """Run the migrations on an SQLite file. Where a migration ends the transaction itself and then
    fails, the file is put back from its copy."""
    copy = path.with_name(path.name + ".before-migration")
    try:
        with engine.begin() as connection:
            if _version(connection) is not None:
                _copy(path, copy)
            try:
                _upgrade(connection, scripts)
                orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
                if orphans:
                    raise StoreError(f"a migration of {path} would orphan {len(orphans)} rows")
            except Exception:
                if copy.exists() and not _in_transaction(connection):
                    _copy(copy, path)
                raise
    finally:
        copy.unlink(missing_ok=True)


def _in_transaction(connection: Connection) -> bool:
    file = connection.connection.driver_connection
    return isinstance(file, sqlite3.Connection) and file.in_transaction


def _copy(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT, 0o600))
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
