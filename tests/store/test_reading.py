"""Reading waits for no writer."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from builders import BEGAN, Run, a_record

from journal.metrics.slo_times import slo_times
from journal.metrics.view import View
from journal.records.experiment import Experiment
from journal.store.checkups import last_checkup
from journal.store.evidence import environment_of, first_answer, first_checkup, good_runs
from journal.store.history import asked_before, last_began, last_measured, measured_between, place
from journal.store.interactions import interactions
from journal.store.middle_requests import middle_requests
from journal.store.notes import note_of, notes
from journal.store.request_lengths import request_lengths
from journal.store.slo_runs import runs_with_slo_times
from journal.store.store import Store, open_store
from journal.store.tags import all_tags, tag_named

RUN = f"{0:016x}"
CELL = a_record().cell
READS: dict[str, Callable[[Store], object]] = {
    "experiments": lambda store: store.experiments(),
    "experiment": lambda store: store.experiment("last"),
    "runs": lambda store: store.runs(),
    "run": lambda store: store.run(RUN),
    "samples": lambda store: store.samples(RUN),
    "pending": lambda store: store.pending(),
    "last_checkup": lambda store: last_checkup(store, "bench"),
    "good_runs": good_runs,
    "environment_of": lambda store: environment_of(store, RUN),
    "first_answer": lambda store: first_answer(store, "ask"),
    "first_checkup": first_checkup,
    "asked_before": lambda store: list(asked_before(store, "x")),
    "last_began": last_began,
    "last_measured": lambda store: last_measured(store, [CELL], BEGAN),
    "measured_between": lambda store: measured_between(store, {place(CELL)}, BEGAN, BEGAN),
    "interactions": interactions,
    "middle_requests": lambda store: middle_requests(store, RUN),
    "notes": notes,
    "note_of": lambda store: note_of(store, "none"),
    "request_lengths": lambda store: request_lengths(store, [RUN]),
    "runs_with_slo_times": lambda store: list(runs_with_slo_times(store, [])),
    "all_tags": all_tags,
    "tag_named": lambda store: tag_named(store, "none"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    samples = Run(batch=2, requests=12).samples()
    with open_store(home) as store:
        begun = store.begin_experiment(Experiment(name="x"), BEGAN, {})
        record = replace(a_record(), experiment_id=begun.id, cell=samples.cell, facts=samples.facts)
        store.add_run(record, samples, slo_times(View(samples)))
        store.end_experiment(begun.id, "done", BEGAN)
    return home


@pytest.mark.parametrize("name", READS)
def test_nothing_that_is_read_waits_for_a_writer(name: str, home: Path) -> None:
    path = home / "journal.db"
    with (
        open_store(home, f"sqlite:///{path}?timeout=0") as store,
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
    ):
        writer.execute("BEGIN IMMEDIATE")
        READS[name](store)
