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
    facts = environment()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["memory_bytes"] == psutil.virtual_memory().total
    assert facts["cpu_threads"] == os.cpu_count()
    assert facts["version_openai"] == metadata.version("openai")
    assert facts["kernel"] == os.uname().release
    assert all(isinstance(value, str | int | float | None) for value in facts.values())


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
    facts = environment()
    assert "s3cret-of-mine" not in str(facts)
    assert "somebody" not in str(facts)
    assert (facts["user"], facts["host"]) == ("ada", os.uname().nodename)


def test_an_account_without_a_name_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
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
    facts = environment({"python": "3.9.1", "vllm": "9.8.7", "torch": None})
    assert (facts["engine_python"], facts["version_vllm"]) == ("3.9.1", "9.8.7")
    assert facts["version_torch"] is facts["version_transformers"] is None
    assert facts["python"] != "3.9.1"


def test_an_interpreter_that_fails_has_no_versions() -> None:
    facts = environment({})
    assert facts["engine_python"] is facts["version_vllm"] is facts["version_torch"] is None


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
    facts = environment()
    assert len(str(facts["git_commit"])) == 40
    assert facts["git_changed"] is False
    (tmp_path / "a").write_text("two")
    assert environment()["git_changed"] is True


ENVIRONMENT = """
import json
from journal.measure.environment import environment
print(json.dumps(environment()))
"""


def test_gpus_are_named(scripted: Scripted) -> None:
    facts = scripted(ENVIRONMENT)
    assert facts["gpus"] == 1
    assert (facts["gpu_driver"], facts["gpu_cuda"]) == ("575.57.08", "12.9")
    assert facts["gpu_0_name"] == "Scripted Card 80GB"
    assert facts["gpu_0_uuid"] == "GPU-5c21a7b0-0000-4000-8000-000000000001"
    assert facts["gpu_0_total_bytes"] == 85899345920


@pytest.mark.parametrize("trace", ["0 - nvmlSystemGetDriverVersion 999", "init 18"])
def test_gpus_that_cannot_be_read_are_absent_with_a_reason(scripted: Scripted, trace: str) -> None:
    facts = scripted(ENVIRONMENT, trace)
    assert facts["gpus"] is None
    assert facts["gpu_absent"].endswith(".")
