"""Calibration of the doubts about open loops.

    python -m benchmarks.calibrate_open [--trials 200] [--only " | 1.2 | 300 "] [--write]

Requests arrive at random times, on a schedule that comes to its rate as the journal's own do, at a
server of known capacity, without a wall clock. The doubts are those of `journal run`. `--write`
puts the table into docs/calibration.md, with `--only` those rows alone; rows of more than 300
requests stand on fewer runs.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.page import calibration, put_table
from journal.doubts import loading
from journal.doubts.rule import Case as Doubted
from journal.metrics.arrays import Array
from journal.metrics.table import named
from journal.metrics.view import View
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Load
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Readings, Samples

TRIALS = 200
SHORT = 300  # requests: a longer run counts for several
HEAD = (
    "| server | load | requests | slower from the middle on | `falls_behind` | `overload_unseen` "
    "| `drift` | runs |\n| --- | --: | --: | --: | --: | --: | --: | --: |"
)
LANES, LASTS_S, TTFT_S = 4, 0.1, 0.06
STEP_S, STEP_PER_STREAM_S, TOKENS = 0.01, 0.001, 32
STREAMS = {"batch": 16, "room": 64}
PER_S = {
    "fixed": LANES / LASTS_S,
    "random": LANES / LASTS_S,
    **{
        name: streams / (STEP_S + STEP_PER_STREAM_S * streams) / TOKENS
        for name, streams in STREAMS.items()
    },
}
NAMES = {
    "fixed": "4 lanes, 100 ms each",
    "random": "4 lanes, 100 ms on average, exponential",
    **{
        name: f"steps shared by up to {streams} requests of 16 to 48 tokens"
        for name, streams in STREAMS.items()
    },
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """`requests` at `load` times what the server can answer; from the middle on each of them takes
    `slower` times as long (1 where nothing drifts)."""

    server: str = "fixed"
    load: float = 0.8
    requests: int = 300
    slower: float = 1.0


def arrivals(chance: np.random.Generator, requests: int, rate_per_s: float) -> Array:
    """Times in s from the first on, whose mean rate is exactly `rate_per_s`."""
    at_s = np.concatenate([[0.0], np.cumsum(chance.exponential(size=requests - 1))])
    scaled: Array = at_s * (requests - 1) / rate_per_s / at_s[-1]
    return scaled


def in_lanes(arrive_s: Array, lasts_s: Array, lanes: int = LANES) -> Array:
    """When each request begins to be served, first come first served in `lanes`."""
    free_s = [0.0] * lanes
    begin_s = np.empty(len(arrive_s))
    for place, (at_s, long_s) in enumerate(zip(arrive_s.tolist(), lasts_s.tolist(), strict=True)):
        begin_s[place] = max(heapq.heappop(free_s), at_s)
        heapq.heappush(free_s, begin_s[place] + long_s)
    return begin_s


def in_batch(
    arrive_s: Array, tokens: list[int], slower: float, streams: int
) -> tuple[Array, Array]:
    """When the first and the last token of each request come, from an engine whose step makes one
    token for each of up to `streams` requests, and takes longer for each of them."""
    first_s, last_s = np.full(len(arrive_s), np.nan), np.empty(len(arrive_s))
    waiting, running = list(range(len(arrive_s)))[::-1], dict[int, int]()
    now_s = 0.0
    while waiting or running:
        if not running:
            now_s = max(now_s, float(arrive_s[waiting[-1]]))
        while waiting and len(running) < streams and arrive_s[waiting[-1]] <= now_s:
            place = waiting.pop()
            running[place] = tokens[place]
        late = 2 * len(waiting) < len(arrive_s)
        now_s += (STEP_S + STEP_PER_STREAM_S * len(running)) * (slower if late else 1.0)
        for place in list(running):
            first_s[place] = now_s if np.isnan(first_s[place]) else first_s[place]
            running[place] -= 1
            if not running[place]:
                last_s[place] = now_s
                del running[place]
    return first_s, last_s


def samples(cell: Cell, arrive_s: Array, first_s: Array, last_s: Array, tokens: int = 2) -> Samples:
    """The samples of a run of `cell`, each of whose requests has two chunks, at known times; the
    second holds all `tokens` but one."""
    traces = tuple(
        Trace(
            index=index,
            warmup=False,
            scheduled_s=at_s,
            start_s=at_s,
            end_s=end_s,
            outcome="ok",
            prompt_tokens_asked=cell.prompt_tokens,
            output_tokens_asked=tokens,
            chunk_s=(chunk_s, end_s),
            chunk_tokens=(1, tokens - 1),
            prompt_tokens=cell.prompt_tokens,
            output_tokens=tokens,
            finish_reason="length",
            status=200,
        )
        for index, (at_s, chunk_s, end_s) in enumerate(
            zip(arrive_s.tolist(), first_s.tolist(), last_s.tolist(), strict=True)
        )
    )
    return Samples(
        cell=cell, facts=EngineFacts(), traces=traces, readings=Readings(), client=ClientHealth()
    )


def cell_of(case: Case) -> Cell:
    return Cell(
        experiment="calibration",
        model="known",
        quantisation=None,
        engine=None,
        batch=None,
        rate=case.load * PER_S[case.server],
        prompt_tokens=8,
        output_tokens=2,
        load=Load(requests=case.requests, warmup=0),
    )


def run_of(case: Case, seed: int) -> Samples:
    """One simulated run."""
    chance, cell = np.random.default_rng(seed), cell_of(case)
    assert cell.rate is not None
    arrive_s = arrivals(chance, case.requests, cell.rate)
    if case.server in STREAMS:
        tokens = chance.integers(TOKENS // 2, 3 * TOKENS // 2 + 1, case.requests).tolist()
        streams = STREAMS[case.server]
        return samples(cell, arrive_s, *in_batch(arrive_s, tokens, case.slower, streams))
    lasts_s = np.full(case.requests, LASTS_S)
    if case.server == "random":
        lasts_s = chance.exponential(LASTS_S, case.requests)
    lasts_s[case.requests // 2 :] *= case.slower
    begin_s = in_lanes(arrive_s, lasts_s)
    return samples(cell, arrive_s, begin_s + TTFT_S / LASTS_S * lasts_s, begin_s + lasts_s)


def rates(case: Case, trials: int) -> dict[str, float]:
    """The share of runs that carry each doubt about an open loop."""
    names = ("falls_behind", "overload_unseen", "drift")
    rules = {rule.name: rule.check for rule in loading.RULES if rule.name in names}
    counts = dict.fromkeys(names, 0)
    for seed in range(trials):
        view = View(run_of(case, seed))
        doubted = Doubted(view, {"e2e_s.mean": named("e2e_s.mean").figure(view)})
        for name in names:
            counts[name] += rules[name](doubted) is not None
    return {name: count / trials for name, count in counts.items()}


def cases() -> Iterator[Case]:
    """The cases of the table, for each server: loads that it holds, overload, and drift."""
    for server in PER_S:
        for requests in (60, 120, 300, 1000):
            for load in (0.5, 0.7, 0.8, 0.9, 0.95, 1.1, 1.2, 1.5, 2.0):
                yield Case(server=server, load=load, requests=requests)
            yield Case(server=server, load=0.5, requests=requests, slower=1.3)


def begins(case: Case) -> str:
    """The cells of a row that name its case."""
    slower = f"{case.slower - 1:.0%}" if case.slower > 1 else "no"
    return f"| {NAMES[case.server]} | {case.load:g} | {case.requests:,} | {slower}"


def row(case: Case, trials: int) -> str:
    trials = max(1, trials * SHORT // max(SHORT, case.requests))
    shares = " | ".join(f"{share:.1%}" for share in rates(case, trials).values())
    return f"{begins(case)} | {shares} | {trials} |"


def main() -> None:
    options = calibration(__doc__, TRIALS, "part of the cells that name a row").parse_args()
    rows = (row(case, options.trials) for case in cases() if options.only in begins(case))
    put_table("open loops", HEAD, rows, 4, options)


if __name__ == "__main__":
    main()
