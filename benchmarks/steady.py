"""Does the load generator's memory stay flat? One process, one load after the other, for a while.

    python -m benchmarks.steady [--seconds 300] [--write]

Each load is what a cell is: requests are drawn, sent and traced beside the meters, and summed up.
Prints the resident memory at the end of the first half and of the second, and by how much it grew;
ends with 1 where that is 5% or more. `--write` puts the figures into docs/reliability.md.
"""

import argparse
import gc
import sys
import time
from dataclasses import dataclass

import psutil

from benchmarks.page import RELIABILITY, put
from journal.doubts.rules import doubts
from journal.load.drive import drive
from journal.measure.sampler import Sampler
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.samples import Samples
from journal.serve.endpoint import attach
from journal.simulator.http import Script, running

LIMIT = 0.05


@dataclass(frozen=True)
class Steadiness:
    """Resident memory in bytes at the half and at the end, and what was done until then."""

    half_bytes: int
    end_bytes: int
    loads: int
    requests: int
    chunks: int

    @property
    def growth(self) -> float:
        return self.end_bytes / self.half_bytes - 1.0


def steady(seconds: float, url: str) -> Steadiness:
    """Loads on the server at `url` for `seconds`, and this process's memory meanwhile."""
    endpoint, me = attach(url), psutil.Process()
    began_s, loads, sent, chunks, half_bytes = time.monotonic(), 0, 0, 0, 0
    while (took_s := time.monotonic() - began_s) < seconds or not half_bytes:
        if took_s >= seconds / 2 and not half_bytes:
            half_bytes = _resident(me)
        traces = _one_load(endpoint, loads)
        loads, sent = loads + 1, sent + len(traces)
        chunks += sum(len(trace.chunk_s) for trace in traces)
        del traces
    return Steadiness(half_bytes, _resident(me), loads, sent, chunks)


def _one_load(endpoint: Endpoint, number: int) -> tuple:  # type: ignore[type-arg]
    experiment = Experiment(
        name="steady",
        grid=Grid(batch=(32,), prompt_tokens=(64,), output_tokens=(32,)),
        load=Load(requests=320, warmup=2),
    )
    (cell,) = cells(experiment, model=endpoint.model)
    origin_s = time.monotonic()
    with Sampler(endpoint, origin_s) as sampler:
        traces, client = drive(
            requests(cell, endpoint, str(number)),
            endpoint,
            shape=cell.shape,
            timeout_s=30.0,
            processes=1,
            origin_s=origin_s,
        )
    assert all(trace.outcome == "ok" for trace in traces)
    samples = Samples(
        cell=cell, facts=endpoint.facts, traces=traces, readings=sampler.readings, client=client
    )
    doubts(samples, metrics(samples))
    return traces


def _resident(me: psutil.Process) -> int:
    gc.collect()
    return int(me.memory_info().rss)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options = parser.parse_args()
    with running(Script(ttft_s=0.01, itl_s=0.002)) as url:
        memory = steady(options.seconds, url)
    text = sentence(memory)
    print(text)
    if options.write:
        put("steady", text, RELIABILITY)
    return 0 if memory.growth < LIMIT else 1


def sentence(memory: Steadiness) -> str:
    """The steadiness in a sentence."""
    half, end = (size / 2**20 for size in (memory.half_bytes, memory.end_bytes))
    return (
        f"{memory.loads} loads, {memory.requests:,} requests, {memory.chunks:,} chunks: resident "
        f"memory {half:.1f} MiB at the half, {end:.1f} MiB at the end, {100 * memory.growth:+.2f}"
        f"% (limit {100 * LIMIT:g}%)."
    )


if __name__ == "__main__":
    sys.exit(main())
