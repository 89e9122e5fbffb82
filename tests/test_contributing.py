"""The metric that CONTRIBUTING.md adds step by step works as it stands there, with its test."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.metrics import table, throughput

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_a_metric_is_added_as_the_page_says(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    known: dict[str, Any] = dict(vars(throughput))
    exec(compile(row, "CONTRIBUTING.md", "exec"), known)

    def values(samples: Any) -> dict[str, float | None]:
        return {name: figure.value for name, figure in table.metrics(samples).items()}

    given: dict[str, Any] = {"values": values, "Run": Callable}
    exec(compile(test, "CONTRIBUTING.md", "exec"), given)
    with pytest.raises(KeyError, match="chunks_mean"):
        given["test_the_chunks_of_a_request"](run)
    monkeypatch.setattr(table, "TABLE", (*table.TABLE, known["ROW"]))
    given["test_the_chunks_of_a_request"](run)
