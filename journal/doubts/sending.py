"""Doubts about when requests were sent: streams that march in step, and rates that were missed."""

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.records.doubt import Severity
from journal.records.load_shape import Closed, Open
from journal.units import percent

IN_STEP_WINDOW = 0.05
IN_STEP_SHARE = 0.3
IN_STEP_STREAMS = 4
RATE_SHARE = 0.95
RATE_OFF = 0.01


def _in_step(case: Case) -> Finding | None:
    """The doubt that the streams of a closed loop begin their requests together, wave after wave:
    of the requests that the other streams begin within one turn (half the median E2E before and
    after), the share that begins within IN_STEP_WINDOW of E2E."""
    view, shape = case.view, case.view.cell.shape
    sent_s = np.sort(view.all_start_s)
    if not isinstance(shape, Closed) or len(sent_s) < shape.batch or not view.done:
        return None
    turn_s = float(np.median(view.e2e_s))
    whole = (sent_s >= sent_s[0] + turn_s / 2) & (sent_s <= sent_s[-1] - turn_s / 2)
    looked_at = sent_s[whole] if whole.any() else sent_s
    near, around = (
        np.sum(np.searchsorted(sent_s, looked_at + reach_s, side="right"))
        - np.sum(np.searchsorted(sent_s, looked_at - reach_s, side="left"))
        - len(looked_at)
        for reach_s in (IN_STEP_WINDOW * turn_s, turn_s / 2)
    )
    if shape.batch < IN_STEP_STREAMS or not around or near / around < IN_STEP_SHARE:
        return None
    values = {"near_fraction": float(near / around), "window_fraction": IN_STEP_WINDOW}
    values["spread_fraction"] = 2 * IN_STEP_WINDOW
    if view.cell.convoy:
        return "note", {"variant": "convoy", **values}
    return "flag", values


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
    most = view.cell.load.max_in_flight
    if most is not None and pace < 1 - RATE_OFF:
        return "note", {"variant": "limited", "sent_fraction": pace, "most": most, **rates}
    if pace < RATE_SHARE:
        return "flag", {"sent_fraction": pace, **rates}
    sent = achieved_per_s / shape.rate
    if case.count < view.cell.load.requests or abs(sent - 1) <= RATE_OFF:
        return None  # of a schedule that was cut short, the rate is not known
    severity: Severity = "flag" if abs(sent - 1) > 1 - RATE_SHARE else "note"
    variant = "late" if abs(pace - 1) > RATE_OFF else "schedule"
    return severity, {"variant": variant, "sent_fraction": sent, **rates}


RULES = (
    Rule(
        "in_step",
        f"from {IN_STEP_STREAMS} streams on, {percent(IN_STEP_SHARE)} of the requests that the "
        "others begin within half of the median E2E before and after each one begin within "
        f"{percent(IN_STEP_WINDOW)} of it; a note where load.convoy asks for it",
        f"Of spread streams about {percent(2 * IN_STEP_WINDOW)} do. Simulated over 3 to 20 turns, "
        "with E2E that varies by a tenth, fewer than 1% of spread loops reach three times that; of "
        "convoys whose E2E varies by 2% more than nine in ten do. Fewer streams meet by chance.",
        _in_step,
    ),
    Rule(
        "rate_not_achieved",
        f"sent at more than {percent(RATE_OFF)} off the rate that was asked for; a flag from "
        f"{percent(1 - RATE_SHARE)} on",
        "Latency near saturation rises steeply with the rate, so a twentieth less load matters. A "
        "schedule comes to the rate exactly; those of other tools and of earlier versions do not.",
        _rate_not_achieved,
    ),
)
