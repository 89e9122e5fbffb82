"""Journals on SQLite and on PostgreSQL, and small true-to-life records to put into them."""

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from builders import BEGAN, a_cell, a_record

from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import GpuReading, ProcessReading, Readings, Samples, ServerReading
from journal.store.store import Store, new_id, open_store

NOBODY = "http://127.0.0.1:9"
DAY = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_address_from_outside(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database and no tracking server of the user's. MLflow, whose import takes a core some
    seconds, refuses everything but the tests marked `mlflow`."""
    monkeypatch.delenv("JOURNAL_DB", raising=False)
    if request.node.get_closest_marker("mlflow"):
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A new, empty database on the session's PostgreSQL."""
    import psycopg

    name = f"journal_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield postgres_url.rsplit("/", 1)[0] + f"/{name}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_database")
        return found
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, whose making takes seconds, to be copied."""
    from journal.tracking.tracker import Tracker

    home = tmp_path_factory.mktemp("mlflow")
    with open_store(home) as store, Tracker(store, home) as tracker:
        begun = store.begin_experiment(Experiment(name="template"), datetime.now(UTC), {})
        assert tracker.finish(begun), tracker.error
    return home / "mlflow.db"


@pytest.fixture
def tracking_server(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start MLflow's own server with a backend store: `tracking_server(database) -> url`. It ends
    with the test."""
    with contextlib.ExitStack() as servers:
        yield lambda backend: servers.enter_context(_tracking_server(tmp_path, backend))


@contextlib.contextmanager
def _tracking_server(folder: Path, backend: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "served")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((folder / "server.log").read_text())
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


@pytest.fixture
def store(tmp_path: Path, url: str) -> Iterator[Store]:
    with open_store(tmp_path, url) as store:
        yield store


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Store]:
    """A new journal in a file."""
    with open_store(tmp_path) as store:
        yield store


@pytest.fixture
def add_run(lab: Store) -> Callable[..., Record]:
    """`add_run(number, **changes)`: a run of `a_record`, stored without samples in `lab`."""
    begun = lab.begin_experiment(Experiment(name="first"), BEGAN - timedelta(minutes=1), {})

    def added(number: int, **changes: object) -> Record:
        record = a_record(number=number, **changes)  # type: ignore[arg-type]
        record = dataclasses.replace(record, experiment_id=begun.id)
        lab.add_run(record, None)
        return record

    return added


@pytest.fixture
def begun(store: Store) -> ExperimentRecord:
    engines = (Engine(model="tiny"),)
    return store.begin_experiment(
        Experiment(name="first", question="Why?", engines=engines), DAY, {"cpus": 2, "gpu": None}
    )


@pytest.fixture
def cell() -> Cell:
    engine = Engine(model="tiny", dtype="float16", flags=("--enforce-eager",), env={"A": "b"})
    return a_cell(
        model="tiny",
        quantisation="awq",
        engine=engine,
        batch=8,
        output_tokens=4,
        load=Load(requests=3),
        repeat=1,
        seed=2**40,
        identity="ab12",
    )


@pytest.fixture
def samples(cell: Cell) -> Samples:
    """Three requests, of which one failed, and two readings of each kind."""
    trace = Trace(
        index=0,
        warmup=True,
        scheduled_s=0.1,
        start_s=0.1,
        end_s=1 / 3,
        outcome="ok",
        prompt_tokens_asked=64,
        output_tokens_asked=4,
        chunk_s=(0.2, 0.25, 1 / 3),
        chunk_tokens=(1, 1, 2),
        prompt_tokens=64,
        output_tokens=4,
        finish_reason="length",
        status=200,
        ttfo_s=0.15,
        reasoning_tokens=2,
        reasoning_chunks=1,
        tool_call_deltas=0,
        done=True,
        timed_out=False,
        reconnected=True,
        refused=False,
        counted_tokens=7,
        connect_s=0.01,
    )
    failed = dataclasses.replace(
        trace, index=2, outcome="error", chunk_s=(), chunk_tokens=None, error="cut ✂ off"
    )
    return Samples(
        cell=cell,
        facts=EngineFacts(version="0.32.0", argv=("python", "-m", "vllm"), weights_bytes=2**33),
        traces=(trace, dataclasses.replace(trace, index=1, warmup=False), failed),
        readings=Readings(
            gpu=tuple(GpuReading(at_s=at, device=0, used_bytes=2**36) for at in (0.0, 0.1)),
            server=tuple(ServerReading(at_s=at, kv_cache_fraction=at) for at in (0.0, 0.1)),
            process=tuple(ProcessReading(at_s=at, rss_bytes=2**35, processes=3) for at in (0, 1)),
            absent=({"sentence": "No power reading."}, {"variant": "no_metrics"}),
        ),
        client=ClientHealth(cpu_fraction=0.25),
    )


@pytest.fixture
def new_record(begun: ExperimentRecord, samples: Samples) -> Callable[..., Record]:
    """`new_record(**changes)`: a run of `samples`, each one minute after the last."""
    count = 0

    def new(**changes: object) -> Record:
        nonlocal count
        count += 1
        record = Record(
            id=new_id(),
            experiment_id=begun.id,
            cell=samples.cell,
            status="flagged",
            started_at=DAY + timedelta(minutes=count),
            duration_s=0.25,
            metrics={
                "ttft_s.p50": Figure(0.1, low=0.09, high=0.11, count=2),
                "vram_peak_bytes": Figure(None),
            },
            doubts=(
                Doubt(
                    "few-samples", {"requests": 2, "share": 0.5, "p": ["p90"], "of": {"a": None}}
                ),
                Doubt("prefix-cache", {"sentence": "It was on: switch it off."}, severity="note"),
            ),
            facts=samples.facts,
            environment={"driver": "570.1", "cpus": 2, "load": 0.5, "gpu": None},
        )
        return dataclasses.replace(record, **changes)  # type: ignore[arg-type]

    return new
