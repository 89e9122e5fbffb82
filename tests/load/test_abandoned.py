"""Users who leave: their connections are closed, and their requests have neither failed nor
ended."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import a_cell, a_trace, samples_of

from journal.doubts.rules import doubts
from journal.load.drive import drive
from journal.measure.server import ServerConnection, server_reading
from journal.metrics.table import metrics
from journal.plan.prompts import requests
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Load
from journal.records.request import Trace
from journal.records.samples import Readings, ServerReading
from journal.report.lines import reason
from journal.simulator.http import Script, running

PATIENCE_S, TOKENS = 0.15, 60


def impatient(requests: int = 4) -> Cell:
    load = Load(requests=requests, warmup=0, abandon_after_s=PATIENCE_S)
    return a_cell(engine=None, batch=2, prompt_tokens=8, output_tokens=TOKENS, load=load)


@pytest.fixture
def server() -> Iterator[Endpoint]:
    """A server whose answers take four times as long as users wait."""
    with running(Script(ttft_s=0.01, itl_s=0.01)) as url:
        yield Endpoint(base_url=url, model="simulated-model", extensions=True)


def test_users_leave_and_the_server_stops_for_them(server: Endpoint) -> None:
    cell = impatient()
    traces, _ = drive(
        requests(cell, server, "run"),
        server,
        shape=cell.shape,
        timeout_s=10.0,
        processes=1,
        origin_s=time.monotonic(),
        abandon_after_s=cell.load.abandon_after_s,
    )
    measured = [trace for trace in traces if not trace.warmup]
    assert {trace.outcome for trace in measured} == {"abandoned"}
    assert all(trace.error is None and trace.timed_out is False for trace in measured)
    for trace in measured:
        assert trace.end_s - trace.start_s == pytest.approx(PATIENCE_S, abs=0.1)
        assert 0 < len(trace.chunk_s) < TOKENS
    time.sleep(0.1)
    with ServerConnection(server) as connection:
        reading = server_reading(connection.look(), 0.0)
    assert reading.running == 0
    assert reading.output_tokens_total is not None
    assert reading.output_tokens_total < TOKENS * len(traces)


def of_two_users() -> list[Trace]:
    chunks = (0.1, 0.2, 0.3)
    stayed = {"end_s": 0.3, "chunk_s": chunks, "chunk_tokens": (1, 1, 1), "output_tokens": 3}
    left = {"end_s": 0.15, "chunk_s": chunks[:1], "chunk_tokens": (1,), "outcome": "abandoned"}
    return [a_trace(0, **stayed), a_trace(1, **left)]  # type: ignore[arg-type]


def test_figures_and_doubts_tell_leaving_from_failing() -> None:
    read = (ServerReading(at_s=0.0, output_tokens_total=0.0),)
    read += (ServerReading(at_s=1.0, output_tokens_total=7.0),)
    samples = samples_of(impatient(2), *of_two_users(), readings=Readings(server=read))
    figures = metrics(samples)
    assert (figures["abandoned"].value, figures["abandoned_fraction"].value) == (1, 0.5)
    assert (figures["errors"].value, figures["error_fraction"].value) == (0, 0)
    assert figures["abandoned_tokens"].value == 1
    assert figures["unread_tokens"].value == 7 - 4
    assert figures["ttft_s.mean"].value == pytest.approx(0.1)
    assert not {"errors", "given_up", "timed_out"} & {one.name for one in doubts(samples, figures)}


def test_a_run_that_everybody_left_says_so() -> None:
    left = [replace(of_two_users()[1], index=index) for index in range(3)]
    assert reason(impatient(3), left) == "all 3 users left before their answers were over"
    samples = samples_of(impatient(3), *left)
    (doubt,) = [d for d in doubts(samples, metrics(samples)) if d.name == "nothing_succeeded"]
    assert doubt.values["variant"] == "abandoned"


def test_a_load_of_patient_users_has_none_of_it() -> None:
    figures = metrics(samples_of(a_cell(), a_trace(chunk_tokens=(4,), output_tokens=4)))
    names = ("abandoned", "abandoned_fraction", "abandoned_tokens", "unread_tokens")
    assert [figures[name].value for name in names] == [None] * 4
