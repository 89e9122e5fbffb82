"""Loads that last for a time: how many requests they send is the server's to decide."""

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from builders import a_cell, a_record, samples_of

from journal.compare.points import points
from journal.compare.setups import Setup
from journal.doubts.rules import doubts
from journal.errors import SpecError
from journal.load.drive import drive
from journal.metrics.table import metrics
from journal.plan.cells import cells, identified
from journal.plan.plan import cost
from journal.plan.prompts import endless, requests
from journal.plan.sequence import ROUND, group, lengths
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.request import Request, Trace
from journal.records.workload import Workload
from journal.run.as_sent import all_sent, sent_hash, with_count
from journal.simulator.http import Script, running

LASTS_S, STREAMS = 0.3, 3


def lasting(**changes: Any) -> Cell:
    load = Load(
        **{"requests": ROUND, "warmup": 2, "duration_s": LASTS_S, **changes.pop("load", {})}
    )
    given = {"engine": None, "batch": STREAMS, "prompt_tokens": 20, "output_tokens": 6}
    return a_cell(**{**given, **changes}, load=load)


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with running(Script(ttft_s=0.002, itl_s=0.002)) as url:
        yield Endpoint(base_url=url, model="simulated-model", extensions=True)


def sent(cell: Cell, server: Endpoint, processes: int = 1) -> tuple[list[Request], list[Trace]]:
    """The requests that were sent, and their traces."""
    whole = requests(cell, server, "run")
    prepared, more = endless(cell, server, "run", whole)
    traces, _ = drive(
        prepared,
        server,
        shape=cell.shape,
        timeout_s=5.0,
        processes=processes,
        origin_s=time.monotonic(),
        duration_s=cell.load.duration_s,
        endless=more,
    )
    made = {one.index: one for one in all_sent(whole, more, traces)}
    return [made[trace.index] for trace in traces], list(traces)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("turns", [1, 3])
def test_requests_are_sent_until_the_time_is_over(
    server: Endpoint, processes: int, turns: int
) -> None:
    cell = lasting(workload=Workload(turns=turns))
    made, traces = sent(cell, server, processes)
    measured = [trace for trace in traces if not trace.warmup]
    begun_s = min(trace.start_s for trace in measured)
    assert all(trace.start_s <= begun_s + LASTS_S + 0.05 for trace in measured)
    assert max(trace.end_s for trace in measured) > begun_s + LASTS_S - 0.1
    assert len(measured) > 2 * STREAMS
    assert len({trace.index for trace in traces}) == len(traces)
    assert len({one.content for one in made}) == len(made), "no prompt goes twice"
    cell = with_count(cell, traces)
    assert cell.load.requests == len(measured)
    figures = metrics(samples_of(cell, *traces))
    assert figures["requests"].value == len(measured)
    assert "given_up" not in {doubt.name for doubt in doubts(samples_of(cell, *traces), figures)}


def test_streams_are_kept_busy_while_the_last_measured_requests_end(server: Endpoint) -> None:
    _, traces = sent(lasting(), server)
    last_s = max(trace.start_s for trace in traces if not trace.warmup)
    after = [trace for trace in traces if trace.warmup and trace.start_s > last_s]
    assert len(after) == STREAMS - 1


def test_the_same_bytes_have_the_same_hash(server: Endpoint) -> None:
    cell = lasting(batch=1)
    made, traces = sent(cell, server)
    again, _ = sent(cell, server)
    assert sent_hash(made, traces[:8]) == sent_hash(again, traces[:8])


def test_lengths_have_their_means_in_each_round() -> None:
    cell = lasting(load={"length_spread": 0.5}, prompt_tokens=100)
    for begin in (0, ROUND):
        drawn = [one for n in range(begin, begin + ROUND) for one in group(cell, lengths(cell), n)]
        assert fmean(one.prompt_tokens for one in drawn) == 100
        assert len({one.prompt_tokens for one in drawn}) > 20


def test_runs_of_one_duration_are_one_point_however_many_requests_they_sent() -> None:
    few, many = (
        replace(lasting(), load=replace(lasting().load, requests=count)) for count in (40, 50)
    )
    assert identified(few).identity == identified(many).identity
    records = [replace(a_record(number=n), cell=one) for n, one in enumerate((few, many))]
    setup = Setup("m", None, ())
    assert len(points([(record, setup) for record in records])) == 1


def test_a_load_that_ended_before_its_time_is_invalid() -> None:
    cell = with_count(lasting(), [])
    trace = Trace(
        index=0,
        warmup=False,
        scheduled_s=0.0,
        start_s=0.0,
        end_s=0.5 * LASTS_S,
        outcome="ok",
        prompt_tokens_asked=20,
        output_tokens_asked=6,
        chunk_s=(0.01,),
    )
    samples = samples_of(cell, trace)
    (doubt,) = [one for one in doubts(samples, metrics(samples)) if one.name == "given_up"]
    assert (doubt.severity, doubt.values["variant"]) == ("invalid", "early")


def test_an_open_loop_sends_what_is_due_in_the_time() -> None:
    asked = Experiment(name="x", grid=Grid(rate=(2.0, 5.0)), load=Load(duration_s=60.0))
    assert [cell.load.requests for cell in cells(asked, model="m")] == [120, 300]
    closed = Experiment(name="x", grid=Grid(batch=(2, 4)), load=Load(duration_s=60.0))
    price = cost(cells(closed, model="m"))
    assert price.load_s == 120.0
    assert price.requests == 2 * 2 + sum(2 * batch - 1 + batch - 1 for batch in (2, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": Workload(trace="t.csv", content="ff")},
        {"grid": Grid(rate=(1.0,)), "workload": Workload(prompts="p.jsonl", content="ff")},
        {"find_capacity": "rate"},
    ],
)
def test_a_time_for_a_load_that_has_its_own_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="takes the place of a count"):
        cells(Experiment(**{"name": "x", "load": Load(duration_s=1.0), **changes}), model="m")
