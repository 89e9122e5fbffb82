"""docs/sql.md shows every view and table as the database has them, and its queries run as they
stand, on SQLite and on PostgreSQL. `make docs` writes its list of columns again."""

import inspect
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy import inspect as inspected

import journal
from journal.metrics.table import named
from journal.metrics.view import View
from journal.store import tables
from journal.store.store import open_store
from journal.store.views import ALONE, NAMES, WITH_INTERVAL

PAGE = Path(__file__).parents[1] / "docs" / "sql.md"
BEGIN, END = "<!-- columns -->\n", "<!-- end of columns -->"
FAILED = "9"  # the query for what failed: nothing did in the recorded journal
TYPES = {
    **dict.fromkeys(("INTEGER", "BIGINT"), "whole"),
    **{"VARCHAR": "text", "FLOAT": "number", "BOOLEAN": "flag", "BLOB": "bytes"},
    **{"DATETIME": "time", "DATE": "date"},
}


def queries() -> list[tuple[str, str]]:
    """The number and the SQL of each query of the page."""
    found: list[tuple[str, str]] = re.findall(
        r"\*\*(\d+)\. .*?```sql\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    return found


def columns() -> str:
    """The columns of both views, then every table with its docstring and its columns."""
    lines = [""]
    with tempfile.TemporaryDirectory() as home, open_store(Path(home)) as store:
        engine = create_engine(store.url)
        for name in NAMES:
            names = ", ".join(f"`{one['name']}`" for one in inspected(engine).get_columns(name))
            lines += [f"### {name}", "", names, ""]
        engine.dispose()
    for row in vars(tables).values():
        if isinstance(row, type) and hasattr(row, "__table__"):
            table: Any = row.__table__
            says = " ".join(inspect.cleandoc(row.__doc__ or "").split())
            of_type = [f"`{column.name}` {TYPES[str(column.type)]}" for column in table.c]
            lines += [f"### {table.name}", "", *([says, ""] if says else ())]
            lines += [", ".join(of_type), ""]
    return "\n".join(lines)


@pytest.fixture
def recorded(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The recorded journal on SQLite, or on PostgreSQL by a merge."""
    journal.demo(tmp_path / "demo")
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/demo/journal.db"
    monkeypatch.setenv("JOURNAL_DB", url)
    journal.merge(tmp_path / "demo" / "journal.db", tmp_path)
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_the_list_of_columns_is_that_of_the_database() -> None:
    assert PAGE.read_text().split(BEGIN)[1].split(END)[0] == columns(), "make docs writes it again"


def test_every_query_runs_as_it_stands_and_finds_something(recorded: str) -> None:
    assert len(queries()) == 10
    engine = create_engine(recorded)
    with engine.connect() as connection:
        for number, query in queries():
            rows = connection.execute(text(query)).all()
            assert bool(rows) == (number != FAILED), number
    engine.dispose()


def test_the_views_give_what_the_library_gives(recorded: str, tmp_path: Path) -> None:
    engine = create_engine(recorded)
    with engine.connect() as connection, open_store(tmp_path / "demo") as store:
        flat = {row.id: row for row in connection.execute(text("SELECT * FROM runs_flat"))}
        records = store.runs()
        assert flat.keys() == {record.id for record in records}
        for record in records:
            row = flat[record.id]
            assert (row.model, row.batch, row.status) == (
                record.cell.model,
                record.cell.batch,
                record.status,
            )
            assert row.host == record.environment["host"]
            assert row.engine_version == record.facts.version
            assert row.doubts == ", ".join(doubt.name for doubt in record.doubts)
            flags = [doubt.name for doubt in record.doubts if doubt.severity != "note"]
            assert row.flags == (", ".join(flags) or None)
            for metric in (*WITH_INTERVAL, *ALONE):
                column = metric.replace(".", "_")
                assert getattr(row, column) == record.value(metric)
            assert row.ttft_s_p50_low == record.metrics["ttft_s.p50"].low
            assert row.output_tokens_per_s_high == record.metrics["output_tokens_per_s"].high
            assert_requests_alike(connection, store, record.id)
    engine.dispose()


def assert_requests_alike(connection: Any, store: Any, run_id: str) -> None:
    samples = store.samples(run_id)
    query = text("SELECT * FROM requests_flat WHERE run_id = :run ORDER BY position")
    rows = connection.execute(query, {"run": run_id}).all()
    assert [row.first_chunk_s for row in rows] == [trace.chunk_s[0] for trace in samples.traces]
    assert [row.last_chunk_s for row in rows] == [trace.chunk_s[-1] for trace in samples.traces]
    assert [row.chunks for row in rows] == [len(trace.chunk_s) for trace in samples.traces]
    view = View.of(samples)
    done = [row for row in rows if not row.warmup and row.outcome == "ok"]
    assert [row.ttft_s for row in done] == view.ttft_s.tolist()
    assert [row.e2e_s for row in done] == view.e2e_s.tolist()


def test_the_columns_of_metrics_are_in_the_table_of_metrics() -> None:
    assert all(named(metric) for metric in (*WITH_INTERVAL, *ALONE))


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{columns()}{END}{rest.split(END)[1]}")
