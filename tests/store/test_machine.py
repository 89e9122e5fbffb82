"""Whatever is done to a journal in whatever order, with deaths of the process between and within:
what was acknowledged is there as it was given, and nothing else is."""

import dataclasses
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import builders
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from journal.errors import StoreError
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.figure import Figure
from journal.records.request import ClientHealth
from journal.records.run import Record
from journal.records.samples import HostReading, Readings, Samples, ServerReading
from journal.store.store import Store, new_id, open_store

DAY = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
CELL = builders.a_cell(experiment="m", engine=None, batch=2, identity="0123")
numbers = st.floats(allow_nan=False, allow_infinity=False)
statuses = st.sampled_from(["valid", "flagged", "invalid", "failed", "interrupted"])


def samples_of(times: list[float]) -> Samples:
    traces = (builders.a_trace(k, chunk_s=tuple(times), output_tokens=3) for k in range(3))
    return builders.samples_of(
        CELL,
        *traces,
        readings=Readings(
            server=(ServerReading(at_s=0.5, running=1.0),),
            host=(HostReading(at_s=0.5, cpus=2, busy_s=times[0], swapped_bytes_total=2**40),),
            absent=({"sentence": "no GPU"},),
        ),
        client=ClientHealth(cpu_fraction=0.1),
    )


class Journal(RuleBasedStateMachine):
    """The journal beside plain dictionaries that say what has to be in it."""

    template: Path  # a journal that is up to date and empty, made once

    experiments = Bundle("experiments")
    stopped = Bundle("stopped")
    runs = Bundle("runs")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="journal-machine-"))
        self.homes, self.count = 0, 0
        self.status: dict[str, str] = {}
        self.stored: dict[str, tuple[Record, Samples | None]] = {}
        shutil.copytree(self.template, self.folder / "home-0")
        self.open()

    def open(self) -> None:
        self.home = self.folder / f"home-{self.homes}"
        self.store: Store = open_store(self.home)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    # ---- what a process does -----------------------------------------------------------------

    @rule(target=experiments)
    def begin_experiment(self) -> str:
        begun = self.store.begin_experiment(Experiment(name="m"), DAY, {"cpus": 2})
        self.status[begun.id] = "running"
        return begun.id

    @rule(
        target=runs,
        experiment=experiments,
        status=statuses,
        value=st.none() | numbers,
        times=st.none() | st.lists(numbers, min_size=1, max_size=5),
    )
    def add_run(
        self, experiment: str, status: Any, value: float | None, times: list[float] | None
    ) -> str:
        self.count += 1
        record = Record(
            id=new_id(),
            experiment_id=experiment,
            cell=CELL,
            status=status,
            started_at=DAY + timedelta(seconds=self.count),
            duration_s=1.5,
            metrics={"ttft_s.p50": Figure(value, count=3)},
            doubts=(Doubt("drift", {"sentence": "It drifted: run again."}),),
        )
        samples = None if times is None else samples_of(times)
        self.store.add_run(record, samples)
        self.stored[record.id] = (record, samples)
        return record.id

    @rule(experiment=experiments, wrong=st.sampled_from([float("nan"), float("inf")]))
    def add_what_cannot_be_stored(self, experiment: str, wrong: float) -> None:
        record = Record(
            id=new_id(), experiment_id=experiment, cell=CELL, status="valid", started_at=DAY,
            duration_s=1.0, metrics={"m": Figure(1.0)},
        )  # fmt: skip
        with pytest.raises(StoreError):
            self.store.add_run(record, samples_of([0.5, wrong]))

    @rule(run=runs, value=numbers, status=statuses)
    def replace_summary(self, run: str, value: float, status: Any) -> None:
        record, samples = self.stored[run]
        figures, doubts = {"e2e_s.p50": Figure(value)}, (Doubt("a", {"sentence": "b"}, "note"),)
        self.store.replace_summary(run, figures, doubts, status)
        again = dataclasses.replace(record, metrics=figures, doubts=doubts, status=status)
        self.stored[run] = (again, samples)

    @rule(run=runs)
    def tell_mlflow(self, run: str) -> None:
        record, samples = self.stored[run]
        self.store.mark_logged(record, f"mlflow-{run}")
        again = dataclasses.replace(record, mlflow_run_id=f"mlflow-{run}")
        self.stored[run] = (again, samples)

    @rule(target=stopped, experiment=consumes(experiments), how=st.sampled_from(["done", "failed"]))
    def end_experiment(self, experiment: str, how: Any) -> str:
        self.store.end_experiment(experiment, how, DAY)
        self.status[experiment] = how
        return experiment

    @rule(target=experiments, experiment=consumes(stopped))
    def resume(self, experiment: str) -> str:
        self.store.resume_experiment(experiment)
        self.status[experiment] = "running"
        return experiment

    # ---- how a process ends ------------------------------------------------------------------

    def die(self) -> None:
        """A new process finds the files as they are at this moment; the old one is gone."""
        self.homes += 1
        shutil.copytree(self.home, self.folder / f"home-{self.homes}")
        self.store.close()
        self.open()
        for experiment, status in self.status.items():
            if status == "running":
                self.status[experiment] = "interrupted"

    @rule()
    def crash(self) -> None:
        self.die()

    @rule(experiment=experiments)
    def crash_half_way_through_a_run(self, experiment: str) -> None:
        with closing(sqlite3.connect(self.home / "journal.db", isolation_level=None)) as half:
            half.execute("PRAGMA cache_size = 1")  # so that half of it is on the disk already
            half.execute("BEGIN IMMEDIATE")
            for name in ("experiments", "journal_version"):
                half.execute(f"DELETE FROM {name}")
            for number in range(300):
                half.execute(
                    "INSERT INTO metrics (run_id, name, value) VALUES (?, ?, ?)",
                    (f"half-{number}", "x" * 500, 1.0),
                )
            self.homes += 1
            shutil.copytree(self.home, self.folder / f"home-{self.homes}")
            half.execute("ROLLBACK")
        self.store.close()
        self.open()
        for experiment_id, status in self.status.items():
            if status == "running":
                self.status[experiment_id] = "interrupted"

    @rule()
    def close_and_open_again(self) -> None:
        self.store.close()
        self.open()
        for experiment, status in self.status.items():
            if status == "running":
                self.status[experiment] = "interrupted"

    # ---- what has to be true -----------------------------------------------------------------

    @invariant()
    @precondition(lambda self: hasattr(self, "store"))
    def what_was_acknowledged_is_there_and_nothing_else(self) -> None:
        assert {run.id: run for run in self.store.runs()} == {
            run_id: record for run_id, (record, _) in self.stored.items()
        }
        assert {record.id: record.status for record in self.store.experiments()} == self.status
        for run_id, (_, samples) in list(self.stored.items())[-2:]:
            assert self.store.samples(run_id) == samples

    @rule()
    def look_at_the_file(self) -> None:
        with closing(sqlite3.connect(self.home / "journal.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_journal_through_any_life(tmp_path: Path) -> None:
    open_store(tmp_path / "template").close()
    Journal.template = tmp_path / "template"
    Journal.TestCase.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Journal.TestCase("runTest").runTest()
