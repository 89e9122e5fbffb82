"""Closed and open loop, one process and several; what is left behind when one is interrupted."""

import asyncio
import gc
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders import a_cell

from journal.errors import EndpointError, MeasureError, UsageError
from journal.load.drive import drive, processes_for
from journal.load.wire import Recording
from journal.plan.prompts import requests as drawn
from journal.records.engine import Endpoint
from journal.records.experiment import Load
from journal.records.load_shape import Closed, Open
from journal.records.request import ClientHealth, Request, Trace

Start = Callable[..., str]
TOKENS = 5
PATHS = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
PROGRAM = """
import json, sys, time
from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed
from journal.records.request import Request
body = {"model": "simulated-model", "prompt": [1], "max_tokens": 2, "stream": True,
        "stream_options": {"include_usage": True}}
requests = [Request(index=k, body=json.dumps(body).encode(), prompt_tokens=1, output_tokens=2)
            for k in range(40)]
url, processes = sys.argv[1], int(sys.argv[2])
try:
    drive(requests, Endpoint(base_url=url, model="m"), shape=Closed(4), timeout_s=60.0,
          processes=processes, origin_s=time.monotonic(),
          on_done=lambda trace: print(trace.outcome, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def requests(
    measured: int, warmup: int = 0, rate: float | None = None, tokens: int = TOKENS
) -> list[Request]:
    body = {
        "model": "simulated-model",
        "prompt": [1, 2, 3],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return [
        Request(
            index=k,
            body=json.dumps(body).encode(),
            prompt_tokens=3,
            output_tokens=tokens,
            warmup=k < warmup,
            due_s=None if rate is None or k < warmup else (k - warmup) / rate,
        )
        for k in range(warmup + measured)
    ]


def driven(
    url: str, offered: Sequence[Request], batch: int | None = None, **options: Any
) -> tuple[tuple[Trace, ...], ClientHealth]:
    options = {"processes": 1, "timeout_s": 30.0, "origin_s": time.monotonic(), **options}
    shape = Open(1.0) if batch is None else Closed(batch)  # when they go, the requests say
    return drive(offered, Endpoint(base_url=url, model="simulated-model"), shape=shape, **options)


def most_in_flight(traces: Sequence[Trace]) -> int:
    changes = sorted([(t.start_s, 1) for t in traces] + [(t.end_s, -1) for t in traces])
    return max(itertools.accumulate(change for _, change in changes))


@pytest.mark.timing
@pytest.mark.parametrize("processes", [1, 2])
def test_a_closed_loop_keeps_the_batch_in_flight(fake_server: Start, processes: int) -> None:
    url = fake_server(ttft_s=0.2, itl_s=0.02)
    done: list[Trace] = []
    traces, health = driven(
        url, requests(18, warmup=6), batch=6, processes=processes, on_done=done.append
    )
    warmup, measured = traces[:6], traces[6:]
    assert [trace.index for trace in traces] == list(range(24))
    assert all(trace.outcome == "ok" for trace in traces)
    assert all(trace.warmup for trace in warmup) and not any(t.warmup for t in measured)
    assert most_in_flight(measured) == 6
    assert 6 / processes <= most_in_flight(warmup) <= 6  # each process begins when it is up
    assert max(trace.end_s for trace in warmup) <= min(trace.start_s for trace in measured)
    assert all(trace.scheduled_s == trace.start_s for trace in traces)
    assert all(trace.chunk_s[0] - trace.start_s >= 0.2 for trace in traces)
    assert sorted(done, key=lambda trace: trace.index) == list(traces)
    assert health.processes == processes and health.send_delay_p99_s is None
    assert health.cpu_fraction is not None and 0 < health.cpu_fraction <= 1.1
    assert health.loop_delay_max_s is not None and health.loop_delay_p99_s is not None
    assert 0 <= health.loop_delay_p99_s <= health.loop_delay_max_s


def planned(
    batch: int, count: int, warmup: int = 2, output_tokens: int = 32, convoy: bool = False
) -> list[Request]:
    """The requests of a cell, whose streams are spread or not."""
    load = Load(requests=count, warmup=warmup, convoy=convoy)
    cell = a_cell(batch=batch, prompt_tokens=8, output_tokens=output_tokens, load=load)
    return list(drawn(cell, Endpoint(base_url="http://x", model="simulated-model"), "run"))


@pytest.mark.alone
@pytest.mark.parametrize("processes", [1, 2])
def test_the_streams_of_a_closed_loop_stay_spread(fake_server: Start, processes: int) -> None:
    """Eight streams of 330 ms: a request begins every 41 ms, with eight in flight from the first
    measured one to the last one's end."""
    url = fake_server(ttft_s=0.02, itl_s=0.01)
    traces, _ = driven(url, planned(8, 40), batch=8, processes=processes)
    assert [trace.warmup for trace in traces] == [True] * 17 + [False] * 40 + [True] * 7
    measured = traces[17:57]
    starts = sorted(trace.start_s for trace in measured)
    turn_s = statistics.median(trace.end_s - trace.start_s for trace in measured)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert statistics.median(gaps_s) == pytest.approx(turn_s / 8, rel=0.25)
    assert sum(gap_s < turn_s / 32 for gap_s in gaps_s) <= 4
    first_s, last_s = starts[0], max(trace.end_s for trace in measured)
    busy_s = sum(
        max(0.0, min(trace.end_s, last_s) - max(trace.start_s, first_s)) for trace in traces
    )
    assert busy_s / (last_s - first_s) == pytest.approx(8, rel=0.05)


@pytest.mark.alone
def test_requests_that_are_mostly_prompt_are_spread_by_the_ttft_of_the_warm_up(
    fake_server: Start,
) -> None:
    url = fake_server(ttft_s=0.4, itl_s=0.01)
    traces, _ = driven(url, planned(4, 8, output_tokens=1), batch=4)
    begun = [trace.start_s for trace in traces[2:6]]
    assert [later - begun[0] for later in begun] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.05)
    traces, _ = driven(url, planned(4, 8, warmup=0, output_tokens=1), batch=4)
    assert max(trace.start_s for trace in traces[:4]) - traces[0].start_s < 0.05


@pytest.mark.alone
def test_prompts_that_block_decodes_tell_a_convoy_from_spread_streams(fake_server: Start) -> None:
    """A prompt takes 16 ms, in which no other token is made: 16 that come together 256 ms."""
    url = fake_server(ttft_s=0.0, itl_s=0.01, prefill_s_per_token=0.002, prefill_blocks=True)
    ttft_s = []
    for convoy in (True, False):
        offered = planned(16, 48, output_tokens=16, convoy=convoy)
        traces, _ = driven(url, offered, batch=16)
        waits = [t.chunk_s[0] - t.start_s for t in traces if not t.warmup]
        ttft_s.append(statistics.median(waits))
    assert ttft_s[0] > 0.2 > 3 * ttft_s[1]


@pytest.mark.alone
@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_loop_keeps_its_schedule_whatever_the_server_does(
    fake_server: Start, processes: int
) -> None:
    url = fake_server(ttft_s=0.01, itl_s=0.0, stall_at_s=0.2, stall_s=0.6)
    traces, health = driven(url, requests(60, rate=100.0), processes=processes)
    first_s = traces[0].scheduled_s
    for k, trace in enumerate(traces):
        assert trace.scheduled_s == pytest.approx(first_s + k / 100)
        assert trace.start_s >= trace.scheduled_s
        assert trace.outcome == "ok"
    # Every request that was due in the stall waited for its end: none hid behind another.
    waits = [trace.chunk_s[0] - trace.scheduled_s for trace in traces]
    assert sum(wait > 0.4 for wait in waits) >= 15
    assert most_in_flight(traces) >= 15
    assert health.send_delay_p99_s is not None and health.send_delay_p99_s >= 0


def test_an_open_loop_warms_up_first(fake_server: Start) -> None:
    traces, _ = driven(fake_server(ttft_s=0.05), requests(3, warmup=2, rate=50.0))
    assert max(t.end_s for t in traces[:2]) <= min(t.scheduled_s for t in traces[2:])


def test_times_count_from_the_origin(fake_server: Start) -> None:
    origin_s = time.monotonic() - 1000.0
    traces, _ = driven(fake_server(ttft_s=0.0, itl_s=0.0), requests(1), 1, origin_s=origin_s)
    assert 1000.0 <= traces[0].start_s <= traces[0].chunk_s[0] <= traces[0].end_s < 1060.0


def test_more_lanes_than_requests(fake_server: Start) -> None:
    traces, _ = driven(fake_server(ttft_s=0.0), requests(2), batch=50, processes=3)
    assert len(traces) == 2


@pytest.mark.timing
def test_a_server_that_dies_leaves_errors_and_an_end(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.05, itl_s=0.0)
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    server = next(
        child
        for child in psutil.Process().children()
        if any(place.laddr.port == port for place in child.net_connections())
    )
    traces, _ = driven(url, requests(40), batch=2, on_done=lambda _: server.kill())
    outcomes = [trace.outcome for trace in traces]
    assert outcomes[0] == "ok" and outcomes[-10:] == ["error"] * 10
    reasons = {trace.error for trace in traces[-10:]}
    assert reasons == {"cannot connect: Connection refused"}


@pytest.mark.timing
def test_no_more_are_sent_when_too_many_fail(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.01, itl_s=0.0, fault="error_in_stream")
    traces, _ = driven(url, requests(200), batch=1, max_error_rate=0.1)
    assert 51 <= len(traces) < 100
    assert [trace.index for trace in traces] == list(range(len(traces)))
    traces, _ = driven(url, requests(200, rate=40.0), max_error_rate=0.1)
    assert 51 <= len(traces) < 150
    assert len(driven(url, requests(60), batch=8, max_error_rate=1.0)[0]) == 60


def test_few_requests_are_seen_through_whatever_fails(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0, fault="status")
    assert len(driven(url, requests(50), batch=4, max_error_rate=0.0)[0]) == 50


@pytest.mark.timing
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_server_that_stands_still_is_given_up(fake_server: Start, batch: int) -> None:
    url = fake_server(ttft_s=0.01, itl_s=0.0, stall_at_s=0.1, stall_s=600.0)
    traces, _ = driven(url, requests(1000), batch=batch, timeout_s=0.5)
    outcomes = [trace.outcome for trace in traces]
    assert outcomes[0] == "ok"
    assert 2 <= outcomes.count("error") <= batch + 3
    assert "timeout" in str(traces[-1].error)


@pytest.mark.timing
def test_one_time_out_among_answers_does_not_end_the_load(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0, fault="stalled", fault_every=3)
    traces, _ = driven(url, requests(9), batch=1, timeout_s=0.4)
    assert [trace.outcome for trace in traces].count("error") == 3
    assert len(traces) == 9


def test_the_garbage_collector_is_as_it_was(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0)
    interval_s = sys.getswitchinterval()
    driven(url, requests(1), 1)
    assert gc.isenabled() and sys.getswitchinterval() == interval_s


def test_the_drive_works_without_uvloop(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0)
    program = (
        "import sys\nsys.modules['uvloop'] = None\n" + PROGRAM + "\nprint(health.event_loop)\n"
    ).replace("    drive(", "    _, health = drive(")
    done = subprocess.run(
        [sys.executable, "-c", program, url, "1"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["ok"] * 40 + ["asyncio"]


def test_a_long_load_keeps_no_answer_that_was_read(fake_server: Start) -> None:
    """While a load runs nothing collects what refers to itself, so nothing may."""
    url, kept = fake_server(ttft_s=0.005, itl_s=0.0), []
    gc.collect()  # the recordings that other tests left

    def count(_: Trace) -> None:
        kept.append(sum(type(one) is Recording for one in gc.get_objects()))

    traces, _ = driven(url, requests(60), batch=2, on_done=count)
    assert len(traces) == len(kept) == 60
    assert kept[-1] <= 4  # all were sent, and all but this one have been passed on


def test_inside_a_running_event_loop(fake_server: Start) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0)

    async def notebook() -> ClientHealth:
        return driven(url, requests(4), 2)[1]

    assert asyncio.run(notebook()).processes == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [({"batch": 0}, "batch"), ({"batch": 1, "processes": 0}, "processes"), ({}, "no due time")],
)
def test_loads_that_cannot_be(fake_server: Start, options: dict[str, int], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        driven(fake_server(), requests(2), **options)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_unreachable_server_is_reported_in_one_sentence(processes: int) -> None:
    with pytest.raises(EndpointError, match=r"cannot connect to 127\.0\.0\.1 port 9"):
        driven("http://127.0.0.1:9/v1", requests(4), batch=2, processes=processes)


def test_the_default_number_of_processes_follows_the_load() -> None:
    cores = len(os.sched_getaffinity(0))
    assert processes_for(requests(1), Closed(16)) == 1
    assert processes_for(requests(10, rate=5.0), Open(5.0)) == 1
    assert processes_for(requests(1), Closed(100_000)) == max(1, cores // 2)


@pytest.mark.parametrize(("cores", "most"), [(1, 1), (2, 1), (8, 4), (9, 4)])
def test_processes_leave_half_of_the_cores_to_the_server(
    monkeypatch: pytest.MonkeyPatch, cores: int, most: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert processes_for(requests(1), Closed(100_000)) == most
    assert processes_for(requests(1), Closed(1)) == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert processes_for(requests(1), Closed(100_000)) == most
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes_for(requests(1), Closed(100_000)) == 1


def mine() -> list[psutil.Process]:
    """The load workers that this process started and that live."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "journal.load.workers" in child.cmdline()
    ]


@pytest.mark.timing
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_worker_that_is_killed_is_reported(fake_server: Start, after: int) -> None:
    """In its warm-up, when all that is missing is the word to begin, and while it measures."""
    url, received = fake_server(ttft_s=0.0, itl_s=0.2), []

    def kill_one(trace: Trace) -> None:
        received.append(trace)
        if len(received) == after:
            time.sleep(0.1)  # it may say that it is ready meanwhile
            mine()[0].kill()

    with pytest.raises(MeasureError, match=r"worker ended .* \(exit code -9\)"):
        driven(url, requests(8, warmup=2), batch=2, processes=2, on_done=kill_one)
    assert not mine()


def running_on(url: str) -> float:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(x.split()[-1]) for x in lines if x.startswith("vllm:num_requests_running{"))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.timing
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_after_a_signal(
    fake_server: Start, gone: Callable[..., bool], processes: int, kind: signal.Signals
) -> None:
    url = fake_server(ttft_s=0.05, itl_s=30.0, fault="short", fault_every=5)
    load = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(processes)], stdout=subprocess.PIPE, text=True
    )
    assert load.stdout is not None
    wait_until(lambda: running_on(url) == 4)
    started = psutil.Process(load.pid).children()
    load.send_signal(kind)
    words = load.stdout.read().split()
    load.stdout.close()
    assert load.wait(20) == (0 if kind == signal.SIGINT else -signal.SIGKILL)
    if kind == signal.SIGINT:
        assert words[-1] == "interrupted"
    wait_until(lambda: running_on(url) == 0)
    assert len(started) == (processes if processes > 1 else 0)
    assert gone(one.pid for one in started)


MANY = """
import resource, sys
hard = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from test_drive import driven, requests
from journal.errors import UsageError
try:
    traces, _ = driven(sys.argv[1], requests(1024, tokens=2), batch=1024, timeout_s=120.0)
    print(sum(trace.outcome == "ok" for trace in traces))
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        (4096, "1024"),
        (
            256,
            "1088 open files are needed and this system allows 256: raise the limit (ulimit -Hn) "
            "or lower the batch",
        ),
    ],
    ids=["raised to what the system allows", "refused"],
)
def test_streams_beyond_the_limit_on_open_files(fake_server: Start, hard: int, said: str) -> None:
    """1,024 of them under `ulimit -n 256`, of which the system allows more, or does not."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, fake_server(ttft_s=0.05, itl_s=0.0), str(hard)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), *PATHS])},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.strip() == said, done.stderr
