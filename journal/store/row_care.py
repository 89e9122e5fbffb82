"""Rows are read with care: one that is damaged, or that another program wrote, is named, and hides
no other."""

import re
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from journal.errors import DamagedRow, StoreError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, RowMapping, Select

    Stored: TypeAlias = Mapping[str, Any] | RowMapping

T = TypeVar("T")

_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
LOOKED_AT = 20  # rows among which the first that can be read is looked for

# What reading a damaged value may raise, SQLAlchemy's own reading of dates included.
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    struct.error,
)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn what a damaged value raises inside the block into a StoreError that names `what`."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreError(
            f"{what} cannot be read ({reason}): the row is damaged, or of another program; "
            "`journal verify` looks at all rows"
        ) from error


def warn_of(error: StoreError) -> None:
    """Warn of a row that is left out."""
    warnings.warn(DamagedRow(f"{error}; it is left out"), stacklevel=3)


def each_of(
    connection: "Connection",
    query: "Select[Any]",
    key: "ColumnElement[Any]",
    made: "Callable[[RowMapping], T]",
) -> Iterator[T]:
    """What `made` gives for each row of `query`, in order; a row that cannot be read is left out
    with a warning. `key` is a column that tells the rows apart."""
    yield from each_readable(_rows_of(connection, query, key), made)


def each_readable(rows: "Iterable[Stored]", made: "Callable[[Any], T]") -> Iterator[T]:
    """What `made` gives for each of `rows`, in order; a row that cannot be read is left out with a
    warning."""
    for row in rows:
        try:
            yield made(row)
        except StoreError as error:
            warn_of(error)


def _rows_of(
    connection: "Connection", query: "Select[Any]", key: "ColumnElement[Any]"
) -> "Iterator[RowMapping]":
    try:
        rows = connection.execute(query).mappings().all()
    except DAMAGE:  # one of them, in SQLAlchemy's own reading: look at each alone
        for (one,) in connection.execute(query.with_only_columns(key)).all():
            try:
                with naming(f"row {one!r:.60} of {getattr(key, 'table', 'the journal')}"):
                    alone = connection.execute(query.where(key == one)).mappings().all()
            except StoreError as error:
                warn_of(error)
            else:
                yield from alone
        return
    yield from rows


def text_in(row: "Stored", name: str) -> str:
    """The text in a column. Raises TypeError for another value, which SQLite does not refuse."""
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"its {name} is {value!r:.40}, not a text")
    return value


def id_in(row: "Stored", name: str) -> str:
    """The id in a column. Raises ValueError for a text that is none: ids stand in names of
    files."""
    value = text_in(row, name)
    if not _ID.fullmatch(value) or ".." in value:
        raise ValueError(f"its {name} is {value!r:.60}, which is no id")
    return value


def one_of(row: "Stored", name: str, record: type) -> Any:
    """The word in a column. Raises ValueError for one that the field `name` of `record`, a Literal,
    does not know."""
    value, words = row[name], _words(record, name)
    if words and value not in words:
        raise ValueError(f"its {name} is {value!r:.40}, not one of {', '.join(words)}")
    return value


@cache
def _words(record: type, name: str) -> tuple[str, ...]:
    hint = get_type_hints(record)[name]
    return get_args(hint) if get_origin(hint) is Literal else ()
