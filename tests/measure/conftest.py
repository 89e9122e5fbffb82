"""A driver library that answers from a trace, for the unmodified pynvml."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data" / "nvml"
Scripted = Callable[..., Any]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 compiled from nvml_stub.c."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the NVML stub with")
    folder = tmp_path_factory.mktemp("nvml")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    target = ["-o", str(folder / "libnvidia-ml.so.1"), str(DATA / "nvml_stub.c")]
    subprocess.run([compiler, *flags, *target], check=True)
    return folder


@pytest.fixture
def scripted(library: Path, tmp_path: Path) -> Scripted:
    """Runs a Python script beside the stub: `scripted(script, trace, **options)` gives the script
    `options` as a dict of that name and returns the JSON that it prints. `trace` is added to the
    healthy card's; `alone=True` leaves that one out. `env` adds to the environment."""

    def run(
        script: str,
        trace: str = "",
        *,
        alone: bool = False,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        healthy = "" if alone else (DATA / "healthy.trace").read_text()
        path = tmp_path / "trace"
        path.write_text(f"{healthy}\n{trace}\n")
        environment = os.environ | {"LD_LIBRARY_PATH": str(library), "NVML_TRACE": str(path)}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        given = f"options = {options!r}\n"
        done = subprocess.run(
            [sys.executable, "-c", given + script],
            env=environment | (env or {}),
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)

    return run
