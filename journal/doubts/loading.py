"""Doubts about the load: the client, the batch, the schedule, and the number of samples."""

import math
from typing import NamedTuple

import numpy as np

from journal.doubts.rule import Case, Finding, Rule, listed
from journal.doubts.sending import RATE_SHARE
from journal.metrics.arrays import Array, outliers
from journal.metrics.drift import LEAST, LIKELIER, Drift, drift, is_slow, levelled, neighbours
from journal.metrics.overload import CHANCE, FILLING, Growth, growth
from journal.metrics.statistics import PERCENTILES, needed_samples
from journal.metrics.view import View
from journal.records.doubt import Value
from journal.records.load_shape import Closed, Open
from journal.units import percent, seconds

CLIENT_CPU = 0.8
CLIENT_DELAY_FLOOR_S = 0.01
CLIENT_DELAY_SHARE = 0.1
OVERLOAD = 1.2  # times what a server answers: less may hide behind chance in the arrivals
OVERLOAD_REQUESTS = 300
FULL = 0.25  # of an answer, that later requests wait for it: from there on the server has no room
DRIFT_CHANCE = 0.01
DRIFT_CHANGE = 0.1
STEADY_SHARE = 0.5
BURST_SHARE = 0.5
BURSTS = 4  # an open loop needs this many times the requests that are in flight at once
MIN_READINGS = 5


class Changed(NamedTuple):
    """The metric that drifted, how it did, and whether slow noise of the server may be no cause."""

    metric: str
    drift: Drift
    certain: bool


def _client_saturated(case: Case) -> Finding | None:
    client = case.view.samples.client
    ttft_s = case.value("ttft_s.p50")
    limit_s = max(CLIENT_DELAY_FLOOR_S, CLIENT_DELAY_SHARE * (0.0 if ttft_s is None else ttft_s))
    share = client.cpu_fraction
    late = {"loop": client.loop_delay_p99_s, "requests": client.send_delay_p99_s}
    busy = share is not None and share > CLIENT_CPU
    signs = ["busy"] if busy else []
    signs += [sign for sign, delay_s in late.items() if delay_s is not None and delay_s > limit_s]
    if not signs:
        return None
    return "flag", {
        "signs": signs,
        "remedy": "lower" if busy or share is None else "quieten",
        "cpu_fraction": share,
        "cpu_limit_fraction": CLIENT_CPU,
        "loop_delay_p99_s": client.loop_delay_p99_s,
        "send_delay_p99_s": client.send_delay_p99_s,
        "delay_limit_s": limit_s,
        "processes": client.processes,
    }


def _client_unmeasured(case: Case) -> Finding | None:
    client = case.view.samples.client
    if client.cpu_fraction is not None or client.loop_delay_p99_s is not None:
        return None
    return "note", {}


def _batch_not_reached(case: Case) -> Finding | None:
    shape, peak = case.view.cell.shape, case.value("concurrency_peak")
    if not isinstance(shape, Closed) or peak is None or peak >= shape.batch:
        return None
    batch = shape.batch
    if case.count < batch:
        few = {"requests": case.count, "batch": batch, "enough_requests": 3 * batch}
        return "flag", {"variant": "few_requests", **few}
    return "flag", {"peak": peak, "batch": batch}


def _growth(view: View) -> Growth | None:
    """How the requests in flight of an open loop grew; None where that cannot be looked for."""
    order = np.argsort(view.all_start_s, kind="stable")
    return growth(view.all_start_s[order], view.all_end_s[order], _filling_s(view))


def _filling_s(view: View) -> float:
    """How long the answers of later requests last once they begin, which is how long a server that
    has room for all of them takes to fill up; 0 where they wait, so that it has none, or where
    that is not known."""
    known = ~np.isnan(view.first_s)
    if not known.any():
        return 0.0
    late = known & (view.start_s >= np.median(view.start_s[known]))
    answer_s = float(np.median((view.end_s - view.first_s)[late]))
    waits_s = float(np.median((view.first_s - view.start_s)[late]))
    return answer_s if waits_s < FULL * answer_s else 0.0


def _piles_up(found: Growth | None) -> bool:
    """Whether requests pile up, by more than chance and more than is worth a word."""
    return bool(found and found.settled and found.low > 0 and found.fraction > 1 - RATE_SHARE)


def _is_level(case: Case) -> bool:
    """Whether a constant rate was offered: of one that changes a queue says nothing."""
    shape = case.view.cell.shape
    return shape.is_open and shape.profile is None


def _falls_behind(case: Case) -> Finding | None:
    found = case.view.once(_growth) if _is_level(case) else None
    if found is None or not _piles_up(found):
        return None
    return "flag", {
        "came_per_s": found.came_per_s,
        "piled_per_s": found.piled_per_s,
        "answered_fraction": 1 - found.piled_per_s / found.came_per_s,
    }


def _overload_unseen(case: Case) -> Finding | None:
    """An open loop too short to tell a server that keeps up from one that falls behind."""
    if not _is_level(case) or case.count < 2 or _burst(case) is not None:
        return None
    found = case.view.once(_growth)
    if _piles_up(found) or (found and found.settled and found.high <= 1 - 1 / OVERLOAD):
        return None
    return "note", {
        "requests": case.count,
        "overload": OVERLOAD,
        "enough_requests": max(OVERLOAD_REQUESTS, 2 * case.count),
    }


def settled(view: View, values: Array) -> Array:
    """The values to look for drift in, in order of start: the median of each unit of neighbours
    (`journal.metrics.inference.Units`), since requests in flight together share the server's steps
    and are no more evidence than one.

    In closed loop those of requests that ran wholly in the steady state, without the first of
    each stream. In open loop those of requests sent after the first answer, as they would have
    been with the usual number in flight.
    """
    shape = view.cell.shape
    kept = ~np.isnan(values)
    if not kept.any():
        return np.zeros(0)
    if isinstance(shape, Closed):
        first = np.argsort(view.start_s, kind="stable")[: shape.batch]
        kept &= view.in_steady
        kept[first] = False
    elif view.steady is None:
        return np.zeros(0)
    else:
        kept &= (view.start_s >= view.steady.start_s) & (values > 0)
    order = np.argsort(view.start_s, kind="stable")
    order = order[kept[order]]
    chosen = values[order]
    if shape.is_open and len(order):
        over_s, begun_s = np.sort(view.all_end_s), np.sort(view.all_start_s)
        crowd = np.searchsorted(begun_s, view.start_s[order]) - np.searchsorted(
            over_s, view.start_s[order], side="right"
        )
        chosen = levelled(chosen, crowd.astype(float))
    return neighbours(chosen, len(chosen) // view.units.unit)


def found_drift(case: Case) -> Finding | None:
    """The doubt that the run drifted; None where nothing shows it."""
    changed, is_open = _drifts(case), case.view.cell.shape.is_open
    if changed is None or not changed.certain:
        return None
    return "flag", {
        **({"variant": "open"} if is_open else {}),
        "metric": changed.metric,
        "before_s": changed.drift.before,
        "after_s": changed.drift.after,
        "at_fraction": changed.drift.at_fraction,
        "remedy": "lower" if is_open else "look",
    }


def slow_change(case: Case) -> Changed | None:
    """The change of a run that may be drift, or the noise of steps that changes slowly."""
    changed = _drifts(case)
    return None if changed is None or changed.certain else changed


def _drifts(case: Case) -> Changed | None:
    """The change of a run to which a constant load was offered, and which kept up with it."""
    behind = _falls_behind(case) is not None or case.view.cell.shape.profile is not None
    return None if behind else case.view.once(_changed)


def _changed(view: View) -> Changed | None:
    """The first of the latencies that changed by more than its own wandering, or of those that did
    by more than slow noise makes."""
    series = {"tpot_s": view.tpot_s, "e2e_s": view.e2e_s}
    if view.cell.shape.is_open:
        series["ttft_s"] = view.ttft_s
    of = {name: drift(settled(view, values)) for name, values in series.items()}
    large = {name: d for name, d in of.items() if d and abs(d.change) >= DRIFT_CHANGE}
    slow = is_slow(view.gaps.gap_s[np.argsort(view.gaps.at_s, kind="stable")]) if large else True
    for may_be_slow in (slow, False):
        for name, change in large.items():
            if change.exceeds(may_be_slow):
                return Changed(name, change, certain=may_be_slow == slow)
    return None


def _outliers(case: Case) -> Finding | None:
    e2e_s = case.view.e2e_s
    far = outliers(e2e_s)
    if not far.any():
        return None
    return "note", {
        "far": int(far.sum()),
        "requests": len(e2e_s),
        "longest_s": float(e2e_s.max()),
        "median_s": float(np.median(e2e_s)),
    }


def _percentiles_refused(case: Case) -> Finding | None:
    missing: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for family in ("ttft_s", "tpot_s", "e2e_s", "itl_s", "icl_s"):
        figure = case.metrics.get(f"{family}.mean")
        count = None if figure is None else figure.count
        names = tuple(p for p, at in PERCENTILES.items() if count and count < needed_samples(at))
        if count and names:
            missing.setdefault((names, count), []).append(family)
    if not missing:
        return None
    short = [name for name in PERCENTILES if any(name in names for names, _ in missing)]
    needed = {name: needed_samples(PERCENTILES[name]) for name in short}
    enough: list[Value] = [{"percentile": name, "samples": needed[name]} for name in short]
    refused: list[Value] = [
        {"percentiles": list(names), "families": families, "samples": count}
        for (names, count), families in missing.items()
    ]
    return "note", {
        "refused": refused,
        "needed": enough,
        "requests": max(math.ceil(needed[short[-1]] * case.count / n) for _, n in missing),
    }


def _burst(case: Case) -> Finding | None:
    """The doubt about an open loop that sent most of its requests before the first answer."""
    view, e2e_s = case.view, case.value("e2e_s.mean")
    shape = view.cell.shape
    if not (isinstance(shape, Open) and _is_level(case)) or case.count < 2 or e2e_s is None:
        return None
    before = int(np.sum(view.all_start_s <= view.all_end_s.min()))
    if before <= BURST_SHARE * case.count:
        return None
    return "flag", {
        "variant": "burst",
        "before": before,
        "requests": case.count,
        "enough_requests": math.ceil(BURSTS * shape.rate * e2e_s),
    }


def _short_steady(case: Case) -> Finding | None:
    burst = _burst(case)
    if burst is not None:
        return burst
    steady_s, duration_s = case.value("steady_s"), case.value("duration_s")
    if duration_s is None or steady_s is None or steady_s >= STEADY_SHARE * duration_s:
        return None
    return "note", {"steady_fraction": steady_s / duration_s}


def _no_warmup(case: Case) -> Finding | None:
    warmed_up = any(trace.warmup for trace in case.view.samples.traces)
    return None if warmed_up else ("note", {})


def _few_readings(case: Case) -> Finding | None:
    view, readings = case.view, case.view.samples.readings
    if view.span is None:
        return None
    few: list[Value] = []
    for name, kind in (
        ("server", readings.server),
        ("processes", readings.process),
        ("gpus", [r for r in readings.gpu if r.device == readings.gpu[0].device]),
    ):
        inside = sum(view.span.start_s <= reading.at_s <= view.span.end_s for reading in kind)
        if kind and inside < MIN_READINGS:
            few.append({"variant": name, "readings": inside})
    return ("note", {"lasted_s": view.span.length_s, "few": few}) if few else None


RULES = (
    Rule(
        "client_saturated",
        f"more than {percent(CLIENT_CPU)} of a core; or an event loop or requests later at p99 "
        f"than {seconds(CLIENT_DELAY_FLOOR_S)} and {percent(CLIENT_DELAY_SHARE)} of the median "
        "TTFT",
        "A queue for a single server waits load / (1 - load) times its service time: four times "
        "at 80%. A delay below a tenth of TTFT is lost in TTFT's own spread, and one below 10 ms "
        "may come from the scheduler of any shared machine.",
        _client_saturated,
    ),
    Rule(
        "batch_not_reached",
        "fewer requests in flight, at the peak, than the batch",
        "The figures would be those of a smaller batch.",
        _batch_not_reached,
    ),
    Rule(
        "falls_behind",
        f"in open loop: after the first {percent(FILLING)} of the steady state the requests in "
        f"flight, less the queue that the bunching of arrivals explains, grow by more than "
        f"{percent(1 - RATE_SHARE)} of those that come, by Student's t at {percent(CHANCE)}",
        "A server that holds its load answers as many as come; one that is offered more has a "
        "queue that grows for as long as one looks. docs/calibration.md has how often this is "
        "right.",
        _falls_behind,
    ),
    Rule(
        "overload_unseen",
        f"in open loop: the same growth may be as much as that of a server which is offered "
        f"{OVERLOAD:g} times what it answers",
        "What could not be looked for is said: in a short run a queue has no time to grow.",
        _overload_unseen,
    ),
    Rule(
        "drift",
        f"a self-normalised test below {percent(DRIFT_CHANCE)} over TPOT, E2E and "
        f"TTFT together, and medians {percent(DRIFT_CHANGE)} apart, from {LEAST} units of settled "
        "requests on: in closed loop a wave, in open loop as many neighbours as are in flight on "
        "average, each compared at equal numbers in flight; and where the gaps between chunks have "
        f"noise that lasts, {LIKELIER:,.0f} times as likely with a change as by such noise, or as "
        "many times less as the test is beyond its limit",
        "Both, since in a long run the slightest change is certain, and in a short one a large "
        "one may be chance; the test stands requests that are alike because they shared steps or a "
        "queue. Steps that change slowly by chance are off for so long that they pass for a "
        "change.",
        found_drift,
    ),
    Rule(
        "outliers",
        "E2E 10 robust standard deviations and half as much again above the median",
        "hyperfine's threshold for the same purpose; the second part is for servers whose times "
        "hardly vary.",
        _outliers,
    ),
    Rule(
        "percentiles_refused",
        "fewer samples than "
        + listed([f"{needed_samples(at)} for {name}" for name, at in PERCENTILES.items()]),
        "With 99% confidence two samples lie beyond a percentile that is given, the rule of "
        "MLPerf's load generator; with fewer samples a p99 is little more than the maximum.",
        _percentiles_refused,
    ),
    Rule(
        "short_steady_state",
        f"steady for less than {percent(STEADY_SHARE)} of the run; a flag where, in open loop, "
        f"more than {percent(BURST_SHARE)} of the requests were sent before the first answer",
        "More ramp-up and drain than load.",
        _short_steady,
    ),
    Rule(
        "no_warmup",
        "no warm-up request",
        "First requests compile kernels, fill caches and open connections.",
        _no_warmup,
    ),
    Rule(
        "few_readings",
        f"fewer than {MIN_READINGS} readings of a kind inside the measured span",
        "A mean of so few readings is rough, and a peak between two readings is missed.",
        _few_readings,
    ),
    Rule(
        "client_unmeasured",
        "neither CPU share nor event-loop delay",
        "A client that does not watch itself may measure itself.",
        _client_unmeasured,
    ),
)
