"""Calibration of the doubts about faults.

    python -m benchmarks.calibrate_faults [--trials 200] [--part "healthy runs"] [--only heavy]
        [--write]

Faults are planted in simulated runs of which all else is healthy, in closed and in open loop. The
tables say how often each is named, and how often a healthy run is flagged; `--write` puts them into
docs/calibration.md, with `--only` those rows alone. The doubts are those of `journal run`.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.page import calibration, put_table
from benchmarks.worlds import STEP_S, World, closed, engine_in_open_loop, independent, queue
from journal.doubts import sending
from journal.doubts.rule import Case
from journal.doubts.rules import doubts
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.doubt import Doubt
from journal.records.request import Trace
from journal.records.samples import Samples

TRIALS = 200
SEED = 20_241_129
HEAD = "| run | fault | named by | named | runs |\n| --- | --- | --- | --: | --: |"
CLEAN_HEAD = "| healthy run | flagged by | `drift` | runs |\n| --- | --- | --: | --: |"
STEP_HEAD = "| closed loop | `in_step` | runs |\n| --- | --: | --: |"
# Doubts that these worlds carry by their making: a convoy that nobody asked for, and a rate that
# was drawn and not scaled; and hits of a cache that random prompts do not have.
OF_THE_WORLD = {
    "in_step",
    "rate_not_achieved",
    "falls_behind",
    "short_steady_state",
    "prefix_cache_hits",
}

Edit = Callable[[Samples], Samples]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: how it changes a healthy run, and the doubts of which one must name it, among them
    the note `unseen` with a part that says that it could not be seen ("unseen slower")."""

    name: str
    plant: Edit
    named_by: tuple[str, ...]
    only: tuple[str, ...] = ("",)  # in worlds whose names begin so


def each(samples: Samples, edit: Callable[[Trace], Trace]) -> Samples:
    return replace(samples, traces=tuple(edit(trace) for trace in samples.traces))


def warped(samples: Samples, warp: Callable[[float], float]) -> Samples:
    """The run on another clock: of a closed loop all of it, of an open one the answers only."""
    is_open = samples.cell.shape.is_open

    def edit(trace: Trace) -> Trace:
        start_s = trace.start_s if is_open else warp(trace.start_s)
        chunk_s = tuple(map(warp, trace.chunk_s))
        return replace(
            trace, scheduled_s=start_s, start_s=start_s, chunk_s=chunk_s, end_s=chunk_s[-1]
        )

    return each(samples, edit)


def lasts_s(samples: Samples) -> float:
    return max(trace.end_s for trace in samples.traces)


def slower(samples: Samples) -> Samples:
    """30% slower from the middle on."""
    middle_s = lasts_s(samples) / 2
    if samples.cell.shape.is_open:
        return each(samples, lambda t: at_pace(t, 1.3 if t.start_s > middle_s else 1.0))
    return warped(samples, lambda at_s: at_s + 0.3 * max(0.0, at_s - middle_s))


def stall(samples: Samples) -> Samples:
    """One stall of 2 s, in mid-answer of the first request after the middle."""
    middle_s = lasts_s(samples) / 2
    answer = next(trace.chunk_s for trace in samples.traces if trace.start_s >= middle_s)
    at_s = answer[len(answer) // 3]
    return warped(samples, lambda now_s: now_s + 2.0 * (now_s > at_s))


def pauses(samples: Samples) -> Samples:
    """A stall of 0.2 s in every second, after which the server makes up for it."""
    return warped(samples, lambda at_s: np.floor(at_s) + max(at_s % 1, 0.2 + 0.8 * (at_s % 1)))


def cold(samples: Samples) -> Samples:
    """First requests that wait 1 s for their first token."""
    first_s = min(trace.end_s for trace in samples.traces)
    if not samples.cell.shape.is_open:
        return warped(samples, lambda at_s: at_s + 1.0 * (at_s > STEP_S / 100))
    return each(samples, lambda t: later(t, 1.0) if t.start_s < first_s else t)


def later(trace: Trace, by_s: float) -> Trace:
    chunk_s = tuple(at_s + by_s for at_s in trace.chunk_s)
    return replace(trace, chunk_s=chunk_s, end_s=chunk_s[-1])


def at_pace(trace: Trace, pace: float) -> Trace:
    """The same answer in `pace` times the time."""
    chunk_s = tuple(trace.start_s + (at_s - trace.start_s) * pace for at_s in trace.chunk_s)
    return replace(trace, chunk_s=chunk_s, end_s=chunk_s[-1])


def buffered(samples: Samples) -> Samples:
    """Answers that come when they are over, a token in 1.2 ms."""

    def edit(trace: Trace) -> Trace:
        first_s = trace.end_s - 0.0012 * (len(trace.chunk_s) - 1)
        chunk_s = tuple(np.linspace(first_s, trace.end_s, len(trace.chunk_s)).tolist())
        return replace(trace, chunk_s=chunk_s)

    return each(samples, edit)


def in_pieces(samples: Samples) -> Samples:
    """Chunks that come eight at a time."""

    def edit(trace: Trace) -> Trace:
        size = len(trace.chunk_s)
        last = [min(8 * (place // 8) + 7, size - 1) for place in range(size)]
        return replace(trace, chunk_s=tuple(trace.chunk_s[place] for place in last))

    return each(samples, edit)


def hidden(samples: Samples) -> Samples:
    """Half of the tokens are thoughts that are neither streamed nor told apart."""

    def edit(trace: Trace) -> Trace:
        return replace(trace, chunk_s=trace.chunk_s[len(trace.chunk_s) // 2 :], chunk_tokens=None)

    return each(samples, edit)


def heavy_first(samples: Samples) -> Samples:
    """A first chunk that holds all tokens but one."""

    def edit(trace: Trace) -> Trace:
        return replace(trace, chunk_s=trace.chunk_s[-2:], chunk_tokens=(len(trace.chunk_s) - 1, 1))

    return each(samples, edit)


def connecting(samples: Samples) -> Samples:
    """Every request opens a connection, which takes 5 ms."""
    return each(samples, lambda trace: replace(trace, connect_s=0.005))


def two_servers(samples: Samples) -> Samples:
    """Every second request is served by a server that is half as fast again."""
    return each(samples, lambda trace: at_pace(trace, 1.5 if trace.index % 2 else 1.0))


def queued(samples: Samples) -> Samples:
    """Twice as many requests are in flight as something on the way lets through."""
    batch = samples.cell.batch
    assert batch is not None
    ends = sorted(trace.end_s for trace in samples.traces)
    order = sorted(samples.traces, key=lambda trace: (trace.start_s, trace.index))
    sent = [0.0] * (2 * batch) + ends
    waited = [
        replace(trace, start_s=at_s, scheduled_s=at_s)
        for trace, at_s in zip(order, sent, strict=False)
    ]
    cell = replace(samples.cell, batch=2 * batch)
    return replace(samples, cell=cell, traces=tuple(waited))


def hung(samples: Samples) -> Samples:
    """One request that times out after 60 s."""

    def edit(trace: Trace) -> Trace:
        if trace.index != len(samples.traces) - 1:
            return trace
        error = "no end of the answer after 60 s (the timeout)"
        return replace(
            trace,
            outcome="error",
            error=error,
            timed_out=True,
            chunk_s=(),
            chunk_tokens=None,
            end_s=trace.start_s + 60.0,
        )

    return each(samples, edit)


STALL = ("stalled", "unseen stalls")
NO_PACE = ("held_back", "unseen held_back")
FAULTS = (
    Fault("30% slower from the middle on", slower, ("drift", "unseen slower")),
    Fault("a stall of 2 s", stall, STALL),
    Fault("0.2 s of stall in every second", pauses, STALL),
    Fault("a first wave that waits 1 s", cold, ("cold_start",), only=("in step", "open")),
    Fault("answers buffered whole", buffered, NO_PACE),
    Fault("answers buffered in pieces of 8 tokens", in_pieces, ("chunks_together",)),
    Fault("half of the tokens not streamed", hidden, ("tpot_unknown",)),
    Fault("a first chunk of all tokens but one", heavy_first, ("tpot_unknown",)),
    Fault("5 ms to connect for each request", connecting, ("connections",)),
    Fault("two servers, one half as fast again", two_servers, ("two_speeds",)),
    Fault(
        "half of the batch let through",
        queued,
        ("queue_unseen",),
        only=("in step", "spread", "mixed"),
    ),
    Fault("one time-out of 60 s", hung, ("timed_out",)),
)


def healthy() -> Iterator[World]:
    """Runs of which nothing is wrong."""
    noises = ("white", "slow", "slower", "heavy")
    for count in (24, 80, 200):
        yield World(f"independent, {count}, batch 8", independent(count, 8))
        for noise in noises:
            for name, how in KINDS.items():
                yield World(f"{name}, {noise}, {count}, batch 8", closed(count, 8, noise, **how))
    yield World("in step, white, 24, batch 1", closed(24, 1, "white"))
    for count, batch in ((24, 1), (80, 8), (200, 8)):
        name = f"7 of 10 prompts in a cache, {count}, batch {batch}"
        yield World(name, closed(count, batch, "white", spread=True, misses=0.3))
    for count, batch in ((24, 1), (24, 4), (80, 8), (200, 8)):
        for misses in (0.02, 0.5):
            name = f"{1 - misses:.0%} of the prompts in a cache, untold, {count}, batch {batch}"
            how = {"spread": True, "misses": misses, "tells": False}
            yield World(name, closed(count, batch, "white", **how))
    for count, batch in ((40, 4), (40, 8), (80, 8)):
        for name, spread in (("in step", False), ("spread starts", True)):
            how = {"spread": spread, "prompts": 0.8, "prefill": 8.0}
            name = f"prompts of random length, {name}, {count}, batch {batch}"
            yield World(name, closed(count, batch, "white", **how))
    for noise in noises:
        for many in (4.0, 0.5):
            name = f"open loop, {many:g} in flight, {noise}, 200"
            yield World(name, engine_in_open_loop(200, many, noise))
    for load in (0.5, 0.8, 0.9):
        yield World(f"M/D/4 at {load}, 200", queue(200, 4, load, "fixed"))
        yield World(f"M/M/4 at {load}, 200", queue(200, 4, load, "random"))


MIXED: dict[str, Any] = {"spread": True, "lengths": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "in step": {},
    "spread starts": {"spread": True},
    "mixed lengths": MIXED,
}


def planted() -> Iterator[tuple[World, Fault]]:
    """Faults in healthy runs."""
    worlds = [
        World("in step, white, 80, batch 8", closed(80, 8, "white", prefill=0.0)),
        World("spread starts, white, 80, batch 8", closed(80, 8, "white", spread=True)),
        World("spread starts, white, 24, batch 4", closed(24, 4, "white", spread=True)),
        World("mixed lengths, white, 80, batch 8", closed(80, 8, "white", **MIXED)),
        World("open loop, 4 in flight, white, 200", engine_in_open_loop(200, 4.0, "white")),
        World("open loop, 4 in flight, white, 60", engine_in_open_loop(60, 4.0, "white")),
    ]
    for fault in FAULTS:
        for world in worlds:
            if world.name.startswith(fault.only):
                yield world, fault


def runs(world: World, trials: int) -> Iterator[Samples]:
    """Runs of a world."""
    seed = zlib.crc32(world.name.encode())
    for trial in range(trials):
        yield world.draw(np.random.default_rng([SEED, seed, trial]))


def found(samples: Samples) -> dict[str, Doubt]:
    return {doubt.name: doubt for doubt in doubts(samples, metrics(samples))}


def named(fault: Fault, every: dict[str, Doubt]) -> str | None:
    """The doubt of `every` that names the fault."""
    parts = every["unseen"].values["parts"] if "unseen" in every else []
    said = {str(part["variant"]) for part in parts}  # type: ignore[union-attr, index, call-overload]
    for names in fault.named_by:
        name, _, part = names.partition(" ")
        if name in every and (not part or part in said):
            return name
    return None


def fault_row(world: World, fault: Fault, trials: int) -> str:
    names = [named(fault, found(fault.plant(run))) for run in runs(world, trials)]
    by = ", ".join(f"`{name}`" for name in dict.fromkeys(names) if name)
    share = sum(name is not None for name in names) / len(names)
    return f"| {world.name} | {fault.name} | {by or '–'} | {share:.1%} | {len(names)} |"


def clean_row(world: World, trials: int) -> str:
    counts: dict[str, int] = {}
    for run in runs(world, trials):
        for doubt in found(run).values():
            if doubt.severity != "note" and doubt.name not in OF_THE_WORLD:
                counts[doubt.name] = counts.get(doubt.name, 0) + 1
    drift = counts.pop("drift", 0) / trials
    others = ", ".join(f"`{name}` {count / trials:.1%}" for name, count in counts.items())
    return f"| {world.name} | {others or '–'} | {drift:.1%} | {trials} |"


def step_row(world: World, trials: int) -> str:
    """How often the streams of a closed loop are said to march in step."""
    (rule,) = (rule for rule in sending.RULES if rule.name == "in_step")
    cases = (Case(View(run), {}) for run in runs(world, trials))
    share = sum(rule.check(case) is not None for case in cases) / trials
    return f"| {world.name} | {share:.1%} | {trials} |"


def loops() -> Iterator[World]:
    """Closed loops whose streams are spread, and convoys."""
    for name, how in KINDS.items():
        for noise in ("white", "slow", "slower", "heavy"):
            for count, batch in ((24, 8), (80, 8), (200, 8), (320, 32)):
                yield World(
                    f"{name}, {noise}, {count}, batch {batch}", closed(count, batch, noise, **how)
                )


def main() -> None:
    parser = calibration(__doc__, TRIALS, "part of the name of a run or of a fault")
    parser.add_argument("--part", default="", help="faults, healthy runs or in step")
    options = parser.parse_args()
    trials, only = options.trials, options.only
    for part, head, names, rows in (
        (
            "faults",
            HEAD,
            2,
            (fault_row(w, f, trials) for w, f in planted() if only in f"{w.name} {f.name}"),
        ),
        (
            "healthy runs",
            CLEAN_HEAD,
            1,
            (clean_row(w, trials) for w in healthy() if only in w.name),
        ),
        ("in step", STEP_HEAD, 1, (step_row(w, trials) for w in loops() if only in w.name)),
    ):
        if options.part in ("", part):
            put_table(part, head, rows, names, options)


if __name__ == "__main__":
    main()
