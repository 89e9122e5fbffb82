"""An open loop with a limit on the requests in flight: they wait, and their wait counts."""

import json
import time

import pytest

from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed, Open
from journal.records.request import ClientHealth, Request, Trace
from journal.simulator.http import Script, running

REQUESTS, RATE, TAKES_S = 24, 100.0, 0.1


def offered() -> list[Request]:
    body = {"model": "simulated-model", "prompt": [1, 2], "max_tokens": 1, "stream": True}
    return [
        Request(
            index=index,
            body=json.dumps(body).encode(),
            prompt_tokens=2,
            output_tokens=1,
            due_s=index / RATE,
        )
        for index in range(REQUESTS)
    ]


def sent(
    most: int | None, processes: int = 1, shape: Open | Closed | None = None
) -> tuple[tuple[Trace, ...], ClientHealth]:
    with running(Script(ttft_s=TAKES_S)) as url:
        return drive(
            offered(),
            Endpoint(base_url=url, model="simulated-model"),
            shape=Open(RATE, 0.0) if shape is None else shape,
            timeout_s=20.0,
            processes=processes,
            origin_s=time.monotonic(),
            max_in_flight=most,
        )


def peak(traces: tuple[Trace, ...]) -> int:
    """The most requests in flight at the start of one."""
    return max(sum(o.start_s <= t.start_s < o.end_s for o in traces) for t in traces)


@pytest.mark.timing
@pytest.mark.parametrize("processes", [1, 2])
def test_no_more_are_in_flight_and_the_wait_counts(processes: int) -> None:
    traces, health = sent(4, processes)
    assert len(traces) == REQUESTS and {trace.outcome for trace in traces} == {"ok"}
    assert peak(traces) <= 4
    last = traces[-1]
    waves = REQUESTS / 4
    assert last.end_s - last.scheduled_s >= waves * TAKES_S - REQUESTS / RATE - 0.02
    assert last.start_s - last.scheduled_s > TAKES_S
    assert health.send_delay_p99_s is None, "the server decides when they go"


def test_all_go_when_they_are_due_without_a_limit() -> None:
    traces, health = sent(None)
    assert peak(traces) > 4
    assert health.send_delay_p99_s is not None


def test_a_closed_loop_has_its_batch_and_no_limit() -> None:
    traces, _ = sent(2, shape=Closed(6))
    assert peak(traces) > 2
