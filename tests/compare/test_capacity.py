"""Capacities: the verdicts on loads, and the highest load that holds an SLO."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.capacity import capacities, judged
from journal.metrics.statistics import proportion
from journal.plan.cells import identified
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment, Slo
from journal.records.figure import Figure
from journal.records.run import Record

Build = Callable[..., Record]
SLO = Slo(ttft_ms=200.0)
SEARCH = Experiment(name="x", find_capacity="concurrency", slo=SLO)


def ran(record: Build, batch: int, good: int, number: int = 0, **changes: object) -> Record:
    metrics = {"steady_good_fraction": proportion(good, 200)}
    made = record(batch=batch, number=100 * batch + number, metrics=metrics, **changes)
    return replace(made, cell=identified(made.cell))


def test_the_highest_that_held_and_the_lowest_above_it_that_did_not(record: Build) -> None:
    (capacity,) = capacities(
        SEARCH, [ran(record, batch, good) for batch, good in ((8, 200), (2, 200), (32, 0), (16, 0))]
    )
    assert [probe.load for probe in capacity.probes] == [2, 8, 16, 32]
    assert capacity.held is not None and capacity.beyond is not None
    assert (capacity.held.load, capacity.beyond.load, capacity.whole) == (8, 16, True)
    (never,) = capacities(SEARCH, [ran(record, 4, 0), ran(record, 2, 0)])
    assert never.held is None
    assert never.beyond is not None and never.beyond.load == 2
    (always,) = capacities(SEARCH, [ran(record, 4, 200)])
    assert always.beyond is None


def test_each_model_and_length_is_a_search_of_its_own(record: Build) -> None:
    runs = [
        ran(record, 4, 200),
        ran(record, 8, 200),
        ran(record, 4, 200, 1, model="n"),
        ran(record, 4, 200, 2, prompt_tokens=65),
        ran(record, 4, 200, 3, output_tokens=33),
        ran(record, 4, 200, 4, quantisation="awq"),
    ]
    assert [len(capacity.probes) for capacity in capacities(SEARCH, runs)] == [2, 1, 1, 1, 1]


def test_of_a_cell_that_was_tried_again_the_last_run_counts(record: Build) -> None:
    (capacity,) = capacities(SEARCH, [ran(record, 4, 0), ran(record, 4, 200, 1)])
    assert capacity.held is not None
    assert [one.id for one in capacity.held.records] == [f"{401:016x}"]


def test_a_search_with_a_run_that_was_cut_short_is_not_whole(record: Build) -> None:
    runs = [ran(record, 4, 200), ran(record, 8, 200, status="interrupted")]
    (capacity,) = capacities(SEARCH, runs)
    assert not capacity.whole
    assert [probe.load for probe in capacity.probes] == [4]
    assert capacities(SEARCH, runs[1:]) == ()


def test_without_a_search_or_an_slo_there_is_no_capacity(record: Build) -> None:
    runs = [ran(record, 4, 200)]
    assert capacities(Experiment(name="x", slo=SLO), runs) == ()
    assert capacities(replace(SEARCH, find_capacity=None), runs) == ()


@pytest.mark.parametrize(
    ("good", "whole", "verdict"),
    [(73, 73, "held"), (72, 72, "undecided"), (0, 1, "missed"), (190, 200, "undecided")],
)
def test_wilsons_interval_decides(record: Build, good: int, whole: int, verdict: str) -> None:
    """95% are asked for: 73 of 73 have a lower end of 73 / (73 + 1.96^2) = 0.950."""
    made = replace(record(), metrics={"steady_good_fraction": proportion(good, whole)})
    assert judged(1, [made], SLO).verdict == verdict


def test_requests_of_several_runs_are_added_up_and_those_of_the_whole_run_stand_in(
    record: Build,
) -> None:
    steady = {"steady_good_fraction": Figure(0.5, count=10), "good_fraction": Figure(0.1, count=20)}
    bare = {"steady_good_fraction": Figure(None, count=0), "good_fraction": Figure(0.25, count=20)}
    runs = [replace(record(number=n), metrics=m) for n, m in enumerate((steady, bare))]
    capacity = judged(1, runs, SLO)
    assert (capacity.good.value, capacity.good.count) == (pytest.approx(10 / 30), 30)


def test_a_fault_of_the_client_is_one_only_where_every_run_has_it(record: Build) -> None:
    late, clean = Doubt("client_saturated", {}, "flag"), Doubt("falls_behind", {}, "flag")
    runs = [
        replace(ran(record, 4, 200, n), doubts=(doubt,)) for n, doubt in enumerate((late, clean))
    ]
    assert judged(4, runs[:1], SLO).clients_fault
    assert not judged(4, runs, SLO).clients_fault
    assert judged(4, runs, SLO).overloaded
    assert not judged(4, runs[:1], SLO).overloaded
