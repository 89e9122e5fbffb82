"""Locks of running experiments: a file for each, in `home`/running. The kernel releases a
lock when its process ends, however that happens, so a lock file that is free was left by a
process that died before it could store how its experiment ended."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from journal.errors import StoreError


def lock(home: Path, experiment_id: str) -> int:
    """Lock the file of an experiment until `release` or the end of this process; return its
    descriptor. Raises StoreError where the file cannot be made."""
    directory = home / "running"
    unnamed = directory / f".{experiment_id}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unnamed.rename(directory / experiment_id)  # no other process sees it unlocked
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be written ({error.strerror}): make it writable"
        ) from error
    return descriptor


def release(home: Path, experiment_id: str, descriptor: int) -> None:
    """Remove the lock file of an experiment that has ended, and close its descriptor."""
    (home / "running" / experiment_id).unlink(missing_ok=True)
    os.close(descriptor)


def abandoned(home: Path) -> Iterator[str]:
    """The ids of the experiments whose processes are gone, each once: its lock file is removed.
    Empty where the directory cannot be read or written."""
    with contextlib.suppress(OSError):
        for path in sorted((home / "running").glob("[!.]*")):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path.name
                path.unlink(missing_ok=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
