"""The note on what could not be looked for in a run, and why."""

import numpy as np

from journal.doubts.loading import found_drift, settled, slow_change
from journal.doubts.rule import Case, Finding, Rule
from journal.doubts.streams import all_silent, coldness, speeds
from journal.metrics.drift import LEAST
from journal.metrics.gaps import LEAST_GAPS
from journal.records.doubt import Value, Values
from journal.units import percent

CHANGE = 0.2  # of the gaps between chunks, which is worth a word though it may be chance
WAITS_NOTE = 0.2  # of E2E before the first chunk: below that TPOT is off by no more


def _unseen(case: Case) -> Finding | None:
    """What could not be looked for."""
    if not case.view.done:
        return None
    looked = (_drift, _stalls, _holding, _prefix_cache, _speeds, _cold)
    parts: list[Value] = [part for look in looked if (part := look(case)) is not None]
    return ("note", {"parts": parts}) if parts else None


def _drift(case: Case) -> Values | None:
    view = case.view
    if case.view.cell.shape.profile is not None:
        return {"variant": "ramp"}
    waves, change = len(settled(view, view.e2e_s)), _change(case)
    if abs(change) >= CHANGE and found_drift(case) is None:
        way = "slower" if change > 0 else "faster"
        return {"variant": way, "waves": waves, "change_fraction": abs(change)}
    if (slow := slow_change(case)) is not None:
        before_s, after_s = slow.drift.before, slow.drift.after
        return {"variant": "slow", "metric": slow.metric, "before_s": before_s, "after_s": after_s}
    return {"variant": "drift", "waves": waves, "needed": LEAST} if waves < LEAST else None


def _stalls(case: Case) -> Values | None:
    """Whether a silence of all streams may be a stall, or the reading of a prompt."""
    longest_s = case.view.once(all_silent).unsure_s
    return {"variant": "stalls", "longest_s": longest_s} if longest_s else None


def _change(case: Case) -> float:
    """How much longer the median gap between chunks was in the last third of the steady state than
    in the first; 0 where there is none."""
    view = case.view
    steady, (at_s, gaps, _) = view.steady, view.gaps
    if steady is None or not len(gaps):
        return 0.0
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
    """Whether answers are too short for a pace of their own, or as unequal as their speeds."""
    view = case.view
    counts = np.bincount(view.icl.owner, minlength=len(view.done))
    if not np.any(counts >= LEAST_GAPS):
        return {"variant": "speeds", "gaps": LEAST_GAPS}
    found = view.once(speeds)
    if found is None or not found.explained_by:
        return None
    return {
        "variant": f"speeds_{found.explained_by}",
        "fast_s": found.fast_s,
        "slow_s": found.slow_s,
    }


def _cold(case: Case) -> Values | None:
    """Whether first requests were slow whose lengths may be why."""
    cold = case.view.once(coldness)
    if cold is None or not cold.by_lengths:
        return None
    return {
        "variant": "cold",
        "first": cold.first,
        "metric": cold.metric,
        "first_s": cold.first_s,
        "after_s": cold.after_s,
    }


RULES = (
    Rule(
        "unseen",
        f"a rate that changes; fewer than {LEAST} settled requests or waves to see drift in, or "
        f"gaps between chunks that changed by {percent(CHANGE)} without being certain drift, or a "
        "change that noise which lasts may be; a "
        "silence of all streams in which prompts were read that a cache may have had in part; more "
        f"than {percent(WAITS_NOTE)} of E2E before the first chunk and nothing that tells a proxy "
        "which holds answers back from a long prefill; neither the server nor its answers tell "
        f"cached tokens; fewer than {LEAST_GAPS} gaps in every answer to see servers of two speeds "
        "by, or two speeds of answers that differ as much in what they carry; slow first requests "
        "whose lengths may be why",
        "What could not be looked for is said: the silence of a rule that had nothing to look at "
        "is no sign of health.",
        _unseen,
    ),
)
