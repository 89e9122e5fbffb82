"""A file for the bodies of many requests, so that they need not all be held in memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from journal.records.request import StoredBody


class Spool:
    """A file that bodies are written to, one after the other, and read from when they are sent."""

    def __init__(self, path: str) -> None:
        self._path, self._end = path, 0
        self._file = open(path, "wb")  # noqa: SIM115, PTH123 (closed by `close`)

    def add(self, body: bytes) -> StoredBody:
        """Write `body`; return its place."""
        self._file.write(body)
        place = StoredBody(self._path, self._end, len(body))
        self._end += len(body)
        return place

    def close(self) -> None:
        """Write what is left to the file: bodies can be read from now on."""
        self._file.close()


@contextmanager
def spooling() -> Iterator[Spool]:
    """A spool in a temporary file, which is removed with the end of the block."""
    with tempfile.NamedTemporaryFile(prefix="journal-requests-") as file:
        spool = Spool(file.name)
        try:
            yield spool
        finally:
            spool.close()
