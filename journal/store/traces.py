"""Traces of requests from their rows, however these were read."""

import struct
import zlib
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from journal.records.request import Trace

if TYPE_CHECKING:
    from journal.store.row_care import Stored

_NAMES = tuple(field.name for field in fields(Trace))


def trace(row: "Stored") -> Trace:
    """The trace that a row of `requests` holds. Raises ValueError, TypeError or struct.error for a
    row that is damaged."""
    if row["checksum"] not in (None, checksum(row)):
        raise ValueError(f"the chunks of request {row['index']} are not those that were written")
    check_numbers(Trace, row)
    values = {name: row[name] for name in _NAMES}
    for name in _columns(Trace, bool):  # which SQLite has as numbers
        values[name] = None if values[name] is None else bool(values[name])
    values["chunk_s"] = _unpacked("d", row["chunk_s"])
    if row["chunk_tokens"] is not None:
        values["chunk_tokens"] = _unpacked("i", row["chunk_tokens"])
    return Trace(**values)


def checksum(row: "Stored") -> int:
    """The CRC-32 of the chunks of a row of `requests`: their times, then their tokens."""
    return zlib.crc32(row["chunk_tokens"] or b"", zlib.crc32(row["chunk_s"]))


def _unpacked(form: str, packed: bytes) -> tuple[Any, ...]:
    return struct.unpack(f"<{len(packed) // struct.calcsize(f'<{form}')}{form}", packed)


def check_numbers(record: type, row: "Stored") -> None:
    """Raise TypeError for another value where a number of a record, or the position of its row,
    belongs, which SQLite does not refuse."""
    for name in ("position", *_columns(record, int, float, bool)):
        if row[name] is not None and not isinstance(row[name], int | float):
            raise TypeError(f"{name} is {row[name]!r:.40}, not a number")


@cache
def _columns(record: type, *kinds: type) -> tuple[str, ...]:
    """The fields of a record that are of one of `kinds`, or None."""
    hints = get_type_hints(record).items()
    return tuple(name for name, hint in hints if {*_arms(hint)} & {*kinds})


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is UnionType else (hint,)
