"""The example notebook runs from top to bottom, and the README's script as it stands."""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journal

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "examples" / "recorded.ipynb"


def shown(code: str, known: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), known)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), known)
    )


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    known: dict[str, Any] = {}
    values = [
        shown("".join(cell["source"]), known) for cell in cells if cell["cell_type"] == "code"
    ]
    head, table, comparison, flags, gaps, files = values
    assert len(head) == 5 and table.shape == (4, 3) and not table.isna().any(axis=None)
    assert "cannot say" in str(comparison) and "<" in comparison._repr_html_()
    assert flags["client_saturated"] == 18
    assert 0 < gaps["50%"] < 1
    assert files.html.is_file() and "iframe" in files._repr_html_()
    assert all(not cell.get("outputs") for cell in cells), "it is kept without its outputs"


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_script_of_the_readme_runs_as_it_stands(
    page: str, fake_server: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a server, since the quickstart would start an engine."""
    (script,) = re.findall(r"```python\n(import journal\n.*?)```", (ROOT / page).read_text(), re.S)
    run, server = journal.run, journal.attach(fake_server(ttft_s=0.0, itl_s=0.0))
    grid = journal.Grid(batch=(2,), prompt_tokens=(8,), output_tokens=(4,))
    small = journal.Experiment(name="quickstart", grid=grid, load=journal.Load(requests=20))
    monkeypatch.setattr(journal, "load_experiment", {"quickstart": small}.__getitem__)
    monkeypatch.setattr(journal, "run", lambda *given: run(*given, endpoint=server))
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(compile(script, page, "exec"), known)
    assert known["ttft"].value > 0 and known["result"].log.html.is_file()
