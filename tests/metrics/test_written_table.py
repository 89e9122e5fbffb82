"""table.json has all of the rows of formulas.py but their functions: `make docs` writes it again.
What names and shows metrics reads it, without numpy."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from journal.metrics import formulas
from journal.metrics.formulas import FORMULAS
from journal.metrics.row import Metric

PATH = Path(formulas.__file__).with_name("table.json")


def written() -> str:
    """The text of table.json, a row on each line."""
    rows = (json.dumps(_words(metric), ensure_ascii=False) for metric in FORMULAS)
    return "[\n" + ",\n".join(rows) + "\n]\n"


def _words(metric: Metric) -> dict[str, Any]:
    """The fields of a row that are not as by default, without its function."""
    words = {name: value for name, value in _said(metric).items() if name != "figure"}
    if "shown" in words:
        shown = _said(words["shown"])
        if "family" in shown:
            shown["family"] = [shown["family"].name, shown["family"].help]
        words["shown"] = shown
    return words


def _said(row: Any) -> dict[str, Any]:
    values = {field.name: (getattr(row, field.name), field.default) for field in fields(row)}
    return {name: value for name, (value, default) in values.items() if value != default}


def test_the_written_table_has_every_row_of_the_formulas() -> None:
    from journal.metrics import table  # which reads it, and may be unable to before it is written

    assert PATH.read_text() == written(), "make docs writes it again"
    assert [_words(metric) for metric in table.TABLE] == [_words(metric) for metric in FORMULAS]


def test_metrics_are_named_without_numpy() -> None:
    code = "import sys, journal.metrics.table; print('numpy' in sys.modules)"
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.strip() == "False"


if __name__ == "__main__":
    PATH.write_text(written())
