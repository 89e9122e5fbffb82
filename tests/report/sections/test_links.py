"""The log leads to MLflow's own pages where a server is known; its summary fits into a note."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from journal.records.experiment import Engine
from journal.records.run import ExperimentRecord, Record
from journal.report.day import Day
from journal.report.figures import draw
from journal.report.log import as_html, as_markdown, panels
from journal.report.phrases import words
from journal.report.questions import log_page
from journal.report.short import MOST_CHARACTERS, summary
from journal.store.store import open_store
from journal.tracking.addresses import charts, comparison, ui_address

SERVER = "https://tracking.example/mlflow/"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:pa55@tracking.example/mlflow", SERVER),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/"),
        ("sqlite:////home/me/lab/mlflow.db", None),
        ("https://a b", None),
        ("https://x/><script>", None),
        ("javascript:alert(1)//http://x", None),
    ],
)
def test_only_a_server_has_an_address(uri: str, shown: str | None) -> None:
    assert ui_address(uri) == shown


def test_the_addresses_of_pages_are_quoted() -> None:
    compared = comparison(["a1", "b2"], ["7", "7"])
    asked = parse_qs(compared.partition("?")[2])
    assert compared.startswith("#/compare-runs?")
    assert json.loads(asked["runs"][0]) == ["a1", "b2"]
    assert json.loads(asked["experiments"][0]) == ["7"]
    page = charts("7", "e1")
    assert page.startswith("#/experiments/7/runs?")
    wanted = parse_qs(page.partition("?")[2])["searchFilter"][0]
    assert wanted == "tags.`journal.level` = 'engine' and tags.`journal.experiment_id` = 'e1'"
    assert not set(compared + page) & set(" <>\"'`()[]")


@pytest.fixture
def tracked_day(
    record: Callable[..., Record],
    experiment: Callable[..., ExperimentRecord],
    day_of: Callable[..., Day],
) -> Day:
    """Two engines that MLflow has, on a day with a tracking server."""
    runs = [
        record(model, 8, number=number, mlflow_run_id=f"run-{model}", metrics={"ttft_s.p50": 0.1})
        for number, model in enumerate("ab")
    ]
    begun = experiment(name="two", engines=(Engine(model="a"), Engine(model="b")))
    return replace(day_of(runs, replace(begun, mlflow_experiment_id="7")), tracking=SERVER)


def both(day: Day) -> tuple[str, str]:
    whole, said = log_page(day), words("en")
    drawings = {panel.name: draw(panel, said) for panel in panels(whole)}
    return as_markdown(whole, said, ""), as_html(whole, said, drawings)


def test_the_log_leads_to_the_same_comparison_in_mlflow(tracked_day: Day) -> None:
    markdown, html = both(tracked_day)
    compared = SERVER + comparison(["run-a", "run-b"], ["7"])
    pictured = SERVER + charts("7", tracked_day.experiments[0].id)
    assert f"[these runs compared](<{compared}>)" in markdown
    assert f"[the engines of two as charts](<{pictured}>)" in markdown
    assert f'<a href="{compared.replace("&", "&amp;")}">' in html


def test_runs_that_mlflow_lacks_are_not_linked(tracked_day: Day) -> None:
    untold = tuple(replace(run, mlflow_run_id=None) for run in tracked_day.records)
    for day in (replace(tracked_day, tracking=None), replace(tracked_day, records=untold)):
        assert "MLflow" not in both(day)[0]


def test_a_summary_says_what_came_of_it_and_fits(big_day: Day, tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        asked = replace(big_day.experiments[0].experiment, question="Why | not? " + "x" * 9000)
        begun = store.begin_experiment(asked, big_day.experiments[0].started_at, {})
        for run in big_day.records:
            if run.experiment_id == "e1":
                store.add_run(replace(run, experiment_id=begun.id), None)
        ended = store.end_experiment(begun.id, "done", begun.started_at + timedelta(hours=1))
        said = summary(ended, store.runs(experiment_id=ended.id))
    assert len(said) <= MOST_CHARACTERS
    assert said.startswith("**Question:** Why \\| not?")
    assert "From batch 1 to 16, throughput goes from 54.5 tok/s to 797 tok/s" in said
    assert "| cell | TTFT p50 |" in said
    assert "12 more in the log" in said


def test_a_summary_of_nothing_says_so(tmp_path: Path, experiment: Callable[..., object]) -> None:
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(experiment().experiment, experiment().started_at, {})  # type: ignore[attr-defined]
        assert summary(begun, ()) == "1 experiment began, and no cell was run."
