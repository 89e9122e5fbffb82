"""MLflow's database in a home, created completely or not at all.

MLflow takes seconds to create its tables. A process that is killed meanwhile leaves a database that
MLflow can neither use nor repair.
"""

import os
import re
import secrets
import socket
import stat
import tempfile
import warnings
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import platformdirs

from journal.private import make_folder

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
    if not (PLAIN.fullmatch(str(folder)) and _is_private(folder)):
        folder = Path(tempfile.mkdtemp(prefix="serving-journal-", dir="/tmp"))
    link = folder / sha256(os.fsencode(home)).hexdigest()[:24]
    if not link.is_symlink() or link.readlink() != home:
        unnamed = folder / f".{secrets.token_hex(8)}"
        unnamed.symlink_to(home)
        unnamed.replace(link)
    return link


def _is_private(folder: Path) -> bool:
    """Whether `folder`, which is made where it does not exist, is this user's alone."""
    try:
        make_folder(folder)
        state = folder.lstat()
    except OSError:
        return False
    mine = state.st_uid == os.getuid() and not state.st_mode & 0o022
    return mine and stat.S_ISDIR(state.st_mode)


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

    half_done = home / f".{NAME}.half-done"
    half_done.unlink(missing_ok=True)
    os.close(os.open(half_done, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with warnings.catch_warnings(action="ignore"):
        where = f"sqlite:///{_plain_path(home) / half_done.name}"
        store = SqlAlchemyStore(where, (home / "mlflow-artifacts").as_uri())
    store.engine.dispose()
    half_done.rename(home / NAME)
