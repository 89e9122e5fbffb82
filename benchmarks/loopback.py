"""Repeats of one cell against the simulated server, whose steps share a noise of 10%."""

import time

from journal.doubts.loading import CLIENT_DELAY_FLOOR_S
from journal.load.drive import drive
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.experiment import Experiment, Grid, Load
from journal.records.figure import Metrics
from journal.records.samples import Readings, Samples
from journal.serve.endpoint import attach
from journal.simulator.http import Script

BATCH, REQUESTS, TOKENS = 8, 80, 16
NOISE = 0.1
TRIES = 4
SCRIPT = Script(ttft_s=0.01, itl_s=0.01, noise_fraction=NOISE, noise_seed=7)


def repeats(base_url: str, count: int, keep_late: bool = False) -> list[Metrics]:
    """The metrics of `count` runs of the cell, one after the other, at a server of SCRIPT. A run
    whose client woke too late, since others used the machine, is made again unless `keep_late`: it
    would be flagged as client_saturated; fewer runs where TRIES times the count are not enough."""
    endpoint = attach(base_url)
    experiment = Experiment(
        name="loopback",
        grid=Grid(batch=(BATCH,), prompt_tokens=(16,), output_tokens=(TOKENS,)),
        load=Load(requests=REQUESTS, warmup=2),
    )
    (cell,) = cells(experiment, model=endpoint.model)
    runs: list[Metrics] = []
    for number in range(TRIES * count):
        traces, client = drive(
            requests(cell, endpoint, f"repeat {number}"),
            endpoint,
            shape=cell.shape,
            timeout_s=20.0,
            processes=1,
            origin_s=time.monotonic(),
        )
        late_s = client.loop_delay_p99_s
        if not keep_late and late_s is not None and late_s > CLIENT_DELAY_FLOOR_S:
            continue
        samples = Samples(
            cell=cell, facts=endpoint.facts, traces=traces, readings=Readings(), client=client
        )
        runs.append(metrics(samples))
        if len(runs) == count:
            break
    return runs
