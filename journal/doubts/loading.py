"""Doubts about the load: the client, the batch, the schedule, and the number of samples."""

import math
from typing import NamedTuple

import numpy as np

from journal.doubts.rule import Case, Finding, Rule, listed
from journal.metrics.statistics import PERCENTILES, Array, drift, needed_samples, outliers, trend
from journal.metrics.window import in_flight
from journal.records.doubt import Severity, Value
from journal.records.load_shape import Closed, Open
from journal.units import percent, seconds

CLIENT_CPU = 0.8
CLIENT_DELAY_FLOOR_S = 0.01
CLIENT_DELAY_SHARE = 0.1
RATE_SHARE = 0.95
RATE_OFF = 0.01
BEHIND_CHANCE = 0.01
BEHIND_DEVIATIONS = 2
BEHIND_REQUESTS = 10
BEHIND_LOOKS = 40
DRIFT_CHANCE = 0.01
DRIFT_CHANGE = 0.1
TOGETHER = 0.25
STEADY_SHARE = 0.5
BURST_SHARE = 0.5
BURSTS = 4  # an open loop needs this many times the requests that are in flight at once
MIN_READINGS = 5


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


def _rate_not_achieved(case: Case) -> Finding | None:
    view, shape = case.view, case.view.cell.shape
    if not isinstance(shape, Open) or case.count < 2:
        return None
    achieved_per_s = case.value("achieved_rate_per_s")
    if achieved_per_s is None:
        return None
    rates = {"achieved_rate_per_s": achieved_per_s, "rate_per_s": shape.rate}
    meant_s = float(np.ptp([trace.scheduled_s for trace in view.measured]))
    pace = meant_s / float(np.ptp(view.all_start_s))
    if pace < RATE_SHARE:
        return "flag", {"sent_fraction": pace, **rates}
    sent = achieved_per_s / shape.rate
    if case.count < view.cell.load.requests or abs(sent - 1) <= RATE_OFF:
        return None  # of a schedule that was cut short, the rate is not known
    severity: Severity = "flag" if abs(sent - 1) > 1 - RATE_SHARE else "note"
    variant = "late" if abs(pace - 1) > RATE_OFF else "schedule"
    return severity, {"variant": variant, "sent_fraction": sent, **rates}


class Growth(NamedTuple):
    """Requests that arrived in a second, and the part of them that piled up in flight."""

    came_per_s: float
    piled_per_s: float


def _growth(case: Case) -> Growth | None:
    """The growth of the requests in flight over the last two thirds of the steady state of an open
    loop; None where it is no more than chance explains.

    Below its capacity a server answers as many requests as arrive, and their number in flight has
    a level; above it they pile up, whether they wait their turn or slow each other down. Arrivals
    that bunch by chance make piles that go away again: their number in flight wanders by the
    square root of the number of arrivals times the relative deviation of their gaps.
    """
    view = case.view
    if not view.cell.shape.is_open or view.steady is None:
        return None
    begin_s, end_s = view.steady.start_s + view.steady.length_s / 3, view.steady.end_s
    sent_s = np.sort(view.all_start_s[view.all_start_s >= begin_s])
    if len(sent_s) < BEHIND_REQUESTS or np.ptp(sent_s) == 0:
        return None
    flight = in_flight(view.all_start_s, view.all_end_s)
    at_s = np.linspace(begin_s, end_s, BEHIND_LOOKS)
    flying = flight.value[np.searchsorted(flight.at_s, at_s, side="right") - 1]
    growth = trend(at_s, flying)
    came_per_s = len(sent_s) / (end_s - begin_s)
    if growth is None or growth.probability >= BEHIND_CHANCE:
        return None
    if growth.slope <= (1 - RATE_SHARE) * came_per_s:
        return None
    gaps_s = np.diff(sent_s)
    wander = float(gaps_s.std() / gaps_s.mean()) * math.sqrt(len(gaps_s))
    least = max(BEHIND_DEVIATIONS * wander, BEHIND_DEVIATIONS)
    return Growth(came_per_s, growth.slope) if growth.slope * (end_s - begin_s) > least else None


def _falls_behind(case: Case) -> Finding | None:
    growth = _growth(case)
    if growth is None:
        return None
    return "flag", {
        "came_per_s": growth.came_per_s,
        "piled_per_s": growth.piled_per_s,
        "answered_fraction": 1 - growth.piled_per_s / growth.came_per_s,
    }


def _settled(case: Case, values: Array) -> Array:
    """The values in which drift is looked for, in order of start. In closed loop they are those of
    requests that ran wholly in the steady state, without the first of each stream, since those
    all begin at once and then spread out.

    Requests that begin together give one value, their median: where all are equally long, the
    streams of a closed loop go in waves, and a wave is no more evidence than one request.
    """
    view, shape = case.view, case.view.cell.shape
    kept = ~np.isnan(values)
    if isinstance(shape, Closed):
        first = np.argsort(view.start_s, kind="stable")[: shape.batch]
        kept &= view.in_steady
        kept[first] = False
    order = np.argsort(view.start_s, kind="stable")
    order = order[kept[order]]
    begins, since_s = [], -math.inf
    together_s = TOGETHER * float(np.median(view.e2e_s)) if len(order) else 0.0
    for place, start_s in enumerate(view.start_s[order].tolist()):
        if start_s - since_s > together_s:
            begins.append(place)
            since_s = start_s
    waves = np.split(values[order], begins[1:])
    return np.array([np.median(wave) for wave in waves if len(wave)], dtype=float)


def _drift(case: Case) -> Finding | None:
    view = case.view
    if _growth(case) is not None:  # falls_behind says so
        return None
    series = {"tpot_s": view.tpot_s, "e2e_s": view.e2e_s}
    if view.cell.shape.is_open:
        series["ttft_s"] = view.ttft_s
    for name, values in series.items():
        change = drift(_settled(case, values))
        if change and change.probability < DRIFT_CHANCE and abs(change.change) >= DRIFT_CHANGE:
            return "flag", {
                "metric": name,
                "before_s": change.before,
                "after_s": change.after,
                "at_fraction": change.at_fraction,
                "remedy": "lower" if view.cell.shape.is_open else "look",
            }
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
    if not isinstance(shape, Open) or case.count < 2 or e2e_s is None:
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
        "rate_not_achieved",
        f"sent at more than {percent(RATE_OFF)} off the rate that was asked for; a flag from "
        f"{percent(1 - RATE_SHARE)} on",
        "Latency near saturation rises steeply with the rate, so a twentieth less load matters. A "
        "schedule comes to the rate exactly; those of other tools and of earlier versions do not.",
        _rate_not_achieved,
    ),
    Rule(
        "falls_behind",
        f"in open loop: over the last two thirds of the steady state the requests in flight grow "
        f"by more than {percent(1 - RATE_SHARE)} of those that come, by Theil's slope with Mann's "
        f"test below {percent(BEHIND_CHANCE)}, and by {BEHIND_DEVIATIONS} times what chance in the "
        "arrivals explains",
        "A server that holds its load answers as many requests as arrive; one that is offered more "
        "has a queue that grows for as long as the load lasts.",
        _falls_behind,
    ),
    Rule(
        "drift",
        f"Pettitt's test below {percent(DRIFT_CHANCE)} and medians {percent(DRIFT_CHANGE)} apart, "
        f"from 20 settled requests on, of which those that begin within {percent(TOGETHER)} of "
        "E2E count as one",
        "Both, since in a long run the slightest change is certain, and in a short one a large "
        "one may be chance; streams that go in waves are no more evidence than one.",
        _drift,
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
