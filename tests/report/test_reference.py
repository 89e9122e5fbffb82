"""The page of docs says what the tables say. `make docs` writes it again."""

from pathlib import Path

from journal.doubts.rules import RULES
from journal.metrics.table import TABLE
from journal.report.reference import metrics_page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == metrics_page(), "make docs writes it again"


def test_every_metric_and_every_doubt_is_on_it() -> None:
    page = metrics_page()
    metrics, _, _ = page.partition("## Doubts")
    rows = [line.split(" | ") for line in metrics.splitlines() if line.startswith("| `")]
    for metric in TABLE:
        own, shared = f"`{metric.name}`", (f"| `{metric.family}.", f"`.{metric.statistic}`")
        (row,) = [row for row in rows if own in row[0] or all(part in row[0] for part in shared)]
        assert metric.formula in row
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.threshold} | {rule.reason} |" in page


def test_its_tables_have_no_stray_columns() -> None:
    columns = None
    for line in metrics_page().splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        columns = columns or line.count("|")
        assert line.count("|") == columns, line


if __name__ == "__main__":
    PAGE.write_text(metrics_page())
