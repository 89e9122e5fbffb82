"""`journal serve`: up until Ctrl-C, asked meanwhile, and nothing left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from journal.cli.app import app
from journal.records.experiment import Engine
from journal.serve.standing import served

StandIn = Callable[..., Engine]
FakeServer = Callable[..., str]


def start(engine: Engine, home: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "journal", "serve", engine.model, "--python", engine.python]
    command += ["--port", "0", "--home", str(home), *options]
    return subprocess.Popen(
        [str(word) for word in command],
        env=os.environ | dict(engine.env) | {"JOURNAL_API_KEY": "s3cret"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_up(process: "subprocess.Popen[str]", last: str) -> str:
    """What it printed, up to the line that begins with `last`."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith(last):
            return printed
    raise AssertionError(process.communicate()[1])


def pids_in(path: Path) -> list[int]:
    return list(json.loads(path.read_text()))


def test_serve_until_ctrl_c_and_ask_meanwhile(
    stand_in: StandIn, gone: Callable[..., bool], tmp_path: Path
) -> None:
    home, family = tmp_path / "lab", tmp_path / "family"
    engine = stand_in({"family": str(family)})
    process = start(engine, home, "--max-model-len", "2048", "--", "--seed", "7")
    try:
        printed = until_up(process, "or, in another terminal")
        url = served(home)[0].base_url
        assert f"base URL  {url}" in printed
        assert f"model     {engine.model}" in printed
        assert "KV pool 2 GiB for 93,184 tokens" in printed
        argv = Path(f"/proc/{pids_in(family)[0]}/cmdline").read_text().split("\0")
        assert argv[argv.index("--max-model-len") + 1] == "2048"
        assert argv[-3:-1] == ["--seed", "7"]
        curl = re.search(r"^curl .*", printed, re.M)
        assert curl is not None
        if shutil.which("curl"):
            done = subprocess.run(["sh", "-c", curl[0]], capture_output=True, text=True, timeout=60)
            assert "data: [DONE]" in done.stdout
        told = CliRunner().invoke(app, ["ask", "why?", "--home", str(home), "--max-tokens", "4"])
        assert told.stdout.startswith("the engine says née\n\n6 prompt + 4 output tokens, TTFT ")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert errors.endswith("stopped\n")
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()
    assert gone(pids_in(family), within_s=5)
    assert served(home) == []


def test_the_death_of_the_command_ends_everything(
    stand_in: StandIn, gone: Callable[..., bool], tmp_path: Path
) -> None:
    home, family = tmp_path / "lab", tmp_path / "family"
    process = start(stand_in({"family": str(family)}), home, "--json", "--require-key")
    try:
        told = json.loads(until_up(process, "}"))
        assert told["kv_pool_tokens"] == 93_184
        assert "s3cret" not in str(told)
        (found,) = served(home)
        assert found.has_key
        refused = CliRunner().invoke(app, ["ask", "why?", "--home", str(home)])
        assert "wants a key (401" in str(refused.exception)
    finally:
        process.kill()
        process.communicate()
    assert gone(pids_in(family), within_s=20)
    assert served(home) == []


def test_a_start_that_fails_says_why(stand_in: StandIn, tmp_path: Path) -> None:
    engine = stand_in({"log": "not_in_cache", "exit": 1})
    process = start(engine, tmp_path / "lab")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors.rpartition("journal: ")[2]
    assert "journal: vLLM died" in errors
    assert served(tmp_path / "lab") == []
