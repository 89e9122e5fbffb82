"""A transaction that says it reads does not write: on SQLite it might fail, whatever the timeout,
where another process writes."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

WRITES = ("INSERT", "UPDATE", "DELETE")


def check(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
    options = connection.get_execution_options()
    reads = options.get("reading") or options.get("isolation_level") == "REPEATABLE READ"
    assert not (reads and statement.lstrip().upper().startswith(WRITES)), statement


@pytest.fixture(autouse=True, scope="session")
def who_reads_does_not_write() -> Iterator[None]:
    event.listen(Engine, "before_cursor_execute", check)
    yield
    event.remove(Engine, "before_cursor_execute", check)
