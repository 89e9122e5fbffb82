"""Collected runs are kept once, and know their neighbours."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import journal
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment
from journal.records.progress import Event, ignore
from journal.records.request import ClientHealth
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Readings, Samples
from journal.run.parallel.collector import Collector
from journal.run.parallel.messages import Arrived, Ended, Made, Message, Task
from journal.serve.start import start

ENGINES = Engine(model="first"), Engine(model="second"), Engine(model="third")
GRID = journal.Grid(batch=(1, 2))
CELLS = journal.plan(Experiment(name="e", engines=ENGINES, grid=GRID)).cells
BEGUN = ExperimentRecord(id="e1", experiment=Experiment(name="e"), started_at=datetime.now(UTC))
TASKS = [Task(CELLS[n : n + 2], BEGUN, {}, Path("log"), start) for n in (0, 2, 4)]


def made(cell: Cell, run_id: str, lasted_s: float = 4.0) -> Made:
    facts = EngineFacts()
    record = Record(
        id=run_id,
        experiment_id=BEGUN.id,
        cell=cell,
        status="valid",
        started_at=datetime.now(UTC),
        duration_s=lasted_s,
        facts=facts,
    )
    return Made(
        record,
        Samples(cell=cell, facts=facts, traces=(), readings=Readings(), client=ClientHealth()),
    )


class Lab:
    """Letters go in; `kept` is what was stored, `answers` the answers to their senders."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.answers: list[Record] = []
        self.home = Collector(TASKS, self.keep, ignore, lambda number, news: news.host)

    def keep(self, record: Record, samples: Samples | None) -> Record:
        assert samples is None or samples.facts == record.facts
        self.kept.append(record)
        return record

    def hear(self, number: int, at_s: float, news: Arrived | Event | Made | Ended) -> None:
        self.home.take(number, Message(at_s, news), self.answers.append)


LOADING, LOADED = Event("engine", "loading"), Event("cell", "cell 1 of 2")


def test_a_run_knows_who_was_busy_beside_it_on_its_host() -> None:
    lab = Lab()
    lab.hear(0, 0.0, Arrived("here", (0,)))
    lab.hear(1, 1.0, Arrived("here", (1, 2)))
    lab.hear(2, 1.0, Arrived("elsewhere", (0,)))
    for number in (1, 2):
        lab.hear(number, 2.0, LOADING)
        lab.hear(number, 7.0, LOADED)
        lab.hear(number, 11.0, made(CELLS[2 * number], f"run {number}"))
    lab.hear(0, 10.0, LOADED)
    lab.hear(0, 14.0, made(CELLS[0], "run 0"))
    lab.hear(1, 17.0, LOADED)
    lab.hear(0, 20.0, made(CELLS[1], "run 3", lasted_s=5.0))
    lab.home.leave(1, None)
    lab.hear(0, 30.0, made(CELLS[1], "run 4"))
    neighbours = {record.id: record.facts.neighbours for record in lab.kept}
    assert [(n.model, n.gpus, n.busy_s) for n in neighbours["run 0"]] == [
        ("second", (1, 2), ((0.0, 1.0),))
    ]
    assert [(n.model, n.busy_s) for n in neighbours["run 3"]] == [("second", ((2.0, 5.0),))]
    assert [(n.model, n.gpus) for n in neighbours["run 1"]] == [("first", (0,))]
    assert neighbours["run 2"] == () and "run 4" not in neighbours


def test_the_same_cell_is_kept_once() -> None:
    """As when a host that was given up for lost is heard of again."""
    lab = Lab()
    lab.hear(0, 0.0, Arrived("lost", ()))
    lab.hear(0, 5.0, made(CELLS[0], "first"))
    lab.hear(0, 0.0, Arrived("another", ()))
    lab.hear(0, 5.0, made(CELLS[0], "second"))
    assert [record.id for record in lab.kept] == ["first"]
    assert [record.id for record in lab.answers] == ["first", "first"]
    assert set(lab.home.records) == {CELLS[0].identity}


def test_a_run_that_was_stopped_does_not_stand_for_its_cell() -> None:
    lab = Lab()
    lab.hear(0, 0.0, Arrived("here", ()))
    whole = made(CELLS[0], "half")
    half = Made(replace(whole.record, status="interrupted"), whole.samples)
    lab.hear(0, 5.0, half)
    assert lab.home.records == {}
    lab.hear(0, 9.0, whole)
    assert lab.home.records[CELLS[0].identity].status == "valid"


def test_cells_that_did_not_come_home_have_failed_unless_their_task_ended() -> None:
    lab = Lab()
    lab.hear(0, 0.0, Arrived("here", ()))
    lab.hear(0, 5.0, made(CELLS[0], "first"))
    lab.home.leave(0, "it was killed")
    assert [(r.cell, r.status, r.error) for r in lab.kept[1:]] == [
        (CELLS[1], "failed", "it was killed")
    ]
    lab.hear(1, 0.0, Arrived("here", ()))
    lab.hear(1, 1.0, Ended())
    lab.home.leave(1, "it was killed")
    assert len(lab.kept) == 2
