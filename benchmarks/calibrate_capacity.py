"""Calibration of searches for capacity.

    python -m benchmarks.calibrate_capacity [--trials 20] [--only bursts] [--write]

The search of `journal run --find-capacity` is led through simulated runs, whose metrics, doubts and
verdicts are the journal's own, without a wall clock. By rate the server is 4 lanes of 100 ms with
TTFT 60 ms, whose arrivals are random or come in bursts, or whose services vary; by concurrency it
is an engine whose step takes longer for each stream and each prompt token in it. `--write` puts the
table into docs/calibration.md, with `--only` those rows alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial

import numpy as np

from benchmarks.calibrate_open import LANES, LASTS_S, TTFT_S, in_lanes, samples
from benchmarks.page import calibration, put_table
from journal.compare.capacity import Capacity, capacities
from journal.metrics.arrays import Array
from journal.plan.cells import cells
from journal.plan.prompts import arrivals
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment, Grid, Load, Slo
from journal.records.load_shape import Open
from journal.records.run import Record
from journal.records.samples import Samples
from journal.run.capacity_search import search
from journal.run.summary import summarised

SEEDS = 20
HEAD = (
    "| search | truth | truth between the ends | highest held | undecided, of the truth "
    "| longest, s of load |\n| --- | --: | --: | --: | --: | --: |"
)
GRACE = 1.08
MANY = 4_000_000  # requests, whose waits give the truth
LIMITS_MS = {1.0: (100, 200, 500, 2000), 0.25: (200, 500, 2000)}  # of TTFT, for each burstiness
VARIED = (0.5, 1.0)  # the deviations of the logarithms of services that vary
VARIED_MS = 500  # the limit of TTFT for these
FEWER = 400_000  # requests, whose waits for such services give the truth
STEP_S, PER_STREAM_S, PER_PROMPT_TOKEN_S = 0.008, 0.0002, 0.00004
CHUNK, PROMPT_TOKENS, OUTPUT_TOKENS = 512, 256, 32  # CHUNK: prompt tokens in one step at most
SPREAD = 0.5  # of mixed lengths around their mean, to either side

Server = Callable[[Cell], Samples]


def lanes(cell: Cell, varies: float = 0.0) -> Samples:
    """A run on 4 lanes of 100 ms, whichever way it is loaded; `varies`: the deviation of the
    logarithm of how long a service takes."""
    if isinstance(cell.shape, Open):
        arrive_s = np.array(arrivals(cell))
    else:
        arrive_s = np.arange(cell.load.requests) * LASTS_S
    lasts_s = services(np.random.default_rng(cell.seed), len(arrive_s), varies)
    if not isinstance(cell.shape, Open):
        arrive_s = np.cumsum(lasts_s) - lasts_s
    begin_s = in_lanes(arrive_s, lasts_s)
    return samples(cell, arrive_s, begin_s + TTFT_S / LASTS_S * lasts_s, begin_s + lasts_s)


def services(chance: np.random.Generator, count: int, varies: float) -> Array:
    """How long each of `count` services takes in s: LASTS_S on average."""
    times: Array = LASTS_S * np.exp(varies * chance.standard_normal(count) - varies**2 / 2)
    return times


@dataclass(slots=True)
class _Stream:
    """A request on its way through the engine."""

    index: int
    sent_s: float
    prompt_left: int
    tokens_left: int


def engine(cell: Cell, mixed: bool) -> Samples:
    """A closed loop on the engine. Streams begin spread over the time of a request."""
    chance, count, batch = (
        np.random.default_rng(cell.seed),
        cell.load.requests,
        int(cell.shape.value),
    )
    scale = chance.uniform(1 - SPREAD, 1 + SPREAD, (2, count)) if mixed else np.ones((2, count))
    lengths = np.rint(scale * np.array([[PROMPT_TOKENS], [OUTPUT_TOKENS]])).astype(int)
    sent_s, first_s, last_s = np.zeros(count), np.zeros(count), np.zeros(count)
    alone_s = OUTPUT_TOKENS * (STEP_S + PER_STREAM_S * batch) + (
        batch * PROMPT_TOKENS * PER_PROMPT_TOKEN_S
    )
    begin_s = [alone_s * place / batch for place in range(min(batch, count))][::-1]
    running: list[_Stream] = []
    now_s, following = 0.0, 0
    while begin_s or running:
        if not running:
            now_s = max(now_s, begin_s[-1])
        while begin_s and begin_s[-1] <= now_s:
            running.append(_Stream(following, begin_s.pop(), *lengths[:, following].tolist()))
            following += 1
        now_s += _step(running)
        for stream in [stream for stream in running if stream.prompt_left == 0]:
            stream.tokens_left -= 1
            first_s[stream.index] = first_s[stream.index] or now_s
            if stream.tokens_left == 0:
                sent_s[stream.index], last_s[stream.index] = stream.sent_s, now_s
                running.remove(stream)
                if following + len(begin_s) < count:
                    begin_s.append(now_s)
    return samples(cell, sent_s, first_s, last_s, OUTPUT_TOKENS)


def _step(running: list[_Stream]) -> float:
    """Read up to CHUNK prompt tokens, first come first served; how long the step takes in s."""
    room = CHUNK
    for stream in running:
        read = min(room, stream.prompt_left)
        stream.prompt_left -= read
        room -= read
    decoding = sum(stream.prompt_left == 0 for stream in running)
    return STEP_S + PER_STREAM_S * decoding + PER_PROMPT_TOKEN_S * (CHUNK - room)


def searched(asked: Experiment, server: Server) -> tuple[Capacity, list[Record]]:
    """The result of the search of `asked` on a simulated server, and its runs."""
    records: list[Record] = []
    (start,) = cells(asked, model="simulated")
    course = search(start, asked)
    try:
        cell = next(course)
        while True:
            records.append(_measured(cell, server))
            cell = course.send(records[-1])
    except StopIteration:
        pass
    (found,) = capacities(asked, records)
    return found, records


def _measured(cell: Cell, server: Server) -> Record:
    run = server(cell)
    record = Record(
        id=cell.identity,
        experiment_id="calibration",
        cell=cell,
        status="valid",
        started_at=datetime.now(UTC),
        duration_s=max(trace.end_s for trace in run.traces),
        facts=EngineFacts(),
    )
    return summarised(record, run)


def true_per_s(ttft_ms: float, burstiness: float) -> float:
    """The highest rate at which MANY requests, whose gaps are gamma with the shape `burstiness`,
    hold a limit of TTFT on the lanes as often as an SLO asks, to three digits."""
    chance = np.random.default_rng(1_000_003)
    arrive = np.cumsum(chance.gamma(burstiness, 1 / burstiness, MANY))
    low, high = 0.0, LANES / LASTS_S
    while high - low > high / 1000:
        rate = (low + high) / 2
        waits_s = np.concatenate([_waits_s(arrive[lane::LANES] / rate) for lane in range(LANES)])
        good = np.mean(waits_s + TTFT_S <= ttft_ms / 1e3) >= Slo().good_fraction
        low, high = (rate, high) if good else (low, rate)
    return float(f"{low:.3g}")


def true_of_varied(varies: float) -> float:
    """The highest rate at which FEWER requests, whose services vary, hold VARIED_MS as often as an
    SLO asks, to three digits."""
    chance = np.random.default_rng(1_000_003)
    arrive = np.cumsum(chance.exponential(1.0, FEWER))
    lasts_s = services(chance, FEWER, varies)
    low, high = 0.0, LANES / LASTS_S
    while high - low > high / 200:
        rate = (low + high) / 2
        ttft_s = in_lanes(arrive / rate, lasts_s) - arrive / rate + TTFT_S / LASTS_S * lasts_s
        good = np.mean(ttft_s <= VARIED_MS / 1e3) >= Slo().good_fraction
        low, high = (rate, high) if good else (low, rate)
    return float(f"{low:.3g}")


def _waits_s(arrive_s: Array) -> Array:
    """How long each request of one lane waits. Where all take equally long, requests are over in
    the order in which they came, and each lane takes every LANES-th of them."""
    work_s = LASTS_S * np.arange(len(arrive_s))
    begin_s: Array = np.maximum.accumulate(arrive_s - work_s) + work_s
    return begin_s - arrive_s


def by_rate(ttft_ms: float, seed: int, burstiness: float = 1.0) -> Experiment:
    """A search for the highest rate within a limit of TTFT."""
    return Experiment(
        name="rate",
        find_capacity="rate",
        slo=Slo(ttft_ms=ttft_ms),
        grid=Grid(prompt_tokens=(8,), output_tokens=(2,)),
        load=Load(warmup=0, seed=seed, burstiness=burstiness),
    )


def by_concurrency(slo: Slo, seed: int) -> Experiment:
    """A search for the highest concurrency that holds `slo`."""
    return Experiment(
        name="concurrency",
        find_capacity="concurrency",
        slo=slo,
        grid=Grid(prompt_tokens=(PROMPT_TOKENS,), output_tokens=(OUTPUT_TOKENS,)),
        load=Load(warmup=0, seed=seed),
    )


@lru_cache
def true_concurrency(slo: Slo, mixed: bool) -> float:
    """The highest concurrency at which long runs of the engine hold `slo`."""
    low, high = 1, 512
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(slo, mixed, middle) else (low, middle)
    return float(low)


def _holds(slo: Slo, mixed: bool, batch: int) -> bool:
    (start,) = cells(by_concurrency(slo, 1_000_003), model="simulated")
    load = replace(start.load, requests=60 * batch)
    record = _measured(replace(start, batch=batch, load=load), lambda cell: engine(cell, mixed))
    share = record.value("steady_good_fraction")
    return share is not None and share >= slo.good_fraction


@dataclass(frozen=True, slots=True)
class Tally:
    """What SEEDS searches of one kind gave: the share whose ends have the truth between them, the
    highest load held, the mean width of the undecided part over the truth, and the longest search
    in s of load."""

    between: float
    highest: float
    width: float
    longest_s: float


def tally(truth: float, results: list[tuple[Capacity, list[Record]]]) -> Tally:
    """The results of searches beside the truth, with GRACE on either end."""
    between, widths = 0, []
    for found, _ in results:
        low, high = found.holds_up_to or 0.0, found.breaks_from
        between += low <= GRACE * truth and (high is None or high >= truth / GRACE)
        widths.append(((2 * truth if high is None else high) - low) / truth)
    return Tally(
        between / len(results),
        max(found.holds_up_to or 0.0 for found, _ in results),
        float(np.mean(widths)),
        max(sum(record.duration_s for record in records) for _, records in results),
    )


SLOS = (Slo(tpot_ms=16), Slo(ttft_ms=150), Slo(ttft_ms=400, tpot_ms=25))


def rows(seeds: int, only: str) -> Iterator[tuple[str, float, Tally]]:
    """Each case of the table whose name holds `only`: what was searched, the truth, and the
    tally."""
    for burstiness, limits_ms in LIMITS_MS.items():
        for ttft_ms in limits_ms:
            bursts = "" if burstiness == 1 else f" in bursts (burstiness {burstiness:g})"
            name = f"rate{bursts}, TTFT within {ttft_ms:,} ms"
            if only in name:
                truth = true_per_s(ttft_ms, burstiness)
                asked = (by_rate(ttft_ms, seed, burstiness) for seed in range(seeds))
                yield name, truth, tally(truth, [searched(one, lanes) for one in asked])
    for varies in VARIED:
        spread = np.sqrt(np.exp(varies**2) - 1)
        name = f"rate, services that vary by {spread:.0%}, TTFT within {VARIED_MS} ms"
        if only in name:
            truth, server = true_of_varied(varies), partial(lanes, varies=varies)
            asked = (by_rate(VARIED_MS, seed) for seed in range(seeds))
            yield name, truth, tally(truth, [searched(one, server) for one in asked])
    for slo in SLOS:
        for mixed in (False, True):
            limits = (("TTFT", slo.ttft_ms), ("TPOT", slo.tpot_ms))
            named = ", ".join(f"{name} within {ms:g} ms" for name, ms in limits if ms is not None)
            name = f"concurrency, {'mixed' if mixed else 'fixed'} lengths, {named}"
            if only in name:
                truth = true_concurrency(slo, mixed)
                server = partial(engine, mixed=mixed)
                searches = (by_concurrency(slo, seed) for seed in range(seeds))
                yield name, truth, tally(truth, [searched(one, server) for one in searches])


def main() -> None:
    options = calibration(__doc__, SEEDS, "part of the name of a search").parse_args()
    lines = (
        f"| {name} | {truth:g} | {found.between:.0%} | {found.highest:.3g} "
        f"| {found.width:.0%} | {found.longest_s:.0f} |"
        for name, truth, found in rows(options.trials, options.only)
    )
    put_table("capacity", f"{options.trials} searches for each row.\n\n{HEAD}", lines, 1, options)


if __name__ == "__main__":
    main()
