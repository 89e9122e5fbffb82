"""Lock files, which one process holds at a time and the kernel releases when it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from journal.errors import StoreError

LOCK_TIMEOUT_S = 60.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, alone among processes. Raises StoreError where it does not
    become free within LOCK_TIMEOUT_S."""
    with closing(_Descriptor(path)) as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while not lock.taken():
            if time.monotonic() > deadline:
                raise StoreError(
                    f"another process has held {path} for {LOCK_TIMEOUT_S:.0f} s: "
                    "see whether it hangs, end it and try again"
                )
            time.sleep(0.02)
        yield


class _Descriptor:
    def __init__(self, path: Path) -> None:
        try:
            self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{path.parent} cannot be written ({error.strerror}): make it writable"
            ) from error

    def taken(self) -> bool:
        try:
            fcntl.flock(self.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self.number)
