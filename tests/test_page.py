"""Tables of docs/ of which some rows are measured again."""

from pathlib import Path

import pytest

from benchmarks.page import put, put_rows

PAGE = "before\n<!-- loads -->\n| load | held |\n| --- | --: |\n| a | 1% |\n| b | 2% |\n"


def test_a_row_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{PAGE}<!-- end of loads -->\nafter\n")
    put_rows("loads", ["| c | 9% |", "| a | 5% |"], 1, page)
    rows = "| load | held |\n| --- | --: |\n| a | 5% |\n| b | 2% |\n| c | 9% |\n"
    assert page.read_text() == f"before\n<!-- loads -->\n{rows}<!-- end of loads -->\nafter\n"


def test_a_page_without_the_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for name in ("loads", "others"):
        with pytest.raises(ValueError):
            put(name, "text", page)
