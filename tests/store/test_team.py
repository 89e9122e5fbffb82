"""One journal for a team: many writers on PostgreSQL, who make it together, and one MLflow server
with PostgreSQL behind it. Nothing is lost, nothing is there twice."""

import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from journal.errors import StoreError
from journal.store import migrate
from journal.store.database import connectable, store_address
from journal.store.store import open_store

WRITERS, EACH = 8, 1250

# Writes cells as host `host-N` and prints the id of each once it is stored. All begin at once, and
# the first one makes the tables.
WRITER = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import alembic.command, alembic.script, psycopg
from journal.store.store import new_id, open_store
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment, Load
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.run import Record
from journal.records.samples import Readings, Samples

home, url, writers, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
cell = Cell(experiment="e", model="m", quantisation=None, engine=None, batch=1, rate=None,
            prompt_tokens=1, output_tokens=1, load=Load())
began = datetime(2026, 3, 1, tzinfo=UTC)

def write(writer):
    host = {"host": f"host-{writer}", "user": "ada" if writer % 2 else "bob"}
    with open_store(home / str(writer), url) as store:
        begun = store.begin_experiment(Experiment(name=f"of {writer}"), began, host)
        for number in range(count):
            at = float(writer * count + number)
            trace = Trace(index=0, warmup=False, scheduled_s=0.0, start_s=0.0, end_s=at,
                          outcome="ok", prompt_tokens_asked=1, output_tokens_asked=1, chunk_s=(at,))
            samples = Samples(cell=cell, facts=EngineFacts(), traces=(trace,), readings=Readings(),
                              client=ClientHealth())
            record = Record(id=new_id(), experiment_id=begun.id, cell=cell, status="valid",
                            started_at=began + timedelta(seconds=number), duration_s=at,
                            metrics={"m": Figure(at)}, environment=host)
            store.add_run(record, samples)
            os.write(1, f"{record.id} {at}\\n".encode())
        store.end_experiment(begun.id, "done", began + timedelta(hours=1))

pids = []
for writer in range(writers):
    pid = os.fork()
    if pid == 0:
        failed = 1
        try:
            write(writer)
            failed = 0
        finally:
            os._exit(failed)
    pids.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.mark.slow
def test_8_writers_put_10_000_cells_into_one_journal(
    tmp_path: Path, postgres_database: str
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), postgres_database]
    command += [str(WRITERS), str(EACH)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    times = dict(line.split() for line in done.stdout.splitlines())
    assert len(times) == WRITERS * EACH == 10_000
    with open_store(tmp_path, postgres_database) as store:
        assert {begun.status for begun in store.experiments()} == {"done"}
        assert len(store.experiments()) == WRITERS
        with store.transaction(writing=False) as connection:
            rows = connection.exec_driver_sql(
                "SELECT runs.id, duration_s, value, chunk_s, environment FROM runs "
                "JOIN metrics ON metrics.run_id = runs.id "
                "JOIN requests ON requests.run_id = runs.id"
            ).all()
        assert len(rows) == len({row[0] for row in rows}) == 10_000
        for run_id, duration_s, value, chunk_s, _ in rows:
            number = float(times.pop(run_id))
            assert (number,) == struct.unpack("<d", chunk_s) and duration_s == value == number
        hosts = Counter(row[4] for row in rows)
        assert set(hosts.values()) == {EACH} and len(hosts) == WRITERS
        one = store.run(rows[0][0])
        assert one.environment["host"] == f"host-{int(one.duration_s) // EACH}"
        with pytest.raises(StoreError, match="refused these values"):
            store.add_run(one, None)
        assert store.run(one.id) == one


STARTERS = """
import os, sys
from pathlib import Path
import alembic.command, alembic.script
from journal.store.store import open_store

ready, go = os.pipe()
pids = []
for _ in range(6):
    pid = os.fork()
    if pid == 0:
        failed = 1
        try:
            os.close(go)
            os.read(ready, 1)
            with open_store(Path(sys.argv[1]), sys.argv[2]) as store:
                store.runs()
            failed = 0
        finally:
            os._exit(failed)
    pids.append(pid)
os.close(go)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def test_several_that_start_at_once_bring_an_old_journal_up_to_date(
    tmp_path: Path, url: str
) -> None:
    old = tmp_path / "migrations"
    shutil.copytree(migrate.migrations(), old)
    for path in (old / "versions").glob("*.py"):
        if not path.name.startswith("0001"):
            path.unlink()
    migrate.bring_up_to_date(store_address(tmp_path, url), old)
    engine = connectable(store_address(tmp_path, url))
    assert not migrate.is_up_to_date(engine)
    command = [sys.executable, "-c", STARTERS, str(tmp_path), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert migrate.is_up_to_date(engine)
    engine.dispose()


@pytest.fixture
def mlflow_on_postgres(postgres_url: str, tracking_server: Callable[[str], str]) -> Iterator[str]:
    """A real tracking server whose runs are in a database of their own on PostgreSQL."""
    import psycopg

    name = f"mlflow_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
        yield tracking_server(f"{postgres_url.rsplit('/', 1)[0]}/{name}")
        database.execute(f"DROP DATABASE {name} WITH (FORCE)")


# Hosts that measure an experiment of one name at the same time, each with a home of its own, and
# tell the same MLflow of it.
TELLER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import mlflow.store.tracking.rest_store
from mlflow import MlflowClient
from journal.store.store import new_id, open_store
from journal.tracking.tracker import Tracker
from journal.records.cell import Cell
from journal.records.experiment import Experiment, Load
from journal.records.figure import Figure
from journal.records.run import Record

home, hosts = Path(sys.argv[1]), int(sys.argv[2])
cell = Cell(experiment="shared", model="m", quantisation=None, engine=None, batch=1, rate=None,
            prompt_tokens=1, output_tokens=1, load=Load())
now = datetime(2026, 3, 1, tzinfo=UTC)

def tell(host):
    there = {"host": f"host-{host}", "user": f"user-{host}"}
    with open_store(home / str(host)) as store, Tracker(store, home / str(host)) as tracker:
        begun = store.begin_experiment(Experiment(name="shared"), now, there)
        for number in range(2):
            record = Record(id=new_id(), experiment_id=begun.id, cell=cell, status="valid",
                            started_at=now, duration_s=1.0, environment=there,
                            metrics={"ttft_s.p50": Figure(host + number / 10)})
            store.add_run(record, None)
            assert tracker.log(record), tracker.error
        assert tracker.finish(store.end_experiment(begun.id, "done", now)), tracker.error

pids = []
for host in range(hosts):
    pid = os.fork()
    if pid == 0:
        failed = 1
        try:
            tell(host)
            failed = 0
        except BaseException as error:
            print(repr(error), flush=True)
        finally:
            os._exit(failed)
    pids.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.mark.slow
def test_an_mlflow_server_on_postgres_knows_every_run_of_every_host_once(
    tmp_path: Path, postgres_database: str, mlflow_on_postgres: str
) -> None:
    from mlflow import MlflowClient

    hosts = 4
    env = {"JOURNAL_DB": postgres_database, "MLFLOW_TRACKING_URI": mlflow_on_postgres}
    command = [sys.executable, "-c", TELLER, str(tmp_path), str(hosts)]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(tracking_uri=mlflow_on_postgres)
    experiment = client.get_experiment_by_name("shared")
    runs = client.search_runs([experiment.experiment_id])
    with open_store(tmp_path, postgres_database) as store:
        assert store.pending() == ([], [])
        ours = {run.id: run for run in store.runs()}
        begun = {record.id for record in store.experiments()}
    assert Counter(run.data.tags["journal.id"] for run in runs) == Counter([*ours, *begun])
    for run in runs:
        known = ours.get(run.data.tags["journal.id"])
        if known is not None:
            assert run.data.metrics["latency/ttft_s_p50"] == known.metrics["ttft_s.p50"].value
            assert run.data.tags["mlflow.user"] == known.environment["user"]
            assert run.data.tags["host"] == known.environment["host"]
