"""How often each 95% interval holds the truth, in simulated worlds where the truth is known.

    python -m benchmarks.calibrate [--trials 400] [--only M/D/4] [--loopback 60] [--write]

Prints its tables; `--write` puts them into docs/calibration.md, with `--only` those rows alone. The
same seed gives the same tables of worlds. `--loopback` is the number of real runs against the
simulated server, which take a minute or two.
"""

import argparse
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from benchmarks import loopback
from benchmarks.batching import (
    JOINT,
    Policy,
    arrivals,
    equal,
    remembering,
    some_long,
    streams,
    thinking,
)
from benchmarks.page import calibration, put_table
from benchmarks.worlds import (
    World,
    as_sent,
    closed,
    engine_in_open_loop,
    independent,
    queue,
)
from journal.metrics.statistics import PERCENTILES
from journal.metrics.table import named
from journal.metrics.view import View
from journal.records.figure import Figure
from journal.simulator.http import running

TRIALS = 400
HEAD = "| world | figure | holds the truth | given | median width | runs |"
SHARED = ("tpot_s.mean", "e2e_s.mean", "e2e_s.p50", "output_tokens_per_s")
QUEUED = ("ttft_s.mean", "e2e_s.mean", "e2e_s.p50", "e2e_s.p90", "good_fraction")
SERVED = ("ttft_s.mean", "ttft_s.p50", "tpot_s.mean", "e2e_s.mean", "output_tokens_per_s")
LEAVING = ("ttft_s.mean", "tpot_s.mean", "e2e_s.mean", "output_tokens_per_s", "good_fraction")
HEADLINES = ("ttft_s.p50", "tpot_s.p50", "output_tokens_per_s")
SEED = 20_240_229


@dataclass(frozen=True, slots=True)
class Row:
    """What became of the intervals of one metric in one world: the share that held the truth among
    those that were given, the share of runs that had one, and its width relative to the truth (None
    where none was given)."""

    world: str
    metric: str
    held: float | None
    given: float
    width: float | None
    trials: int


def worlds() -> dict[str, tuple[tuple[str, ...], list[World]]]:
    """The worlds of each part of the page, with the metrics that are looked at."""
    noises = ("white", "slow", "slower", "heavy")
    shared = [World(f"independent, {n} requests, batch {b}", independent(n, b)) for n, b in PLAIN]
    for n, b in PLAIN:
        shared += [World(f"in step, {z}, {n}, batch {b}", closed(n, b, z)) for z in noises]
    limits = _limits()
    for noise in noises:
        name = f"{noise}, 200, batch 8"
        shared.append(World(f"spread starts, {name}", closed(200, 8, noise, spread=True)))
        mixed = World(f"mixed lengths, {name}", closed(200, 8, noise, spread=True, lengths=0.5))
        (limits if noise == "slower" else shared).append(mixed)
    for noise in ("white", "heavy"):
        two = closed(200, 8, noise, speeds=(1.0, 1.5))
        shared.append(World(f"two servers, {noise}, 200, batch 8", two))
    queues = [
        World(f"M/D/4 at {load}, {n}", queue(n, 4, load, "fixed"))
        for n in (200, 400, 1500)
        for load in (0.5, 0.7, 0.8, 0.9)
    ]
    queues += [World(f"M/M/4 at {at}, 400", queue(400, 4, at, "random")) for at in (0.5, 0.7, 0.9)]
    opened = [
        World(f"open loop, 4 in flight, {z}, 400", engine_in_open_loop(400, 4.0, z)) for z in noises
    ]
    return {
        "closed": (SHARED, shared),
        "open": (QUEUED, queues),
        "good": (("good_fraction",), list(_good())),
        "steps": (SHARED[:3], opened),
        "as sent": (HEADLINES, list(_as_sent())),
        "batching": (SERVED, list(_batching())),
        "users": (LEAVING, list(_users())),
        "limits": ((*SHARED, "ttft_s.mean"), limits),
    }


def _good() -> Iterator[World]:
    """Queues in open loop whose limits most requests hold."""
    for lanes, load, service, limit, requests in (
        (4, 0.5, "random", 2.0, 400),
        (6, 0.8, "random", 3.0, 400),
        (2, 0.8, "random", 3.5, 300),
        (6, 0.9, "random", 2.5, 300),
        (4, 0.8, "fixed", 1.25, 400),
        (2, 0.9, "fixed", 3.0, 300),
    ):
        kind = "M/M" if service == "random" else "M/D"
        name = f"{kind}/{lanes} at {load}, limit of {limit:g} services, {requests}"
        yield World(name, queue(requests, lanes, load, service, limit))


def _as_sent() -> Iterator[World]:
    """Closed loops with the fillers of the journal's own load."""
    for requests, batch in ((64, 4), (80, 8), (200, 8)):
        for lengths in (0.0, 0.5, 1.0):
            name = f"lengths spread by {lengths:g}, white, {requests}, batch {batch}"
            yield World(name, as_sent(requests, batch, "white", lengths=lengths))
    for noise in ("slow", "slower", "heavy"):
        name = f"lengths spread by 0.5, {noise}, 200, batch 8"
        yield World(name, as_sent(200, 8, noise, lengths=0.5))
    yield World("lengths spread by 0, slower, 80, batch 8", as_sent(80, 8, "slower"))
    fails = as_sent(400, 8, "white", lengths=0.5, failing=0.02)
    yield World("one in 50 times out, lengths spread by 0.5, 400, batch 8", fails)


def _batching() -> Iterator[World]:
    """Servers that take up at each step what waits."""
    for name, prompts, policy, way, requests, batch in (
        ("two prompts in five long", some_long(0.4), JOINT, 0.05, 200, 8),
        ("half of the prompts long", some_long(0.5), JOINT, 3.3, 320, 16),
        ("one prompt in 20 long, in pieces", some_long(0.05), PIECES, 1.5, 200, 8),
        ("one prompt in 20 long, in pieces", some_long(0.05), PIECES, 0.05, 320, 16),
        ("equal long prompts", equal(8.0), JOINT, 3.3, 320, 16),
        ("equal long prompts, in pieces", equal(8.0), PIECES, 3.3, 200, 8),
        ("equal short prompts", equal(0.5), JOINT, 1.5, 320, 16),
    ):
        at = f"{way:g} steps on the way, {requests}, batch {batch}"
        yield World(f"{name}, {at}", streams(requests, batch, "white", prompts, policy, way=way))
    for batch in (1, 8):
        yield World(f"TTFT remembers, 200, batch {batch}", remembering(200, batch, 0.9))
    mixed = arrivals(400, 0.1, "white", some_long(0.1), PIECES)
    yield World("open loop, one prompt in 10 long, in pieces, 400", mixed)
    full = streams(200, 8, "white", equal(4.0), replace(JOINT, fits=140.0), lengths=0.5)
    yield World("preempted, mixed lengths, 200, batch 8", full)
    full = arrivals(400, 0.2, "white", equal(0.5), replace(PIECES, fits=200.0))
    yield World("preempted, open loop, 400", full)
    guessing = streams(200, 8, "white", equal(0.5), replace(JOINT, accepted=0.7))
    yield World("three tokens guessed in a step, 200, batch 8", guessing)


def _users() -> Iterator[World]:
    """Users who think or leave."""
    for think in (32.0, 128.0):
        name = f"users think for {think:g} steps, 200, 8 users"
        yield World(name, thinking(200, 8, think, "white", equal(4.0)))
    leaving = streams(200, 8, "white", equal(0.5), lengths=0.5, patience=40.0)
    yield World("users leave after 40 steps, mixed lengths, 200, batch 8", leaving)
    leaving = arrivals(400, 0.25, "white", some_long(0.1), PIECES, patience=60.0)
    yield World("users leave after 60 steps, one prompt in 10 long, open loop, 400", leaving)


def _limits() -> list[World]:
    """Worlds of which a single run does not see enough."""
    long = [
        World(f"{name} correlated over {part} of the run, 80, batch 8", load(80, 8, requests))
        for name, load in (("steps", closed), ("steps, as sent,", as_sent))
        for part, requests in (("half", 5.0), ("the whole", 10.0), ("three times", 30.0))
    ]
    hidden = World("white and slow steps, 80, batch 8", closed(80, 8, "hidden"))
    return [*long, hidden, World("in step, heavy, 200, batch 8", closed(200, 8, "heavy"))]


PIECES = Policy(piece=4.0)
PLAIN = ((24, 1), (80, 8), (200, 8))


def rows(world: World, metrics: Sequence[str], trials: int) -> Iterator[Row]:
    """The row of each metric in `world`. The truth of a percentile is that of all runs' requests
    together, of all else the mean of all runs."""
    seed = zlib.crc32(world.name.encode())
    views = (View(world.draw(np.random.default_rng([SEED, seed, t]))) for t in range(trials))
    figures: dict[str, list[Figure]] = {name: [] for name in metrics}
    pooled: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for view in views:
        for name in metrics:
            figures[name].append(named(name).figure(view))
            family, _, statistic = name.partition(".")
            if statistic in PERCENTILES:
                sample = getattr(view, family)
                pooled[name].append(sample[~np.isnan(sample)])
    for name in metrics:
        values = [figure.value for figure in figures[name] if figure.value is not None]
        if not values:
            continue
        statistic = name.partition(".")[2]
        truth = float(np.mean(values))
        if statistic in PERCENTILES:
            truth = float(np.quantile(np.concatenate(pooled[name]), PERCENTILES[statistic]))
        yield row(world.name, name, figures[name], truth)


def row(world: str, metric: str, figures: Sequence[Figure], truth: float) -> Row:
    """How often the intervals of `figures` hold `truth`, to a millionth of it."""
    given = [(f.low, f.high) for f in figures if f.low is not None and f.high is not None]
    grace = 1e-6 * abs(truth)
    held = [low - grace <= truth <= high + grace for low, high in given]
    widths = [(high - low) / truth for low, high in given if truth != 0]
    return Row(
        world=world,
        metric=metric,
        held=float(np.mean(held)) if held else None,
        given=len(given) / len(figures),
        width=float(np.median(widths)) if widths else None,
        trials=len(figures),
    )


def on_loopback(base_url: str, count: int, keep_late: bool = False) -> Iterator[Row]:
    """The row of each metric over repeats of one cell at the simulated server. The truth is the
    mean of all runs."""
    runs = loopback.repeats(base_url, count, keep_late)
    world = f"{loopback.REQUESTS} requests, batch {loopback.BATCH}, noise {loopback.NOISE:.0%}"
    for name in SHARED:
        figures = [run[name] for run in runs]
        values = [figure.value for figure in figures if figure.value is not None]
        yield row(world, name, figures, float(np.mean(values)))


def line(one: Row) -> str:
    """A row of the page's table."""
    held = "–" if one.held is None else f"{one.held:.1%}"
    width = "–" if one.width is None else f"{one.width:.1%}"
    return f"| {one.world} | `{one.metric}` | {held} | {one.given:.0%} | {width} | {one.trials} |"


def main() -> None:
    parser = calibration(__doc__, TRIALS, "part of a world's name, or loopback")
    parser.add_argument("--loopback", type=int, default=60, help="runs; 0 for none")
    parser.add_argument("--keep-late", action="store_true", help="of loopback, on a busy machine")
    options = parser.parse_args()
    for part, (metrics, chosen) in worlds().items():
        drawn = (rows(w, metrics, options.trials) for w in chosen if options.only in w.name)
        _table(part, chain.from_iterable(drawn), options)
    if options.loopback and options.only in "loopback":
        with running(loopback.SCRIPT) as base_url:
            met = list(on_loopback(base_url, options.loopback, options.keep_late))
        if met[0].trials < options.loopback:
            raise SystemExit(f"this machine is too busy: {met[0].trials} runs were on time")
        _table("loopback", met, options)


def _table(part: str, every: Iterable[Row], options: argparse.Namespace) -> None:
    head = f"{HEAD}\n| --- | --- | ---: | ---: | ---: | ---: |"
    put_table(part, head, map(line, every), 2, options)


if __name__ == "__main__":
    main()
