"""The lock that allows one measurement at a time in a home: two would disturb each other."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from journal.errors import StoreError, UsageError
from journal.private import make_folder


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold `home` for one measurement. The kernel releases it when this process ends, however
    that happens. Raises UsageError, naming the process, while another one holds it, and
    StoreError where `home` cannot be written."""
    path = home / "run.lock"
    try:
        make_folder(home)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{home} cannot be written ({error.strerror}): make it writable, or choose another"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{_holder(path)} is measuring into {home}, and two measurements at once would "
                "disturb each other: wait until it is done, or stop it"
            ) from None
        os.ftruncate(lock, 0)
        now = datetime.now().astimezone().isoformat(timespec="minutes")
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "since": now}).encode(), 0)
        yield
    finally:
        os.close(lock)


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(path.read_text())
        return f"process {int(note['pid'])} (since {note['since']})"
    return "another process"
