"""A metric is added by one row of the table, and every view has it."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from builders import a_day, a_record, an_experiment

from journal.cli.run_tables import print_record, print_repeats
from journal.compare.comparison import compared
from journal.compare.sides import Side
from journal.exchange.export import export
from journal.metrics import table
from journal.metrics.row import Family, Metric, Shown, number_only
from journal.metrics.view import View
from journal.records.run import Record
from journal.records.samples import Samples
from journal.report.log import as_markdown
from journal.report.phrases import words
from journal.report.questions import log_page
from journal.report.reference import metrics_page
from journal.report.run_json import run_json
from journal.store.store import Store, open_store
from journal.tracking.entries import run_entry
from journal.tracking.mlflow_curves import curves, headlines

NAME = "requests_tried"


def _tried(view: View) -> float | None:
    return float(len(view.measured))


ROW = Metric(
    NAME,
    "throughput",
    "tries",
    "count of requests",
    "Requests that were tried.",
    number_only(_tried),
    better="lower",
    label="tried requests",
    shown=Shown(
        headline=True,
        over_repeats=True,
        curve="seam",
        bar="least",
        column=45,
        family=Family("journal_run_tried_requests", "Requests tried."),
    ),
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, run: Any) -> list[Record]:
    """Two batches by two repeats, measured with the row in the table."""
    monkeypatch.setattr(table, "TABLE", (*table.TABLE, ROW))
    records = []
    for number_, (batch, repeat) in enumerate([(1, 0), (1, 1), (4, 0), (4, 1)]):
        samples: Samples = run(batch=batch, requests=20 + number_).samples()
        figures = table.metrics(samples)
        records.append(a_record(batch=batch, number=number_, repeat=repeat, metrics=dict(figures)))
    return records


def test_show_and_its_json_have_it(
    measured: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    print_record(measured[0])
    print_repeats(measured[:2])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [NAME, "20", "tries"] in lines
    assert [NAME, "20.5", "tries"] in [line[:3] for line in lines]  # over the repeats
    assert json.loads(json.dumps(run_json(measured[0])))["metrics"][NAME] == 20


def test_mlflow_has_it(measured: list[Record]) -> None:
    points = {point.name: point.value for point in run_entry(measured[0], "parent").points}
    assert points[f"throughput/{NAME}"] == 20
    assert {p.name: p.value for p in headlines(measured)}[f"least/{NAME}"] == 20
    curve = [p for p in curves(measured, several_outputs=False) if p.name.endswith(NAME)]
    assert [(point.step, point.value) for point in curve] == [(1, 20.5), (4, 22.5)]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_of_the_log_has_it(measured: list[Record], lang: str) -> None:
    text = as_markdown(log_page(a_day(measured, an_experiment())), words(lang), "figures")
    (header,) = {
        line for line in text.splitlines() if line.startswith("|") and "tried requests" in line
    }
    assert header.index("tok/s") < header.index("tried requests")  # its place: column 45


def test_a_comparison_has_it(measured: list[Record]) -> None:
    a, b = (Side(name, "run", tuple(side)) for name, side in _sides(measured))
    result = compared(a, b)
    (figure,) = [f for f in result.rows[0].figures if f.metric == NAME]
    assert (figure.a, figure.b) == (pytest.approx(20), pytest.approx(21))
    described = [f for f in result.as_json()["cells"][0]["figures"] if f["metric"] == NAME]
    assert (described[0]["unit"], described[0]["better"]) == ("tries", "lower")


def _sides(records: list[Record]) -> Iterable[tuple[str, list[Record]]]:
    """The first repeat and the second, as if they were the same one measured twice."""
    first = [each for each in records if each.cell.repeat == 0]
    again = [each for each in records if each.cell.repeat == 1]
    return (
        ("a", first),
        ("b", [replace(each, cell=replace(each.cell, repeat=0)) for each in again]),
    )


@pytest.fixture
def home(measured: list[Record], tmp_path: Path) -> Path:
    with open_store(tmp_path) as store:
        _keep(store, measured)
    return tmp_path


def _keep(store: Store, records: list[Record]) -> None:
    begun = store.begin_experiment(an_experiment().experiment, datetime.now(UTC), {})
    for record in records:
        store.add_run(replace(record, experiment_id=begun.id), None)


def test_an_export_has_it(home: Path) -> None:
    out = io.StringIO()
    export(out, home, "csv")
    out.seek(0)
    assert [row[NAME] for row in csv.DictReader(out)] == ["20.0", "21.0", "22.0", "23.0"]


def test_the_exporter_has_it(home: Path) -> None:
    pytest.importorskip("prometheus_client")
    from journal.monitor.exporter import Exporter

    with open_store(home) as store:
        families = {family.name: family for family in Exporter(store, home).collect()}
    family = families["journal_run_tried_requests"]
    assert family.documentation == "Requests tried."
    assert {sample.labels["batch"]: sample.value for sample in family.samples} == {
        "1": 21,
        "4": 23,
    }


def test_the_page_of_docs_has_it(measured: list[Record]) -> None:
    line = f"| `{NAME}` | tries | lower | count of requests | Requests that were tried. |"
    assert measured
    assert line in metrics_page()
