"""The page on parity: what it is written from, and a round of it with the journal alone."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.parity import PARITY, TRUTH, Tool, _call, found, measured, section
from journal.exchange.import_results import import_results
from journal.records.figure import Figure
from journal.records.run import Record

FORM = Path(__file__).parent / "exchange" / "data" / "forms" / "vllm-detailed.json"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = import_results(FORM, tmp_path).records
    return record


def test_the_table_has_the_differences_from_the_truth(record: Record) -> None:
    figures = {name: Figure(truth + 0.001) for name, truth in TRUTH.items()}
    near, far = (replace(record, metrics=figures), replace(record, metrics={}))
    later = replace(record, metrics={name: Figure(t - 0.002) for name, t in TRUTH.items()})
    text = section({"near": [near], "both": [near, later], "none": [far]})
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert rows["| near"].count("+1.00 ms") == 3
    assert rows["| both"].count("-2.00 to +1.00 ms") == 3
    assert rows["| none"].count("–") == 3
    assert "Load average" in text


def test_tools_take_turns_in_one_order_and_then_in_the_other(record: Record) -> None:
    asked: list[str] = []

    def tool(name: str) -> Tool:
        def measure(url: str, folder: Path) -> Record:
            assert url.startswith("http://127.0.0.1") and folder.is_dir()
            asked.append(name)
            return record

        return Tool(name, measure)

    runs, failed = measured([tool("a"), tool("b")], rounds=2)
    assert asked == ["a", "b", "b", "a"]
    assert {name: len(records) for name, records in runs.items()} == {"a": 2, "b": 2}
    assert failed == {}


def test_a_tool_that_fails_is_left_out_with_its_reason(record: Record) -> None:
    def fails(url: str, folder: Path) -> Record:
        assert url and folder
        said = "print('loading'); raise SystemExit('no tokenizer')"
        _call([sys.executable, "-c", said])
        return record

    tools = [Tool("fails", fails), Tool("works", lambda *_: record)]
    runs, failed = measured(tools, rounds=2)
    assert ({*runs}, len(runs["works"])) == ({"works"}, 2)
    assert failed == {"fails": "loading no tokenizer"}
    text = section(runs, failed)
    assert "fails did not measure: `loading no tokenizer`." in text and "| works |" in text


def test_tools_that_are_not_there_are_left_out() -> None:
    options = argparse.Namespace(guidellm="no-such-tool", aiperf="no-such-tool", tokenizer=None)
    names = {tool.name for tool in found(options)}
    assert "the journal" in names
    assert not names & {"GuideLLM", "AIPerf"}


def test_the_page_has_its_marks() -> None:
    page = PARITY.read_text()
    assert page.count("<!-- parity -->") == page.count("<!-- end of parity -->") == 1
