"""MLflow's database in a home, created completely or not at all.

MLflow takes seconds to create its tables. A process that is killed meanwhile leaves a database that
MLflow can neither use nor repair. The first one that a version of MLflow has created is kept empty
in the cache, and the next homes begin with a copy of it.
"""

import os
import re
import secrets
import socket
import sqlite3
import tempfile
import warnings
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import platformdirs

from journal.private import cache_dir, is_private, make_folder, write_private

NAME = "mlflow.db"
CONNECT_S = 5
DEFAULT_PORTS = {"http": 80, "https": 443}
_LIMITS = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "mssql": "timeout"}
PLAIN = re.compile(r"[A-Za-z0-9_./+,=@ -]+")  # what a URL and MLflow take as it stands


def database_url(home: Path) -> str:
    """The URL of MLflow's database in `home`. MLflow reads parts of a path as parts of a URL, so
    that a `?` in it would lead elsewhere: such a home is reached through a link of a plain name, in
    a folder that is the user's alone."""
    return f"sqlite:///{_plain_path(home.absolute()) / NAME}"


def refused_connection(uri: str) -> OSError | None:
    """The error with which a tracking server at `uri` refuses to be connected to, found without
    MLflow, whose import takes a core some seconds; None for everything else, a store that is no
    server, a server behind a proxy and one that does not answer within CONNECT_S among it."""
    parts = urlsplit(uri)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return None
    if parts.scheme in getproxies() and not proxy_bypass(parts.netloc):
        return None
    try:
        address = parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
        socket.create_connection(address, CONNECT_S).close()
    except ConnectionRefusedError as error:
        return error
    except (OSError, ValueError):
        return None
    return None


def check_reachable(uri: str) -> None:
    """Connect to the database server at `uri`, once and for CONNECT_S at most, and raise what its
    driver raises: MLflow itself tries for two minutes. Other stores are passed over."""
    limit = next((name for kind, name in _LIMITS.items() if uri.startswith(kind)), None)
    if limit is None:
        return
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(uri, connect_args={limit: CONNECT_S}, poolclass=NullPool)
    with engine.connect():
        pass


def _plain_path(home: Path) -> Path:
    if PLAIN.fullmatch(str(home)):
        return home
    folder = Path(platformdirs.user_cache_dir("serving-journal"), "homes").absolute()
    if not (PLAIN.fullmatch(str(folder)) and is_private(folder)):
        folder = Path(tempfile.mkdtemp(prefix="serving-journal-", dir="/tmp"))
    link = folder / sha256(os.fsencode(home)).hexdigest()[:24]
    if not link.is_symlink() or link.readlink() != home:
        unnamed = folder / f".{secrets.token_hex(8)}"
        unnamed.symlink_to(home)
        unnamed.replace(link)
    return link


def make_whole(home: Path) -> None:
    """Create the database beside its place, readable by its owner only, and move it there; do
    nothing where it exists, but for a private folder of artifacts. Only one process may call this
    at a time."""
    home = home.absolute()
    (home / "mlflow-artifacts").mkdir(mode=0o700, exist_ok=True)
    if (home / NAME).exists():
        return
    with warnings.catch_warnings(action="ignore"):  # about MLflow's own code
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from mlflow.version import VERSION

    half_done, kept = home / f".{NAME}.half-done", cache_dir() / "mlflow" / f"{VERSION}.db"
    for left in home.glob(f"{half_done.name}*"):  # with SQLite's file of what to undo in it
        left.unlink()
    empty = _whole(kept)
    write_private(half_done, empty or b"")
    with warnings.catch_warnings(action="ignore"):
        where = f"sqlite:///{_plain_path(home) / half_done.name}"
        store = SqlAlchemyStore(where, (home / "mlflow-artifacts").as_uri())
    store.engine.dispose()
    if empty is None:
        _keep(half_done, kept)
    half_done.rename(home / NAME)


def _whole(kept: Path) -> bytes | None:
    """The bytes of a database that was kept; None where there is none, or a damaged one."""
    if not kept.exists():
        return None
    try:
        with closing(sqlite3.connect(kept)) as connection:
            if connection.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return kept.read_bytes()
    except (OSError, sqlite3.Error):
        pass
    return None


def _keep(database: Path, kept: Path) -> None:
    """Keep a copy of a database in which nothing was logged, without the experiment that MLflow
    creates in each: it names a home. Where that fails, nothing is kept."""
    half_done = kept.parent / f".{secrets.token_hex(8)}"
    with suppress(OSError, sqlite3.Error):
        make_folder(kept.parent)
        write_private(half_done, database.read_bytes())
        with closing(sqlite3.connect(half_done)) as connection:
            connection.execute("DELETE FROM experiments")
            connection.commit()
            connection.execute("VACUUM")  # what is deleted only would still be in the file
        half_done.rename(kept)
    half_done.unlink(missing_ok=True)
