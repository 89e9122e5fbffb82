"""Fixtures that more than one room needs."""

import contextlib
import gc
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import builders
import pytest
from hypothesis import HealthCheck, settings

from journal import redaction
from journal.records.experiment import Engine
from journal.simulator.http import Script, running

pytest_plugins = ["engine_fixtures", "report_fixtures", "store_fixtures"]

STAND_IN = Path(__file__).parent / "serve" / "stand_in.py"
NVML = Path(__file__).parent / "data" / "nvml"
LASTING = ("timeout", "slow", "mlflow")  # marks of tests, the longest first
NO_TENSORS = (2).to_bytes(8, "little") + b"{}"  # a file of safetensors without any
ENGINE_TEST_S = 900  # a start of vLLM takes one to three minutes, the first conversion half a one


# How long an example takes says nothing on a machine that does other work too.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_configure() -> None:
    """A background job of a shell has Ctrl-C ignored, one under nohup the end of its terminal
    too, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.pop("JOURNAL_LANG", None)
    os.environ["LC_ALL"] = "C.UTF-8"  # what a test reads is English unless it asks for Chinese


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """What is collected lives as long as the tests do: it is not searched for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before any are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the real engine have the time that its start takes; those marked `timing`, as all
    that are `alone`, and no others, are tried again where they fail. Files with tests that last
    come first: workers that share a run end it together."""
    lasting = [{item.path for item in items if item.get_closest_marker(mark)} for mark in LASTING]
    items.sort(key=lambda item: [item.path not in files for files in lasting])
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.timing)
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.timeout(ENGINE_TEST_S))
        if item.get_closest_marker("timing"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=5))


@pytest.fixture(autouse=True)
def no_width_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences stay on one line in a test that asks for no width."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process remembers the keys that it was given; those of a test mean nothing in the next."""
    monkeypatch.setattr(redaction, "_remembered", set())


@pytest.fixture(scope="session")
def run() -> type[builders.Run]:
    """The builder of samples: `run(batch=8, ...).samples()`."""
    return builders.Run


@pytest.fixture(scope="session")
def edited() -> Callable[..., Any]:
    """`edited(samples, edit)`: the samples with every measured trace edited."""
    return builders.edited


@pytest.fixture
def fake_server() -> Iterator[Callable[..., str]]:
    """Start a simulated server in a process of its own: `fake_server(Script(...)) -> base_url`,
    or `fake_server(ttft_s=0.1)`. It ends with the test."""
    with contextlib.ExitStack() as servers:

        def start(script: Script | None = None, port: int = 0, **options: object) -> str:
            return servers.enter_context(running(script or Script(**options), port=port))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL on loopback, of Debian's packages, for this test session alone: the URL
    of its database `postgres`. Skips where it, or its Python driver, is not installed."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    homes = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if not homes:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # PostgreSQL refuses to run as root.
    account = {"user": "postgres", "group": "postgres", "extra_groups": ()}
    run_as = account if os.geteuid() == 0 else {}
    directory = Path(tempfile.mkdtemp(prefix="journal-postgres-", dir="/tmp"))
    if run_as:
        shutil.chown(directory, "postgres", "postgres")
    data = str(directory / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    create = ["initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
    serve = ["postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    create[0], serve[0] = str(homes[-1] / "initdb"), str(homes[-1] / "postgres")
    subprocess.run(create, check=True, capture_output=True, cwd="/", **run_as)
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log, cwd="/", **run_as)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((directory / "log").read_text())
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(directory)


# ---- a driver library that answers from a trace, for the unmodified pynvml ---------------------

# Runs one script for each line of JSON, and answers with what that printed. A library can only be
# put before the system's when a process starts, so one such process serves all tests.
NVML_WORKER = """
import contextlib, io, json, os, sys
for line in sys.stdin:
    job = json.loads(line)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ.update(job["env"])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(job["script"], {"options": job["options"]})
    print(printed.getvalue().strip(), flush=True)
"""


@pytest.fixture(scope="session")
def nvml_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A process beside a libnvidia-ml.so.1 compiled from nvml_stub.c, and the trace it follows."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the NVML stub with")
    folder = tmp_path_factory.mktemp("nvml")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    target = ["-o", str(folder / "libnvidia-ml.so.1"), str(NVML / "nvml_stub.c")]
    subprocess.run([compiler, *flags, *target], check=True)
    trace = folder / "trace"
    with subprocess.Popen(
        [sys.executable, "-c", NVML_WORKER],
        env=os.environ | {"LD_LIBRARY_PATH": str(folder), "NVML_TRACE": str(trace)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, trace
        process.communicate()


@pytest.fixture
def scripted(nvml_worker: tuple[Any, Path]) -> Callable[..., Any]:
    """Runs a Python script beside the stub: `scripted(script, trace, **options)` gives the script
    `options` as a dict of that name and returns the JSON that it prints. `trace` is added to the
    healthy card's; `alone=True` leaves that one out. `env` adds to the environment."""
    process, path = nvml_worker

    def run(
        script: str,
        trace: str = "",
        *,
        alone: bool = False,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        healthy = "" if alone else (NVML / "healthy.trace").read_text()
        path.write_text(f"{healthy}\n{trace}\n")
        job = {"script": script, "options": options, "env": env or {}}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    return run


# ---- a stand-in for the engine, and a way to see that nothing of it is left --------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    config = {"max_position_embeddings": 8192, "vocab_size": 49152, "model_type": "llama"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").write_bytes(NO_TENSORS)
    return directory


@pytest.fixture
def stand_in(tmp_path: Path, model: Path) -> Callable[..., Engine]:
    """An engine whose interpreter is the stand-in: `stand_in({script}, **engine_fields)`."""
    python = tmp_path / "python"
    command = shlex.join([sys.executable, str(STAND_IN)])
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o700)

    def build(script: dict[str, object] | None = None, **fields: object) -> Engine:
        env = {
            "STAND_IN": json.dumps(script or {}),
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            ),
        }
        given: dict[str, object] = {"model": str(model), "python": str(python), "env": env}
        return Engine(**(given | fields))  # type: ignore[arg-type]

    return build


@pytest.fixture
def gone() -> Callable[..., bool]:
    """`gone(pids, within_s=20.0)`: whether all have ended in time; zombies have."""

    from journal.serve import process_tree as process

    def check(pids: Iterable[int], within_s: float = 20.0) -> bool:
        deadline = time.monotonic() + within_s
        while left := {pid for pid in pids if process.is_running(pid)}:
            if time.monotonic() > deadline:
                return not left
            time.sleep(0.02)
        return True

    return check


# ---- a browser -----------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window, which keeps what it fetched in its performance log. Skips
    where it, its driver, or Selenium is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    quiet = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    alone = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    for argument in (*quiet, *alone, *as_root, "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
