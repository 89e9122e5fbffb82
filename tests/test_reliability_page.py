"""docs/reliability.md: every row of its tables of faults names a test that exists, and its counts
are those of the tests."""

import ast
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    """The rows of the tables of faults, without their heads."""
    faults = PAGE.partition("## When something goes wrong")[2].partition("## Figures")[0]
    lines = [line for line in faults.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith(("| what goes wrong", "| ---"))]


def functions(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_row_names_a_test_that_exists() -> None:
    assert len(rows()) >= 40
    for row in rows():
        found = NAMED.findall(row)
        assert found, row
        for file, name in found:
            assert (ROOT / file).is_file(), row
            assert name in functions(ROOT / file), row


def test_no_row_stands_twice() -> None:
    first = [row.split("|")[1].strip() for row in rows()]
    assert len(first) == len(set(first))


def test_traps_and_clean_runs_are_as_many_as_it_says() -> None:
    said = re.search(r"more than (\d+) traps are planted .*? and more than (\d+) clean runs", PAGE)
    module = runpy.run_path(str(ROOT / "tests" / "doubts" / "test_rules.py"), run_name="doubts")
    assert said is not None
    assert len(module["TRAPS"]) + len(module["INVALID"]) > int(said[1]) >= 28
    assert len(module["CLEAN"]) > int(said[2])


def test_the_figures_of_the_soak_are_there() -> None:
    block = PAGE.partition("<!-- soak -->")[2].partition("<!-- end of soak -->")[0]
    figures = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", block, re.MULTILINE))
    assert int(figures["SIGKILLs that struck a running sweep"]) >= 500
    for what in ("of these lost", "cells with a wrong or missing row", "processes left behind"):
        assert figures[what] == "0"
    assert "`make soak" in block


def test_the_memory_of_the_load_generator_is_there() -> None:
    block = PAGE.partition("<!-- steady -->")[2].partition("<!-- end of steady -->")[0]
    grown = re.search(r"at the end, ([+-][\d.]+)% \(limit 5%\)", block)
    assert grown is not None and float(grown[1]) < 5
