"""Files that are their owner's alone, whatever the umask."""

import os
import stat
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The folder of what is made or fetched once: JOURNAL_CACHE, or the user's cache directory."""
    chosen = os.environ.get("JOURNAL_CACHE") or platformdirs.user_cache_dir("serving-journal")
    return Path(chosen).expanduser().absolute()


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read; one that is there already keeps its mode. Raises
    OSError."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there, of their owner alone. Raises
    OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether `folder`, which is made where it does not exist, is this user's alone."""
    try:
        make_folder(folder)
        state = folder.lstat()
    except OSError:
        return False
    mine = state.st_uid == os.getuid() and not state.st_mode & 0o022
    return mine and stat.S_ISDIR(state.st_mode)
