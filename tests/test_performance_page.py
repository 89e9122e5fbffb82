"""docs/performance.md has a section for each benchmark, which that one alone replaces."""

from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS, chosen
from benchmarks.page import PAGE, put


def test_a_benchmark_replaces_its_own_section_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n<!-- one -->\nold\n<!-- end of one -->\n\n<!-- two -->\n<!-- end of two -->\n"
    )
    put("two", "new\n\n", page)
    put("one", "1\n\n2", page)
    assert page.read_text() == (
        "# A\n<!-- one -->\n1\n\n2\n<!-- end of one -->\n\n<!-- two -->\nnew\n<!-- end of two -->\n"
    )
    with pytest.raises(ValueError):
        put("three", "new", page)


@pytest.mark.parametrize("part", PARTS)
def test_every_benchmark_has_written_its_section(part: str) -> None:
    _, _, rest = PAGE.read_text().partition(f"<!-- {part} -->\n")
    assert "## " in rest.partition(f"<!-- end of {part} -->\n")[0]


def test_all_benchmarks_are_run_or_those_that_are_named() -> None:
    assert tuple(chosen([])) == PARTS
    assert chosen(["log", "growth"]) == ["log", "growth"]
    with pytest.raises(SystemExit):
        chosen(["lgo"])
