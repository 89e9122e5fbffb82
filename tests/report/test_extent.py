"""Logs of a week and of an experiment: the parts of a day's, under names that stay in the home."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from journal.errors import NotFound, UsageError
from journal.records.experiment import Engine, Experiment
from journal.records.notebook import Note
from journal.records.run import Record
from journal.report.extent import collect_experiment, collect_week
from journal.report.log import LogFiles, log, write_experiment_log, write_log, write_week_log
from journal.store.notes import add_note
from journal.store.store import Store, open_store

WEDNESDAY = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)
FRIDAY = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, record: Callable[..., Record]) -> Iterator[Store]:
    """The same experiment on Wednesday and on Friday, and another one on the Monday after."""
    began = (("first", WEDNESDAY), ("first", FRIDAY), ("../../etc/Überfall", FRIDAY + timedelta(3)))
    with open_store(tmp_path) as store:
        for number, (name, at) in enumerate(began):
            begun = store.begin_experiment(Experiment(name=name, question="Why?"), at, {})
            for batch in (1, 2):
                figures = {"output_tokens_per_s": 10.0 * batch, "ttft_s.p50": 0.1}
                run = record(
                    batch=batch,
                    number=10 * number + batch,
                    engine=Engine(model="m"),
                    experiment_id=begun.id,
                    metrics=figures,
                    identity=f"b{batch}",
                )
                store.add_run(replace(run, started_at=at + timedelta(minutes=batch)), None)
            store.end_experiment(begun.id, "done", at + timedelta(hours=1))
        yield store


def test_a_week_has_seven_days_from_monday(store: Store) -> None:
    for day in (date(2026, 11, 16), date(2026, 11, 22)):
        week = collect_week(store, day, UTC)
        assert week.stem == "2026-W47"
        assert [each.started_at for each in week.experiments] == [WEDNESDAY, FRIDAY]
        assert len(week.records) == 4
    assert collect_week(store, date(2026, 11, 23), UTC).earlier
    with pytest.raises(NotFound, match="2026-11-18, 2026-11-20"):
        collect_week(store, date(2026, 11, 9), UTC)
    with pytest.raises(NotFound, match="no whole week"):
        collect_week(store, date.max, UTC)


def test_the_turn_of_the_year_is_in_the_week_of_its_thursday(store: Store) -> None:
    store.begin_experiment(Experiment(name="x"), datetime(2027, 1, 2, tzinfo=UTC), {})
    assert collect_week(store, date(2027, 1, 1), UTC).stem == "2026-W53"


def test_an_experiment_is_found_by_its_name_or_id(store: Store) -> None:
    older, newer, _ = store.experiments()
    assert collect_experiment(store, "first", UTC).experiments == (newer,)
    for wanted in (older.id, older.id[:6]):
        collected = collect_experiment(store, wanted, UTC)
        assert collected.experiments == (older,)
        assert {run.experiment_id for run in collected.records} == {older.id}
    assert len(collect_experiment(store, "first", UTC).earlier) == 2
    with pytest.raises(NotFound, match=r"'second'; there are \.\./\.\./etc/Überfall, first"):
        collect_experiment(store, "second", UTC)


def test_the_files_of_a_week(store: Store, tmp_path: Path) -> None:
    note = Note(
        id="n1",
        day=WEDNESDAY.date(),
        text="It was *hot*.",
        written_at=WEDNESDAY,
        experiment_id=None,
    )
    add_note(store, note)
    files = write_week_log(store, tmp_path, date(2026, 11, 20), UTC)
    assert files.markdown == tmp_path / "log" / "2026-W47.md"
    assert files.html == tmp_path / "log" / "2026-W47.html"
    text = files.markdown.read_text()
    assert "# Lab log, week 47 of 2026 (16 November to 22 November)" in text
    assert "begun between 2026-11-18 09:01 and 2026-11-20 09:02 (UTC)" in text
    assert len(re.findall("\n## [^\n]* · first: batch 1[^\n]*\n", text)) == 2
    assert "> It was \\*hot\\*." in text
    assert "<!-- words" not in text, "words are changed in the log of their day"
    first = text.encode(), files.html.read_bytes()
    assert write_week_log(store, tmp_path, date(2026, 11, 16), UTC) == files
    assert (files.markdown.read_bytes(), files.html.read_bytes()) == first
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert {files.markdown.parent / image for image in images} == set(files.figures)


def test_what_was_written_into_it_by_hand_is_kept_beside(store: Store, tmp_path: Path) -> None:
    files = write_week_log(store, tmp_path, date(2026, 11, 20), UTC)
    files.markdown.write_text(files.markdown.read_text() + "\nmy own words\n")
    again = write_week_log(store, tmp_path, date(2026, 11, 20), UTC)
    assert again.edited is not None
    assert again.edited.read_text().endswith("my own words\n")
    assert "my own words" not in files.markdown.read_text()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_files_of_an_experiment_stay_in_the_home(
    store: Store, tmp_path: Path, lang: str
) -> None:
    begun = store.experiments()[-1]
    files = write_experiment_log(store, tmp_path, "../../etc/Überfall", UTC, lang)
    assert files.markdown == tmp_path / "log" / f"experiment-etc-berfall-{begun.id[:8]}.md"
    assert files.html.with_suffix(".md") == files.markdown
    text = files.markdown.read_text(encoding="utf-8")
    title = {"en": "# Experiment log: ../../etc/Überfall", "zh": "# 实验记录：../../etc/Überfall"}
    assert title[lang] in text
    assert "2026-11-23 09:01" in text


def test_a_name_without_latin_letters_is_replaced_by_its_id(store: Store, tmp_path: Path) -> None:
    begun = store.begin_experiment(Experiment(name="显存"), FRIDAY, {})
    files = write_experiment_log(store, tmp_path, "显存", UTC)
    assert files.markdown.name == f"experiment-{begun.id[:8]}.md"


def test_a_day_a_week_or_an_experiment_is_asked_of_one_function(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    day, where = WEDNESDAY.date(), "http://mlflow:5000/"
    asked: list[tuple[dict[str, Any], Callable[[], LogFiles]]] = [
        ({"day": day}, lambda: write_log(store, tmp_path, day, UTC, tracking=where)),
        ({}, lambda: write_log(store, tmp_path, None, UTC, tracking=where)),
        (
            {"day": day, "week": True, "lang": "zh"},
            lambda: write_week_log(store, tmp_path, day, UTC, "zh", where),
        ),
        (
            {"experiment": "first"},
            lambda: write_experiment_log(store, tmp_path, "first", UTC, tracking=where),
        ),
    ]
    for words, write in asked:
        files = log(str(tmp_path), zone=UTC, **words)
        texts = files.markdown.read_bytes(), files.html.read_bytes()
        assert files == write()
        assert texts == (files.markdown.read_bytes(), files.html.read_bytes())
    for words in ({"week": True}, {"day": day}):
        with pytest.raises(UsageError, match="leave out the date"):
            log(tmp_path, experiment="first", **words)
