import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest

from journal.measure.environment import environment

Scripted = Callable[..., Any]


def test_what_this_host_is() -> None:
    found = environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert found["cpu_threads"] == os.cpu_count()
    assert found["version_openai"] == metadata.version("openai")
    assert found["kernel"] == os.uname().release
    assert all(isinstance(value, str | int | float | None) for value in found.values())


def test_two_calls_agree() -> None:
    assert environment() == environment()


@pytest.mark.timing
def test_it_is_quick() -> None:
    environment()
    began = time.process_time()
    environment()
    assert time.process_time() - began < 0.5


def test_no_secret_in_it_and_of_the_user_only_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret-of-mine")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("LOGNAME", "ada")
    found = environment()
    assert "s3cret-of-mine" not in str(found)
    assert "somebody" not in str(found)
    assert (found["user"], found["host"]) == ("ada", os.uname().nodename)


def test_an_account_without_a_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert environment()["user"] is None


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from journal.measure.environment import environment; environment();"
        "print(*sorted({'torch', 'vllm', 'mlflow', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b""


def test_the_engines_own_versions_are_those_of_its_interpreter() -> None:
    found = environment({"python": "3.9.1", "vllm": "9.8.7", "torch": None})
    assert (found["engine_python"], found["version_vllm"]) == ("3.9.1", "9.8.7")
    assert found["version_torch"] is found["version_transformers"] is None
    assert found["python"] != "3.9.1"


def test_an_interpreter_that_fails_has_no_versions() -> None:
    found = environment({})
    assert found["engine_python"] is found["version_vllm"] is found["version_torch"] is None


def test_the_commit_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert environment()["git_commit"] is None
    (tmp_path / "a").write_text("one")
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "a"], [*name, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], check=True)
    found = environment()
    assert len(str(found["git_commit"])) == 40
    assert found["git_changed"] is False
    (tmp_path / "a").write_text("two")
    assert environment()["git_changed"] is True


ENVIRONMENT = """
import json
from journal.measure.environment import environment
print(json.dumps(environment()))
"""


def test_cards_are_named(scripted: Scripted) -> None:
    found = scripted(ENVIRONMENT)
    assert found["gpus"] == 1
    assert (found["gpu_driver"], found["gpu_cuda"]) == ("575.57.08", "12.9")
    assert found["gpu_0_name"] == "Scripted Card 80GB"
    assert found["gpu_0_uuid"] == "GPU-5c21a7b0-0000-4000-8000-000000000001"
    assert found["gpu_0_total_bytes"] == 85899345920


@pytest.mark.parametrize("trace", ["0 - nvmlSystemGetDriverVersion 999", "init 18"])
def test_cards_that_cannot_be_asked_are_absent_with_a_reason(
    scripted: Scripted, trace: str
) -> None:
    found = scripted(ENVIRONMENT, trace)
    assert found["gpus"] is None
    assert found["gpu_absent"].endswith(".")
