"""Migrations keep every row, or change nothing."""

import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, text

from journal.errors import DamagedRow, StoreError, StoreTooNew
from journal.records.doubt import Doubt
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store import codec, core_tables, lock_files, migrate
from journal.store.checkups import last_checkup
from journal.store.database import store_address
from journal.store.interactions import interactions
from journal.store.lock_files import locked
from journal.store.store import Store, open_store
from journal.store.tables import Row

NewRecord = Callable[..., Record]
DATA = Path(__file__).parent / "data"

ADD_A_COLUMN = """
rebuild = "always" if op.get_bind().dialect.name == "sqlite" else "never"
with op.batch_alter_table("runs", recreate=rebuild) as runs:
    runs.add_column(sa.Column("colour", sa.String(), nullable=False, server_default="red"))
"""
DROP_THE_PARENTS = 'op.execute("DELETE FROM experiments")'
FAIL = 'raise RuntimeError("half way")'
COMMIT = 'op.get_bind().connection.driver_connection.execute("COMMIT")'


def scripts_with(tmp_path: Path, body: str) -> Path:
    """The package's migrations and one more, 9999, that does `body`."""
    scripts = tmp_path / "migrations %"
    shutil.rmtree(scripts, ignore_errors=True)
    shutil.copytree(migrate.migrations(), scripts)
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    (scripts / "versions" / "9999_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f'revision = "9999"\ndown_revision = "{migrate.HEAD}"\n\n\ndef upgrade():\n{lines}\n'
    )
    return scripts


@pytest.fixture
def record(store: Store, new_record: NewRecord, samples: Samples) -> Record:
    """A run with samples in a journal of the present schema, closed again."""
    record = new_record()
    store.add_run(record, samples)
    store.close()
    return record


@pytest.mark.parametrize("scripts", [None, migrate.migrations()], ids=["at_once", "step_by_step"])
def test_a_new_journal_has_the_tables_of_the_package(
    tmp_path: Path, url: str, scripts: Path | None
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrate.bring_up_to_date(store_address(tmp_path, url), scripts)
    engine = create_engine(url)
    with engine.connect() as connection:
        options = {"version_table": migrate.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Row.metadata) == []
        assert migrate.is_up_to_date(engine)
    engine.dispose()


def test_a_new_journal_has_the_columns_that_the_migrations_make(tmp_path: Path) -> None:
    def schema(home: Path, scripts: Path | None) -> dict[str, object]:
        home.mkdir()
        migrate.bring_up_to_date(store_address(home, None), scripts)
        with closing(sqlite3.connect(home / "journal.db")) as database:
            names = database.execute("SELECT name FROM sqlite_master").fetchall()
            pragmas = ("table_info", "foreign_key_list", "index_list", "index_info")
            return {
                f"{pragma} {name}": sorted(
                    row[1:] for row in database.execute(f"PRAGMA {pragma}('{name}')")
                )
                for (name,) in names
                for pragma in pragmas
            }

    at_once = schema(tmp_path / "at once", None)
    assert at_once == schema(tmp_path / "step by step", migrate.migrations())


def test_the_newest_migration_is_the_schema_of_the_package() -> None:
    names = sorted(path.name for path in (migrate.migrations() / "versions").glob("*.py"))
    assert names[-1].startswith(f"{migrate.HEAD}_")
    assert (migrate.migrations() / "env.py").exists()


def test_the_wheel_carries_the_migrations() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["migrations"] == "journal/migrations"
    assert (root / "migrations" / "versions").is_dir()


def test_a_migration_keeps_every_row(tmp_path: Path, url: str, record: Record) -> None:
    scripts = scripts_with(tmp_path, ADD_A_COLUMN)
    for _ in range(2):
        migrate.bring_up_to_date(store_address(tmp_path, url), scripts)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, colour FROM runs")).all() == [(record.id, "red")]
        for table, rows in (("requests", 3), ("metrics", 2), ("doubts", 2), ("gpu_readings", 2)):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == rows
    engine.dispose()
    with pytest.raises(StoreTooNew):
        open_store(tmp_path, url)
    assert not list(tmp_path.glob("*.before-migration"))


@pytest.mark.parametrize("body", [ADD_A_COLUMN + FAIL, FAIL])
def test_a_failed_migration_changes_nothing(
    tmp_path: Path, url: str, record: Record, samples: Samples, body: str
) -> None:
    scripts = scripts_with(tmp_path, body)
    for _ in range(2):
        with pytest.raises(
            StoreError, match=rf"from schema {migrate.HEAD} to 9999 .* \(half way\)"
        ):
            migrate.bring_up_to_date(store_address(tmp_path, url), scripts)
    with open_store(tmp_path, url) as store:
        assert store.runs() == [record]
        assert store.samples(record.id) == samples
    migrate.bring_up_to_date(store_address(tmp_path, url), scripts_with(tmp_path, ADD_A_COLUMN))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{ADD_A_COLUMN}{DROP_THE_PARENTS}\n{COMMIT}\n{FAIL}", "half way"),
        (DROP_THE_PARENTS, "would orphan 1 rows"),
    ],
)
def test_what_a_migration_destroyed_is_put_back(
    tmp_path: Path, url: str, record: Record, samples: Samples, body: str, reason: str
) -> None:
    with pytest.raises(StoreError, match=reason):
        migrate.bring_up_to_date(store_address(tmp_path, url), scripts_with(tmp_path, body))
    with open_store(tmp_path, url) as store:
        assert store.runs() == [record]
        assert store.samples(record.id) == samples
        assert len(store.experiments()) == 1
    assert not list(tmp_path.glob("*.before-migration"))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_copy_from_which_a_journal_is_put_back_is_its_owners_alone(
    tmp_path: Path, url: str, record: Record
) -> None:
    copy = tmp_path / "journal.db.before-migration"
    mode = f"import os\nmode = os.stat({str(copy)!r}).st_mode & 0o777"
    say_it = 'raise RuntimeError(f"mode {mode:o}")'
    with pytest.raises(StoreError, match="mode 600"):
        migrate.bring_up_to_date(
            store_address(tmp_path, url), scripts_with(tmp_path, f"{mode}\n{say_it}")
        )


def test_a_journal_of_the_first_schema_opens_with_all_its_rows(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.executescript((DATA / "schema-0001.sql").read_text())
    with open_store(tmp_path) as store:
        (begun,), (first, second) = store.experiments(), store.runs()
        assert begun.experiment.question == "Why?"
        assert (begun.status, begun.environment) == ("done", {"cpus": 2, "gpu": None})
        assert first.experiment_id == second.experiment_id == begun.id
        assert first.metrics["ttft_s.p50"] == Figure(0.1, low=0.09, high=0.11, count=2)
        assert first.doubts == (
            Doubt("few-samples", {"sentence": "Only 2 requests: ask for more."}, "flag"),
            Doubt("prefix-cache", {"sentence": "It was on: switch it off."}, "note"),
        )
        assert first.cell.engine == Engine(
            model="tiny", dtype="float16", flags=("--enforce-eager",), env={"A": "b"}
        )
        samples = store.samples(first.id)
        assert samples is not None
        assert samples.readings.absent == ({"sentence": "No power reading."},)
        assert samples.traces[0].chunk_s == (0.2, 0.25, 1 / 3)
        assert samples.traces[0].chunk_tokens == (1, 1, 2)
        assert len(samples.readings.gpu) == len(samples.readings.server) == 2
        assert (second.status, second.error) == ("failed", "the engine died")
        assert store.samples(second.id) is None
        assert interactions(store) == []
        assert last_checkup(store, "anywhere") is None


def test_a_length_of_zero_becomes_unknown_in_imported_runs(
    tmp_path: Path, url: str, store: Store, new_record: NewRecord
) -> None:
    own = new_record()
    cell = replace(own.cell, prompt_tokens=0)
    theirs = new_record(cell=cell, environment={"tool": "AIPerf"})
    damaged = codec.run_row(new_record(cell=cell), None) | {"environment": "{"}
    before = codec.run_row(theirs, None)
    store.add_run(own, None)
    store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(core_tables.runs), [before, damaged])
        connection.execute(text("DROP TABLE slo_times"))  # of a later schema
        connection.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '0018'"))
    engine.dispose()
    with pytest.warns(DamagedRow), open_store(tmp_path, url) as opened:
        assert opened.run(own.id).cell == own.cell
        assert opened.run(theirs.id).cell == replace(cell, prompt_tokens=None)
        with opened.transaction(writing=False) as connection:
            flat = "SELECT prompt_tokens FROM runs_flat ORDER BY started_at"
            assert connection.scalars(text(flat)).all() == [own.cell.prompt_tokens, None, 0]
            after = connection.scalar(text(f"SELECT cell FROM runs WHERE id = '{theirs.id}'"))
        assert after == before["cell"].replace('"prompt_tokens":0', '"prompt_tokens":null')


def test_a_lock_that_is_never_given_up_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "LOCK_TIMEOUT_S", 0.1)
    with (
        locked(tmp_path / "a.lock"),
        pytest.raises(StoreError, match=r"a\.lock for 0 s"),
        locked(tmp_path / "a.lock"),
    ):
        pass
