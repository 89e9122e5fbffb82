"""Queries in SQL that SQLite and PostgreSQL both understand, and the values in their rows: what a
log reads is asked once, and answered by a Store or by the file alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from journal.store.journal_file import JournalFile
    from journal.store.row_care import Stored
    from journal.store.store import Store

    Journal: TypeAlias = Store | JournalFile


class Rows(Protocol):
    """One transaction that reads: all its queries see one state of the database. A query names its
    values as :name; `IN :name` takes several. Moments are aware datetimes."""

    def tuples(self, query: str, /, **values: object) -> Sequence[Sequence[Any]]:
        """The rows of a query."""

    def mappings(self, query: str, /, **values: object) -> "Sequence[Stored]":
        """The rows of a query by the names of their columns."""


class Changes(Protocol):
    """One transaction that writes."""

    def add(self, table: str, values: Mapping[str, object], /) -> None:
        """Add a row to a table."""

    def change(self, query: str, /, **values: object) -> None:
        """Change rows by a query, whose values are as those of `Rows`."""


def moment(value: object) -> datetime:
    """A moment as a database gives it: SQLite as a text in UTC that does not say so. Raises
    ValueError or TypeError for another value."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r:.40} is not a moment")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def day_of(value: object) -> date:
    """A date as a database gives it. Raises ValueError or TypeError for another value."""
    if isinstance(value, str):
        value = date.fromisoformat(value)
    if not isinstance(value, date):
        raise TypeError(f"{value!r:.40} is not a date")
    return value
