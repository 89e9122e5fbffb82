"""Doubts about the surroundings of the load: the host, the state of its GPUs, and their changes."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.metrics.arrays import Array
from journal.metrics.window import Span
from journal.records.doubt import Severity, Values
from journal.records.engine import Neighbour
from journal.records.sameness import Environment, counted
from journal.records.samples import HostReading
from journal.units import data_size, percent, seconds

BUSY_NOTE, BUSY_FLAG = 0.1, 0.25
BUSY_OVER_S = 1.0
NEIGHBOURS_BUSY = 0.1
STOLEN = 0.05
SWAPPED_BYTES = 16 * 2**20
ASLEEP_S = 1.0
CLOCK_FALL = 0.05
CLOCK_READINGS = 12
AT_WORK = 0.5
OTHERS_BYTES = 512 * 2**20


def changes(now: Environment, before: Environment) -> tuple[Values, ...]:
    """The differences between two environments in the names that count, each with its `name` and
    its values `before` and `now`, in order of name."""
    here, there = counted(now), counted(before)
    return tuple(
        {"name": name, "before": there.get(name), "now": here.get(name)}
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    )


def _over_the_run(case: Case, name: str) -> tuple[float, list[HostReading]] | None:
    """The rise of a counter of the host from the first reading that has it to the last, and those
    two readings; None with fewer than two."""
    known = [r for r in case.view.samples.readings.host if getattr(r, name) is not None]
    if len(known) < 2:
        return None
    ends = [known[0], known[-1]]
    return float(getattr(ends[1], name) - getattr(ends[0], name)), ends


def _busy_host(case: Case) -> Finding | None:
    ours, busy = _over_the_run(case, "ours_s"), _over_the_run(case, "busy_s")
    if ours is None or busy is None or ours[1] != busy[1]:
        return None
    first, last = busy[1]
    if last.at_s - first.at_s < BUSY_OVER_S:
        return None
    share = (busy[0] - ours[0]) / ((last.at_s - first.at_s) * first.cpus)
    if share < BUSY_NOTE:
        return None
    served_here = bool(case.view.samples.readings.process)
    severity: Severity = "flag" if share >= BUSY_FLAG and served_here else "note"
    return severity, {"others_fraction": share, "cpus": first.cpus}


def _neighbours(case: Case) -> Finding | None:
    neighbours, span = case.view.samples.facts.neighbours, case.view.span
    if not neighbours or span is None or not span.length_s:
        return None
    busy = [(engine, spans) for engine in neighbours if (spans := _within(engine.busy_s, span))]
    if not busy:
        return None
    share = _covered_s([part for _, spans in busy for part in spans]) / span.length_s
    return "flag" if share >= NEIGHBOURS_BUSY else "note", {
        "variant": "one" if len(busy) == 1 else "several",
        "busy": len(busy),
        "busy_fraction": share,
        "engines": [_named(neighbour) for neighbour, _ in busy],
    }


def _within(spans: Sequence[tuple[float, float]], span: Span) -> list[tuple[float, float]]:
    """The parts of `spans` (start, end in s) that lie in `span`."""
    cut = [(max(a, span.start_s), min(b, span.end_s)) for a, b in spans]
    return [(a, b) for a, b in cut if a < b]


def _covered_s(spans: list[tuple[float, float]]) -> float:
    """The time in s that lies in one of `spans` or more."""
    covered_s, reached_s = 0.0, -inf
    for start_s, end_s in sorted(spans):
        covered_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    return covered_s


def _named(neighbour: Neighbour) -> Values:
    count = len(neighbour.gpus)
    variant = "no_gpu" if count == 0 else "one_gpu" if count == 1 else "several_gpus"
    return {"variant": variant, "model": neighbour.model, "gpus": list(neighbour.gpus)}


def _stolen_time(case: Case) -> Finding | None:
    stolen = _over_the_run(case, "stolen_s")
    if stolen is None:
        return None
    first, last = stolen[1]
    lasted_s = last.at_s - first.at_s
    if lasted_s < BUSY_OVER_S or (share := stolen[0] / (lasted_s * first.cpus)) < STOLEN:
        return None
    return "flag", {"stolen_fraction": share}


def _swapping(case: Case) -> Finding | None:
    swapped = _over_the_run(case, "swapped_bytes_total")
    if swapped is None or swapped[0] < SWAPPED_BYTES:
        return None
    return "flag", {"swapped_bytes": int(swapped[0])}


def _asleep(case: Case) -> Finding | None:
    slept = _over_the_run(case, "asleep_s")
    return None if slept is None or slept[0] < ASLEEP_S else ("invalid", {"asleep_s": slept[0]})


def _at_work(case: Case, device: int) -> Array:
    """The SM clock in Hz of the GPU `device`, in the readings of the measured span at which it was
    at work."""
    span = case.view.span
    return np.array(
        [
            reading.sm_clock_hz
            for reading in case.view.samples.readings.gpu
            if reading.device == device
            and reading.sm_clock_hz is not None
            and (reading.utilisation_fraction or 0.0) >= AT_WORK
            and span is not None
            and span.start_s <= reading.at_s <= span.end_s
        ]
    )


def _clocks_fell(case: Case) -> Finding | None:
    for device in sorted({reading.device for reading in case.view.samples.readings.gpu}):
        clock_hz = _at_work(case, device)
        third = len(clock_hz) // 3
        if len(clock_hz) < CLOCK_READINGS:
            continue
        before, after = float(np.median(clock_hz[:third])), float(np.median(clock_hz[-third:]))
        if after <= (1 - CLOCK_FALL) * before:
            return "flag", {"gpu": device, "before_hz": before, "after_hz": after}
    return None


def _others_memory(case: Case) -> Finding | None:
    for device in sorted({reading.device for reading in case.view.samples.readings.gpu}):
        others = [
            reading.used_bytes - reading.process_bytes
            for reading in case.view.samples.readings.gpu
            if reading.device == device
            and reading.used_bytes is not None
            and reading.process_bytes is not None
        ]
        if others and max(others) - min(others) >= OTHERS_BYTES:
            return "flag", {"gpu": device, "changed_bytes": max(others) - min(others)}
    return None


def _server_restarted(case: Case) -> Finding | None:
    readings = case.view.samples.readings.server
    for name in ("output_tokens_total", "prompt_tokens_total", "preemptions_total"):
        counted = [v for v in (getattr(reading, name) for reading in readings) if v is not None]
        if any(later < earlier for earlier, later in pairwise(counted)):
            return "invalid", {"counter": name}
    return None


def _environment_changed(case: Case) -> Finding | None:
    return ("flag", {"changes": list(case.changes)}) if case.changes else None


def _remote_code(case: Case) -> Finding | None:
    engine = case.view.cell.engine
    return ("note", {}) if engine is not None and engine.trust_remote_code else None


RULES = (
    Rule(
        "busy_host",
        f"other programs used {percent(BUSY_NOTE)} of the processors; a flag from "
        f"{percent(BUSY_FLAG)} where the server is on this host",
        "A server on the CPU has that much less of it; one on a GPU still schedules on the CPU.",
        _busy_host,
    ),
    Rule(
        "neighbours",
        "another engine of the experiment that loads its model or is under load beside it; a flag "
        f"from {percent(NEIGHBOURS_BUSY)} of the time",
        "GPUs of one host share power, PCIe lanes and the processors that feed them.",
        _neighbours,
    ),
    Rule(
        "stolen_time",
        f"{percent(STOLEN)} of the processor time taken by the hypervisor",
        "Stolen time stops client and server alike, and shows in no other figure.",
        _stolen_time,
    ),
    Rule(
        "swapping",
        f"{data_size(SWAPPED_BYTES)} swapped in and out",
        "A page from a disk comes a thousand times later than one from memory.",
        _swapping,
    ),
    Rule(
        "asleep",
        f"suspended for {seconds(ASLEEP_S)}",
        "Connections age while the host sleeps, and the monotonic clock does not.",
        _asleep,
    ),
    Rule(
        "clocks_fell",
        f"SM clock {percent(CLOCK_FALL)} lower in the last third of {CLOCK_READINGS} or more "
        "readings at work than in the first",
        "Compute follows the clock, and throttling is not always given as its reason.",
        _clocks_fell,
    ),
    Rule(
        "others_memory",
        f"{data_size(OTHERS_BYTES)} more or less used on a GPU beside the server's share",
        "vLLM reserves its own share when it starts; a change is that of another program.",
        _others_memory,
    ),
    Rule(
        "server_restarted",
        "one counter of the server that falls",
        "Counters only rise while a server lives.",
        _server_restarted,
    ),
    Rule(
        "environment_changed",
        "one version, driver, GPU or host other than at the experiment's first cell",
        "A difference between two cells would be that of their environments.",
        _environment_changed,
    ),
    Rule(
        "remote_code",
        "trust_remote_code",
        "Code that comes with a model can change the figures, and do anything on the host.",
        _remote_code,
    ),
)
