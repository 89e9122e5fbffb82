"""All that any command makes, folders on the way included, is its owner's alone, also where nothing
is masked."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated_tries import serve
from typer.testing import CliRunner

import journal
from journal import Engine, Experiment, Grid, Load
from journal.cli.app import app
from journal.records.engine import Endpoint
from journal.serve import process_tree, standing

DATA = Path(__file__).parent / "exchange" / "data"


@pytest.fixture
def no_mask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path, apart_from: Path) -> list[str]:
    """What others may read, enter or write below `folder`, but for what stands in `apart_from`."""
    return [
        f"{stat.S_IMODE(path.lstat().st_mode):o} {path.relative_to(folder)}"
        for path in folder.rglob("*")
        if not path.is_symlink() and path.lstat().st_mode & 0o077 and apart_from not in path.parents
    ]


@pytest.mark.slow
def test_what_commands_make_is_its_owners_alone(no_mask: None, tmp_path: Path) -> None:
    home, out = tmp_path / "above" / "it" / "lab", tmp_path / "out"
    out.mkdir(mode=0o700)
    boards, again = out / "deep" / "boards", out / "again.json"
    again.write_text((DATA / "vllm-closed.json").read_text().replace('"2026', '"2025'))
    again.chmod(0o600)
    sides = [f"experiment:vllm bench serve: {name}" for name in ("vllm-closed", "again")]
    commands = [
        ["import", DATA / "vllm-closed.json"],
        ["import", again],
        ["import", DATA / "vllm-open.json"],
        ["import", DATA / "vllm-open.json", "--home", out / "x" / "other"],
        ["merge", out / "x" / "other"],
        ["export", out / "runs.csv"],
        ["export", out / "requests.jsonl", "--raw"],
        ["export", out / "runs.parquet"],
        ["export", out / "a" / "reports", "--to", "llm-d"],
        ["log", "2026-11-23"],
        ["compare", *sides, "--html", out / "c" / "d" / "page.html"],
        [
            "check",
            "--baseline",
            sides[0],
            "--candidate",
            sides[1],
            "--junit",
            out / "e" / "f" / "x.xml",
        ],
        [
            "check",
            "--baseline",
            sides[0],
            "--candidate",
            sides[1],
            "--markdown",
            out / "g" / "x.md",
        ],
        ["note", "so"],
        ["compact", "--older-than", "0"],
        ["dashboards", boards, "--endpoint", "http://127.0.0.1:9/v1"],
        ["rent", "batch-size", "--gpu", "L4", "--out", out / "task.yaml"],
        ["demo", "--no-open", "--home", out / "h" / "demo"],
        ["verify"],
        ["recompute"],
        ["runs"],
        ["tag", "baseline", "last"],
        ["tag", "baseline", "--remove"],
        ["quiz"],
        ["answer", "throughput", "--show"],
        ["whatif", "--slo-ttft-ms", "300"],
        ["show", "last", "--figure", out / "i" / "j" / "run.svg"],
        ["plan", "batch-size", "--model", "simulated", "--toml"],
        ["checklist"],
    ]
    said = []
    for command in commands:
        words = [str(word) for word in command]
        if "--home" not in words and words[0] not in ("dashboards", "rent", "plan"):
            words += ["--home", str(home)]
        done = CliRunner().invoke(app, words)
        said.append((words[0], done.exit_code, f"{done.output[-300:]} {done.exception or ''}"))
    failed = [one for one in said if one[1] not in (0, 3)]
    assert failed == [], failed
    assert open_to_others(tmp_path, boards) == []
    for path in boards.rglob("*"):  # which the containers' own users read, behind a closed door
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.slow
def test_what_measuring_and_trying_make_is_its_owners_alone(no_mask: None, tmp_path: Path) -> None:
    grid = Grid(batch=(8,), prompt_tokens=(16,), output_tokens=(16,))
    engine = Engine(model="simulated", flags=("--max-num-seqs", "2"))
    load = Load(requests=24, warmup=2, repeats=1)
    asked = Experiment(name="limited", engines=(engine,), grid=grid, load=load)
    home = tmp_path / "a" / "b" / "lab"
    assert journal.run(asked, home, serve=serve).records
    assert journal.try_change("last", home, setting="engine.useless=1", starts=2, serve=serve)
    assert open_to_others(tmp_path, tmp_path / "none") == []
    assert list((home / "log").glob("*.html"))


def test_what_serving_makes_is_its_owners_alone(no_mask: None, tmp_path: Path) -> None:
    log = tmp_path / "a" / "b" / "engine.log"
    tree = process_tree.start_guarded([sys.executable, "-c", ""], env=os.environ, log_path=log)
    tree.stop()
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    standing._announce(tmp_path / "c" / "serving" / "1.json", endpoint, log)
    assert open_to_others(tmp_path, tmp_path / "none") == []
    assert log.exists() and (tmp_path / "c" / "serving" / "1.json").exists()
