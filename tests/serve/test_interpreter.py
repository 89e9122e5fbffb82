"""The distributions of an engine's interpreter: read once, and again when they change."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from journal.errors import SpecError
from journal.records.experiment import Engine
from journal.serve import interpreter
from journal.serve import start as engines

StandIn = Callable[..., Engine]


def python(folder: Path, body: str) -> str:
    """An interpreter that is a script, so that no second environment must be built."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def install(site: Path, version: str) -> None:
    """What an installer leaves of a distribution of vLLM."""
    for old in site.glob("vllm-*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    dist = site / f"vllm-{version}.dist-info"
    dist.mkdir(parents=True)
    (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def with_vllm(folder: Path) -> tuple[Engine, Path, Path]:
    """An engine, the folder where its vLLM is installed, and a file of as many letters as it was
    asked questions."""
    site, questions = folder / "site", folder / "questions"
    install(site, "9.8.7")
    body = f'printf x >> {questions}\nPYTHONPATH={site} exec {sys.executable} -S "$@"'
    return Engine(model="a/b", python=python(folder, body)), site, questions


def test_an_interpreter_is_asked_once(tmp_path: Path) -> None:
    engine, _, questions = with_vllm(tmp_path)
    first = interpreter.ask_interpreter(engine)
    assert first.version == "9.8.7" and first.versions["torch"] is None
    assert first.python_version == ".".join(map(str, sys.version_info[:3]))
    for _ in range(5):
        assert interpreter.ask_interpreter(engine) == first
    assert questions.read_text() == "x"


def test_an_upgrade_of_the_engine_is_noticed_by_a_process_that_lives_on(tmp_path: Path) -> None:
    engine, site, questions = with_vllm(tmp_path)
    assert interpreter.ask_interpreter(engine).version == "9.8.7"
    install(site, "9.9.0")
    assert interpreter.ask_interpreter(engine).version == "9.9.0"
    assert questions.read_text() == "xx"


def test_an_interpreter_that_was_replaced_is_asked_again(tmp_path: Path) -> None:
    engine, _, questions = with_vllm(tmp_path)
    interpreter.ask_interpreter(engine)
    os.utime(engine.python or "", ns=(1, 1))
    interpreter.ask_interpreter(engine)
    assert questions.read_text() == "xx"


def test_another_environment_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _, questions = with_vllm(tmp_path)
    interpreter.ask_interpreter(engine)
    interpreter.ask_interpreter(replace(engine, env={"LD_LIBRARY_PATH": "/opt/lib"}))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/lib")
    interpreter.ask_interpreter(engine)
    assert questions.read_text() == "xxx"


@pytest.mark.parametrize("body", ["exit 3", "echo not json", "echo []"])
def test_an_interpreter_that_fails_has_no_versions(tmp_path: Path, body: str) -> None:
    engine = Engine(model="a/b", python=python(tmp_path, body))
    assert interpreter.installed(engine) == {}
    with pytest.raises(SpecError, match="does not behave as a Python interpreter"):
        interpreter.ask_interpreter(engine)


def test_versions_of_our_own_interpreter_are_not_asked_for() -> None:
    assert interpreter.installed(None) is None
    assert interpreter.installed(Engine(model="a/b")) is None
    assert interpreter.installed(Engine(model="a/b", python=sys.executable)) is None


def test_versions_of_another_interpreter_have_its_own_among_them(tmp_path: Path) -> None:
    engine, _, _ = with_vllm(tmp_path)
    versions = interpreter.installed(engine)
    assert versions is not None
    assert (versions["vllm"], versions["python"]) == (
        "9.8.7",
        ".".join(map(str, sys.version_info[:3])),
    )


def test_one_start_of_an_engine_asks_its_interpreter_once(
    stand_in: StandIn, tmp_path: Path
) -> None:
    questions = tmp_path / "questions"
    engine = stand_in({"asked": str(questions)})
    engines.check_engine(engine)
    engines.context_length(engine)
    engines.gpus_of(engine)
    interpreter.installed(engine)
    with engines.start(engine, tmp_path / "engine.log"):
        assert questions.read_text() == "x"
