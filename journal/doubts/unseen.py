"""The note on what could not be looked for in a run, and why."""

import numpy as np

from journal.doubts.loading import found_drift, is_ramp, settled
from journal.doubts.rule import Case, Finding, Rule
from journal.doubts.streams import all_silent
from journal.metrics.drift import LEAST
from journal.metrics.two_speeds import GAPS
from journal.records.doubt import Value, Values
from journal.units import percent

CHANGE = 0.2  # of the gaps between chunks, which is worth a word though it may be chance
WAITS_NOTE = 0.2  # of E2E before the first chunk: below that TPOT is off by no more


def _unseen(case: Case) -> Finding | None:
    """What could not be looked for."""
    if not case.view.done:
        return None
    looked = (_drift, _stalls, _holding, _prefix_cache, _speeds)
    parts: list[Value] = [part for look in looked if (part := look(case)) is not None]
    return ("note", {"parts": parts}) if parts else None


def _drift(case: Case) -> Values | None:
    view = case.view
    if is_ramp(case):
        return {"variant": "ramp"}
    waves, change = len(settled(case, view.e2e_s)), _change(case)
    if abs(change) >= CHANGE and found_drift(case) is None:
        way = "slower" if change > 0 else "faster"
        return {"variant": way, "waves": waves, "change_fraction": abs(change)}
    return {"variant": "drift", "waves": waves, "needed": LEAST} if waves < LEAST else None


def _stalls(case: Case) -> Values | None:
    """Whether a silence of all streams may be a stall, or the reading of a prompt."""
    longest_s = all_silent(case.view).unsure_s
    return {"variant": "stalls", "longest_s": longest_s} if longest_s else None


def _change(case: Case) -> float:
    """How much longer the median gap between chunks was in the last third of the steady state than
    in the first; 0 where there is none."""
    view = case.view
    steady, gaps = view.steady, view.icl.values
    if steady is None or not len(gaps):
        return 0.0
    at_s = view.chunk_s[1:][np.diff(view.chunk_owner) == 0]
    third_s = steady.length_s / 3
    early = gaps[(at_s >= steady.start_s) & (at_s < steady.start_s + third_s)]
    late = gaps[(at_s > steady.end_s - third_s) & (at_s <= steady.end_s)]
    if not len(early) or not len(late) or np.median(early) <= 0:
        return 0.0
    return float(np.median(late) / np.median(early)) - 1


def _holding(case: Case) -> Values | None:
    holding = case.view.holding
    several = bool(np.any(case.view.streamed_tokens > 1))
    if holding.by is not None or not several or not holding.waits_fraction > WAITS_NOTE:
        return None
    return {"variant": "held_back", "waits_fraction": holding.waits_fraction}


def _prefix_cache(case: Case) -> Values | None:
    """Whether nobody tells what came from a prefix cache."""
    view = case.view
    told = any(trace.cached_tokens is not None for trace in view.done)
    return None if told or len(view.server("prefix_hits_total").at_s) else {"variant": "cache"}


def _speeds(case: Case) -> Values | None:
    """Whether answers are too short for a pace of their own."""
    view = case.view
    counts = np.bincount(view.icl.owner, minlength=len(view.done))
    if np.any(counts >= GAPS):
        return None
    return {"variant": "speeds", "gaps": GAPS}


RULES = (
    Rule(
        "unseen",
        f"a rate that changes; fewer than {LEAST} settled requests or waves to see drift in, or "
        f"gaps between chunks that changed by {percent(CHANGE)} without being certain drift; a "
        "silence of all streams in which prompts were read that a cache may have had in part; more "
        f"than {percent(WAITS_NOTE)} of E2E before the first chunk and nothing that tells a proxy "
        "which holds answers back from a long prefill; neither the server nor its answers tell "
        f"cached tokens; fewer than {GAPS} gaps in every answer to see servers of two speeds by",
        "What could not be looked for is said: the silence of a rule that had nothing to look at "
        "is no sign of health.",
        _unseen,
    ),
)
