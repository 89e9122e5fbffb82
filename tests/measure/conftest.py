"""A driver library that answers from a trace, for the unmodified pynvml."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data" / "nvml"
Scripted = Callable[..., Any]

# Runs one script for each line of JSON, and answers with what that printed. A library can only be
# put before the system's when a process starts, so one such process serves all tests.
WORKER = """
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
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A process beside a libnvidia-ml.so.1 compiled from nvml_stub.c, and the trace it follows."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the NVML stub with")
    folder = tmp_path_factory.mktemp("nvml")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    target = ["-o", str(folder / "libnvidia-ml.so.1"), str(DATA / "nvml_stub.c")]
    subprocess.run([compiler, *flags, *target], check=True)
    trace = folder / "trace"
    with subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=os.environ | {"LD_LIBRARY_PATH": str(folder), "NVML_TRACE": str(trace)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, trace
        process.communicate()


@pytest.fixture
def scripted(worker: tuple[Any, Path]) -> Scripted:
    """Runs a Python script beside the stub: `scripted(script, trace, **options)` gives the script
    `options` as a dict of that name and returns the JSON that it prints. `trace` is added to the
    healthy card's; `alone=True` leaves that one out. `env` adds to the environment."""
    process, path = worker

    def run(
        script: str,
        trace: str = "",
        *,
        alone: bool = False,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        healthy = "" if alone else (DATA / "healthy.trace").read_text()
        path.write_text(f"{healthy}\n{trace}\n")
        job = {"script": script, "options": options, "env": env or {}}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    return run
