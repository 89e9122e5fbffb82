"""core_tables.py has the tables of tables.py: `make docs` writes it again. The command makes and
reads a journal without SQLModel, whose import takes longer than either."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Dialect, Index, MetaData, String
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from journal.store import core_tables
from journal.store.tables import Row

PATH = Path(core_tables.__file__)
HEAD = '''"""The journal's tables as SQLAlchemy's Core has them: a new journal is made, and rows are
read and written by them, without SQLModel. `make docs` writes them from tables.py; do not edit."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from journal.store.utc_time import UtcTime

METADATA = MetaData()
'''


def written() -> str:
    """The text of core_tables.py."""
    text = HEAD
    for rows in Row.metadata.tables.values():
        parts = [*map(_column, rows.c), *sorted(map(_index, rows.indexes))]
        lines = "".join(f"    {part},\n" for part in parts)
        text += f'\n{rows.name} = Table(\n    "{rows.name}",\n    METADATA,\n{lines})\n'
    return text


def _column(column: "Column[object]") -> str:
    kind = String if isinstance(getattr(column.type, "impl", None), String) else type(column.type)
    words = [f'"{column.name}"', kind.__name__]
    words += [f'ForeignKey("{key.target_fullname}")' for key in column.foreign_keys]
    if column.primary_key:
        words.append("primary_key=True")
    elif not column.nullable:
        words.append("nullable=False")
    if column.default is not None:
        words.append(f"default={column.default.arg!r}")  # type: ignore[attr-defined]
    return f"Column({', '.join(words)})"


def _index(index: Index) -> str:
    words = [f'"{name}"' for name in (index.name, *(column.name for column in index.columns))]
    return f"Index({', '.join(words)})"


def test_the_core_tables_are_those_of_the_models() -> None:
    assert PATH.read_text() == written(), "make docs writes it again"


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_they_make_the_same_database(dialect: Dialect) -> None:
    made, modelled = (_made(tables, dialect) for tables in (core_tables.METADATA, Row.metadata))
    assert made == modelled
    assert sum("CREATE INDEX" in text for text in made) > 10
    assert sum("FOREIGN KEY" in text for text in made) == 10


def _made(tables: MetaData, dialect: Dialect) -> list[str]:
    """The statements that make the tables and their indexes, in alphabetic order."""
    whole = [
        made
        for rows in tables.sorted_tables
        for made in (CreateTable(rows), *map(CreateIndex, rows.indexes))
    ]
    return sorted(str(statement.compile(dialect=dialect)) for statement in whole)


def test_a_journal_is_made_and_read_without_sqlmodel(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from journal.store.store import open_store; "
        "open_store(Path(sys.argv[1])).runs(); "
        "print({'sqlmodel', 'sqlalchemy.orm', 'numpy'} & set(sys.modules))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True)
    assert loaded.strip() == "set()"


if __name__ == "__main__":
    PATH.write_text(written())
