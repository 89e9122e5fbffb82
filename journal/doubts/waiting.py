"""Doubts about what requests wait for beside the work of the server: queues and connections."""

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.doubts.serving import SERVER_BATCH
from journal.metrics.silences import waits_alone
from journal.metrics.view import View
from journal.metrics.window import Series, in_flight
from journal.records.doubt import Severity
from journal.records.load_shape import Closed
from journal.units import percent, seconds

WAITS = 3.0  # times the TTFT of a request alone
WAITS_S = 0.05
AT_PEAK = 0.25  # of the time
PROMPTS_BUSY = 0.7  # of the time, at most, in which a server reads prompts
CONNECTS_NOTE = 0.1  # of the requests
CONNECTS_FLAG = 0.05  # of TTFT
CONNECTS_WORTH = 0.001  # less is lost in the noise: users who think open one for each turn


def _queue_unseen(case: Case) -> Finding | None:
    """Requests that wait somewhere, at a server that does not tell its queue."""
    view = case.view
    if not view.done or len(view.server("waiting").at_s):
        return None
    least_s, ttft_s = least_ttft_s(view), view.first_s - view.start_s
    if least_s is None or not len(ttft_s) or np.isnan(ttft_s).all():
        return None
    alone_s = max(least_s, _alone_s(view))
    usual_s = float(min(np.nanmedian(ttft_s), np.nanmean(ttft_s)))
    if usual_s < WAITS * alone_s or usual_s < alone_s + WAITS_S:
        return None
    values = {"ttft_s": float(np.nanmedian(ttft_s)), "alone_s": alone_s}
    capped = _answered_at_once(view, alone_s)
    if capped is None:
        return "note", values
    return "flag", {"variant": "few", "answered": capped, "batch": view.cell.shape.value, **values}


def least_ttft_s(view: View) -> float | None:
    """The least TTFT of the warm-up, in s, or where there is none that of the load; None without
    any answer."""
    begin_s = min((trace.start_s for trace in view.measured), default=0.0)
    every = [trace for trace in view.samples.traces if trace.answered and trace.chunk_s]
    warm = [trace for trace in every if trace.warmup and trace.end_s <= begin_s]
    return min((trace.chunk_s[0] - trace.start_s for trace in warm or every), default=None)


def _alone_s(view: View) -> float:
    """The mean TTFT in s of the requests that waited while no other did, 0 without any: they have
    prompts of each length, and those that a cache had and had not."""
    streams = [t for t in (*view.measured, *view.beside) if t.chunk_s]
    start_s = np.array([trace.start_s for trace in streams])
    first_s = np.array([trace.chunk_s[0] for trace in streams])
    alone = waits_alone(start_s, first_s)
    return float((first_s - start_s)[alone].mean()) if alone.any() else 0.0


def _answered_at_once(view: View, alone_s: float) -> float | None:
    """The number of streams of a closed loop that are answered at a time, where it has a limit
    below the batch that the reading of prompts, one after the other, cannot be the cause of."""
    shape, steady = view.cell.shape, view.steady
    if not isinstance(shape, Closed) or steady is None:
        return None
    streams = [t for t in (*view.measured, *view.beside) if t.chunk_s]
    answered = in_flight(
        np.array([trace.chunk_s[0] for trace in streams]),
        np.array([trace.end_s for trace in streams]),
    )
    begun = sum(steady.start_s <= trace.chunk_s[0] <= steady.end_s for trace in streams)
    peak = answered.peak(steady)
    if peak is None or peak >= SERVER_BATCH * shape.batch:
        return None
    if begun * alone_s > PROMPTS_BUSY * steady.length_s * peak:
        return None
    return peak if _time_at(answered, peak, steady.start_s, steady.end_s) >= AT_PEAK else None


def _time_at(series: Series, level: float, start_s: float, end_s: float) -> float:
    """The share of the time from `start_s` to `end_s` in which a series is at `level`."""
    at_s = np.clip(np.append(series.at_s, end_s), start_s, end_s)
    lasts_s = np.diff(at_s)
    return float(lasts_s[series.value >= level].sum()) / (end_s - start_s)


def _connections(case: Case) -> Finding | None:
    view = case.view
    opened = [
        (trace.connect_s, trace.chunk_s[0] - trace.start_s)
        for trace in view.done
        if trace.connect_s is not None and trace.chunk_s
    ]
    if not opened or len(opened) < CONNECTS_NOTE * len(view.done):
        return None
    connect_s = float(np.median([took_s for took_s, _ in opened]))
    share = float(np.median([took_s / max(ttft_s, 1e-9) for took_s, ttft_s in opened]))
    if share < CONNECTS_WORTH:
        return None
    severity: Severity = "flag" if share >= CONNECTS_FLAG else "note"
    return severity, {
        "opened": len(opened),
        "requests": len(view.done),
        "connect_s": connect_s,
        "ttft_fraction": min(1.0, share),
    }


RULES = (
    Rule(
        "queue_unseen",
        f"at a server without a reading of its queue, a median TTFT of {WAITS:g} times that of a "
        f"request in the warm-up and {seconds(WAITS_S)} more; a flag where at most "
        f"{percent(SERVER_BATCH)} of the batch is answered at a time, for {percent(AT_PEAK)} of "
        f"the time at that number, and the prompts take less than {percent(PROMPTS_BUSY)} of it",
        "Requests then wait, in the server or on the way; a limit on requests at a time shows as a "
        "level that the answered ones stay at, and the batch that counts is that one.",
        _queue_unseen,
    ),
    Rule(
        "connections",
        f"{percent(CONNECTS_NOTE)} of the requests opened a connection, which took "
        f"{percent(CONNECTS_WORTH)} of TTFT; a flag from {percent(CONNECTS_FLAG)} on",
        "Connections are opened before the load and kept; one more takes a round trip or, with "
        "TLS, two and some arithmetic, all of it within TTFT.",
        _connections,
    ),
)
