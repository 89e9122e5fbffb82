"""Import, export and merge as commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.cli.app import main

DATA = Path(__file__).parent.parent / "record" / "data" / "foreign"
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


def test_a_result_of_another_tool_stands_among_the_runs(journal: Journal) -> None:
    code, out, _ = journal("import", DATA / "vllm-closed.json")
    assert (code, "1 run taken in" in out, "(vllm bench serve)" in out) == (0, True, True)
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
