"""The facts of vLLM stand in this room alone: its metrics, variables, flags and request fields."""

import ast
import re
from pathlib import Path

import pytest

from journal.serve.engines.vllm import metric_names
from journal.serve.engines.vllm.metric_names import METRICS

PACKAGE = Path(__file__).parents[4] / "journal"
HOME = PACKAGE / "serve" / "engines" / "vllm"
# The simulator is a product apart, with names of its own.
OTHERS = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if HOME not in path.parents and PACKAGE / "simulator" not in path.parents
]
FACT = re.compile(
    r"vllm:\w+|\bVLLM_[A-Z]\w+|--served-model-name|--disable-log-stats|\bignore_eos\b"
    r"|\bcontinuous_usage_stats\b|\breturn_token_ids\b|\bqueue_time_ms\b|\bgeneration_time_ms\b"
    r"|\bawq_marlin\b|GiB for peak activation|Model loading took"
)


def literals(path: Path) -> list[str]:
    """The texts in a module's code, without its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_fact_of_vllm_stands_nowhere_else(path: Path) -> None:
    found = [match[0] for text in literals(path) for match in FACT.finditer(text)]
    assert not found, f"{found}: move them to {HOME.relative_to(PACKAGE.parent)}"


def test_the_boards_ask_for_metrics_that_are_known() -> None:
    known = {*METRICS.read, METRICS.pool, METRICS.ttft, METRICS.itl, metric_names.E2E}
    known |= {metric_names.REQUESTS_ENDED, *metric_names.PHASES.values()}
    boards = sorted((PACKAGE / "monitor" / "boards").glob("*.yml"))
    asked = {
        re.sub(r"_(?:bucket|sum|count)$", "", name)
        for board in boards
        for name in re.findall(r"(?<![\w:])vllm:\w+", board.read_text())
    }
    assert asked
    assert asked <= known
