"""core_tables.py has the columns of tables.py: `make docs` writes it again. The command reads a
journal without SQLModel, whose import takes longer than the reading."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Column, String

from journal.store import core_tables
from journal.store.store import open_store
from journal.store.tables import Row

PATH = Path(core_tables.__file__)
HEAD = '''"""The columns of the journal's tables as SQLAlchemy's Core has them: rows are read and
written by them, without SQLModel. `make docs` writes them from tables.py; do not edit."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
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
        columns = "".join(f"    {_column(column)},\n" for column in rows.c)
        text += f'\n{rows.name} = Table(\n    "{rows.name}",\n    METADATA,\n{columns})\n'
    return text


def _column(column: "Column[object]") -> str:
    kind = String if isinstance(getattr(column.type, "impl", None), String) else type(column.type)
    words = [f'"{column.name}"', kind.__name__]
    if column.primary_key:
        words.append("primary_key=True")
    elif not column.nullable:
        words.append("nullable=False")
    if column.default is not None:
        words.append(f"default={column.default.arg!r}")  # type: ignore[attr-defined]
    return f"Column({', '.join(words)})"


def test_the_core_tables_are_those_of_the_models() -> None:
    assert PATH.read_text() == written(), "make docs writes it again"


def test_a_journal_that_exists_is_read_without_sqlmodel(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    code = (
        "import sys; from pathlib import Path; from journal.store.store import open_store; "
        "open_store(Path(sys.argv[1])).runs(); "
        "print({'sqlmodel', 'sqlalchemy.orm', 'numpy'} & set(sys.modules))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True)
    assert loaded.strip() == "set()"


if __name__ == "__main__":
    PATH.write_text(written())
