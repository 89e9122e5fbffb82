"""Import, export, merge and compact as commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.cli.app import main

DATA = Path(__file__).parent.parent / "exchange" / "data"
Journal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Journal:
    """The command within this process: its exit code, standard output and standard error."""
    monkeypatch.setenv("JOURNAL_HOME", str(tmp_path / "lab"))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["journal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return call


def parsed(result: tuple[int, str, str]) -> Any:
    code, out, error = result
    assert code == 0, error
    return json.loads(out)


@pytest.mark.mlflow
def test_a_result_of_another_tool_stands_among_the_runs(journal: Journal) -> None:
    code, out, _ = journal("import", DATA / "vllm-closed.json")
    assert (code, "1 run taken in" in out, "vllm bench serve" in out) == (0, True, True)
    assert "0 runs taken in; 1 already there" in journal("import", DATA / "vllm-closed.json")[1]
    (run,) = parsed(journal("runs", "--json"))
    assert (run["tool"], run["concurrency"], run["errors"]) == ("vllm bench serve", 4, 0)
    assert run["mlflow_run_id"]
    (again,) = parsed(journal("import", DATA / "vllm-closed.json", "--json"))
    assert again == run
    code, _, error = journal("import", DATA / "README.md")
    assert (code, "is not JSON" in error) == (2, True)


def test_runs_are_exported_to_standard_output_or_a_file(journal: Journal, tmp_path: Path) -> None:
    journal("import", DATA / "vllm-open.json")
    (row,) = map(json.loads, journal("export", "--format", "jsonl")[1].splitlines())
    assert row["tool"] == "vllm bench serve"
    code, out, _ = journal("export", tmp_path / "requests.csv", "--raw")
    assert (code, "16 rows written" in out) == (0, True)
    assert len((tmp_path / "requests.csv").read_text(encoding="utf-8").splitlines()) == 17
    code, _, error = journal("export", "--format", "xml")
    assert (code, "csv, parquet, jsonl" in error) == (2, True)


def test_another_journal_is_taken_in(journal: Journal, tmp_path: Path) -> None:
    other = tmp_path / "other"
    journal("import", DATA / "vllm-open.json", "--home", other)
    assert "1 experiment, 1 run, 0 notes" in journal("merge", other)[1]
    found = parsed(journal("merge", other / "journal.db", "--json"))
    assert found == {"experiments": 0, "runs": 0, "notes": 0, "others": 0}
    assert len(parsed(journal("runs", "--json"))) == 1


def test_requests_of_old_runs_are_moved_and_it_is_said_what_that_saved(
    journal: Journal, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for name in ("vllm-open.json", "vllm-closed.json"):
        (tmp_path / name).write_text((DATA / name).read_text().replace('"2026', '"2025'))
        journal("import", tmp_path / name)
    days = ("--older-than", 1)
    planned = parsed(journal("compact", *days, "--dry-run", "--json"))
    assert (planned["runs"], planned["files"], planned["dry_run"]) == (2, 0, True)
    assert planned["chunk_bytes"] > 0
    assert "2 runs with" in journal("compact", *days, "--dry-run")[1]
    done = parsed(journal("compact", *days, "--json"))
    assert (done["runs"], done["requests"], done["dry_run"]) == (2, planned["requests"], False)
    room = done["database_before_bytes"] - done["database_after_bytes"]
    assert done["saved_bytes"] == room - done["files_bytes"]
    code, out, error = journal("compact", *days)
    assert (code, "0 runs with 0 requests moved" in out, error) == (0, True, "")
    assert journal("recompute")[1] == "0 runs changed\n"
    code, _, error = journal("compact", "--older-than", -1)
    assert (code, "-1" in error) == (2, True)
