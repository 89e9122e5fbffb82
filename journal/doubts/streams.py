"""Doubts about the streams of answers in time: held back, stalled, of two speeds, cold at first."""

from typing import NamedTuple

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.metrics.arrays import Array, Index, outlier_limit
from journal.metrics.gaps import Gaps, medians
from journal.metrics.held_back import HELD
from journal.metrics.pace import AT_ONCE_S, BOUNDS_APART, FIRST_READ
from journal.metrics.silences import GROWTH, LEAST_S, UNLIKE, USUAL, Silences, Streams, silences
from journal.metrics.two_speeds import APART, SEPARATION, Loads, TwoSpeeds, two_speeds
from journal.metrics.view import View
from journal.metrics.window import in_flight
from journal.records.doubt import Severity
from journal.records.load_shape import Closed
from journal.records.request import Trace
from journal.units import percent, seconds

STALLED_FLAG = 0.02
SHORT = 0.25  # of the gaps of a median answer: an answer of fewer says little about its speed
WAVE_TOGETHER = 0.05  # of E2E, within which the requests of a wave begin
COLD_CHANCE = 0.001  # that so many requests of an open loop in a row are slow anywhere
COLD_ALONE, COLD_WAVE, MANY = 10.0, 5.0, 4  # deviations of fewer and of more than MANY requests
COLD_ABOVE = 1.1  # times any later wave: where some requests miss a cache, so may the first
REST = 2  # times the first requests, which the later ones must be
LEAST_REST = 5


def _held_back(case: Case) -> Finding | None:
    holding = case.view.holding
    if not holding.is_held:
        return None
    return "flag", {
        "held_fraction": min(1.0, float(holding.fraction or 0.0)),
        "waits_fraction": holding.waits_fraction,
        "signs": [holding.by],
    }


def _tpot_unknown(case: Case) -> Finding | None:
    """The doubt that the time per token of some answers is not known."""
    view, pace = case.view, case.view.pace
    several = (view.streamed_tokens > 1) & ~pace.in_one_read
    first = several & pace.mostly_at_once
    wide = several & ~first & ~pace.is_known & ~np.isnan(pace.most_s)
    values = {"answers": len(view.done)}
    if first.sum() > wide.sum():
        return "flag", {"variant": "first_read", "unknown": int(first.sum()), **values}
    if not wide.any():
        return None
    assumed = view.samples.readings.imported and not view.holding.is_held
    return "note" if assumed else "flag", {
        **({"variant": "one_in_first"} if assumed else {}),
        "unknown": int(wide.sum()),
        **values,
        "least_s": float(np.median(pace.least_s[wide])),
        "most_s": float(np.median(pace.most_s[wide])),
    }


def _stalled(case: Case) -> Finding | None:
    view = case.view
    if view.span is None or view.span.length_s <= 0:
        return None
    found = view.once(all_silent).stalls
    if found is None:
        return None
    stalled = found.total_s / view.span.length_s
    severity: Severity = "flag" if stalled >= STALLED_FLAG else "note"
    return severity, {
        "variant": "one" if found.times == 1 else "several",
        "stalls": found.times,
        "longest_s": found.longest_s,
        "stalled_fraction": min(1.0, stalled),
        "after_s": max(0.0, found.at_s - view.span.start_s),
        "usual_s": found.usual_s,
    }


def all_silent(view: View) -> Silences:
    """The times in which no stream had a chunk."""
    late_s = view.samples.client.loop_delay_max_s
    return silences(_streams(view), 0.0 if late_s is None else late_s, _is_fresh(view))


def _is_fresh(view: View) -> bool:
    """Whether the prompts are random, and none begins like another."""
    workload = view.cell.workload
    repeats = workload.shared_prefix or workload.is_conversation
    given = workload.is_own or workload.trace is not None or view.samples.readings.imported
    return not (repeats or given)


def _streams(view: View) -> Streams:
    """All streams of the load, those beside the measured ones too."""
    traces = (*view.measured, *view.beside)
    chunk_s = np.array([at_s for trace in traces for at_s in trace.chunk_s])
    owner = np.repeat(np.arange(len(traces)), [len(trace.chunk_s) for trace in traces])
    gaps = np.diff(chunk_s)
    own = (np.diff(owner) == 0) & (gaps > AT_ONCE_S)
    return Streams(
        np.array([trace.start_s for trace in traces]),
        np.array([trace.chunk_s[0] if trace.chunk_s else trace.end_s for trace in traces]),
        np.array([trace.chunk_s[-1] if trace.chunk_s else trace.end_s for trace in traces]),
        medians(gaps[own], owner[1:][own], len(traces)),
        chunk_s,
        np.array(list(map(_read_tokens, traces))),
        np.array([trace.cached_tokens is not None for trace in traces]) | _hits_none(view),
    )


def _hits_none(view: View) -> bool:
    """Whether the server tells that its cache had nothing of any prompt."""
    hits = view.server("prefix_hits_total").value
    return len(hits) > 1 and hits[0] == hits[-1]


def _read_tokens(trace: Trace) -> int:
    """The tokens of a prompt that the server had to read: those that it still had are none."""
    return (trace.prompt_tokens or trace.prompt_tokens_asked) - (trace.cached_tokens or 0)


def _two_speeds(case: Case) -> Finding | None:
    found = case.view.once(speeds)
    if found is None or found.explained_by:
        return None
    return "flag", {
        "fast_s": found.fast_s,
        "slow_s": found.slow_s,
        "slow_fraction": found.slow_fraction,
    }


def speeds(view: View) -> TwoSpeeds | None:
    """The two speeds of the requests of a load; None where they have one. The median gap of an
    answer that is far shorter than the others is too uncertain to count."""
    if view.holding.is_held or not view.done:
        return None
    gaps = view.itl if len(view.itl.values) else view.icl
    pace_s = medians(gaps.values, gaps.owner, len(view.done))
    many = np.bincount(gaps.owner, minlength=len(view.done))
    known = ~np.isnan(pace_s) & (many >= SHORT * np.median(many))
    order = np.argsort(view.start_s, kind="stable")
    order = order[known[order]]
    flight = in_flight(view.loop_start_s, view.loop_end_s)
    crowd = flight.value[np.searchsorted(flight.at_s, (view.start_s + view.end_s) / 2) - 1]
    tokens = np.nan_to_num(view.output_tokens)
    prompts = np.array([trace.prompt_tokens_asked for trace in view.done], dtype=float)
    rows = np.full(len(view.done), -1)
    rows[order] = np.arange(len(order))
    at_s, gap_s, owner = view.gaps
    row = rows[owner]
    chunks = Gaps(at_s[row >= 0], gap_s[row >= 0], row[row >= 0])
    return two_speeds(pace_s[order], chunks, Loads(crowd[order], tokens[order], prompts[order]))


def _cold_start(case: Case) -> Finding | None:
    cold, view = case.view.once(coldness), case.view
    if cold is None or cold.by_lengths:
        return None
    untold = any(trace.cached_tokens is None for trace in view.done)
    severity: Severity = "note" if untold and not (_is_fresh(view) or _hits_none(view)) else "flag"
    return severity, {
        "first": cold.first,
        "requests": len(view.done),
        "metric": cold.metric,
        "first_s": cold.first_s,
        "after_s": cold.after_s,
    }


class Coldness(NamedTuple):
    """How many first requests were far slower than the later ones, in which metric, the medians of
    both in s, and whether the lengths of prompts and answers may be why."""

    first: int
    metric: str
    first_s: float
    after_s: float
    by_lengths: bool


def coldness(view: View) -> Coldness | None:
    """The slow first requests of a load, beside what lengths explain, or if there are none by
    themselves; None where there are none, or where they were slower by no more than a slow step of
    the server."""
    order = np.argsort(view.start_s, kind="stable")
    if not len(order) or any(trace.start_s < view.start_s.min() for trace in view.beside):
        return None
    step_s = float(np.median(view.icl.values)) if len(view.icl.values) else 0.0
    found = []
    for name, all_s in (("e2e_s", view.e2e_s), ("ttft_s", view.ttft_s)):
        values = all_s[order]
        if not np.all(values > 0):  # else not known, or recorded without a clock
            continue
        beside = _cold(view, order, values / _by_lengths(view, order, values, name), name)
        first = beside or _cold(view, order, values, name)
        if not 0 < first < len(values):
            continue
        first_s, after_s = float(np.median(values[:first])), float(np.median(values[first:]))
        if first_s - after_s > USUAL * step_s:
            found.append(Coldness(first, name, first_s, after_s, by_lengths=beside == 0))
    return min(found, key=lambda cold: cold.by_lengths, default=None)


def _by_lengths(view: View, order: Index, values: Array, name: str) -> Array:
    """How long requests, in order of start, take at most by their lengths: the usual time, or as
    much as usual for each token of the prompts that were read meanwhile, or for the squares of
    these prompts, as attention takes, or in E2E for each token of their own."""
    traces = [trace for trace in (*view.measured, *view.beside) if trace.chunk_s]
    tokens = np.array([max(1, _read_tokens(trace)) for trace in traces], dtype=float)
    own = view.output_tokens[order]
    loads = [np.ones(len(values))]
    if name == "e2e_s":
        loads.append(own)
    if len(np.unique(tokens)) > 1:
        read_s = np.array([trace.chunk_s[0] for trace in traces])
        by_time, read_s = np.argsort(read_s, kind="stable"), np.sort(read_s)
        until_s = (view.end_s if name == "e2e_s" else view.first_s)[order]
        until = np.searchsorted(read_s, until_s, side="right")
        since = np.searchsorted(read_s, view.start_s[order], side="right")
        for power in (1.0, GROWTH):
            read = np.append(0.0, np.cumsum(tokens[by_time] ** power))
            loads.append(read[until] - read[since])
    carried = [load for load in loads if np.all(load > 0)]  # not NaN: not known
    longest_s: Array = np.max([load * np.median(values / load) for load in carried], axis=0)
    return longest_s


def _cold(view: View, order: Index, values: Array, name: str) -> int:
    """How many of the first requests were far slower than the others, by `values` in order of
    start: in a closed loop the first of all streams or none, and none where later ones of all
    streams were about as slow."""
    shape, count = view.cell.shape, len(values)
    if not isinstance(shape, Closed):
        far = values > outlier_limit(values, COLD_ALONE)
        leading = int(np.argmin(far)) if not far.all() else 0
        return leading if float(far[leading:].mean()) ** leading <= COLD_CHANCE else 0
    first = shape.batch
    if count - first < max(LEAST_REST, REST * first):
        return 0
    if name == "ttft_s" and first > 1 and not _wave(view, order, first):
        return 0
    deviations = COLD_WAVE if first >= MANY else COLD_ALONE
    limit = outlier_limit(values[first:], deviations)
    waves = [float(np.median(wave)) for wave in np.split(values, range(first, count, first))]
    return first if waves[0] > max(limit, COLD_ABOVE * max(waves[1:])) else 0


def _wave(view: View, order: Index, first: int) -> bool:
    """Whether the second requests of all streams began together as well as the first."""
    starts = view.start_s[order]
    second = starts[first : 2 * first]
    together_s = WAVE_TOGETHER * float(np.median(view.e2e_s))
    return len(second) == first and float(np.ptp(second)) <= together_s


RULES = (
    Rule(
        "held_back",
        f"{percent(HELD)} of the time that the tokens take lies before the first chunk, by the "
        "server's own decode times, by its count of tokens beside those that came here, or by "
        "answers of different length, whose first chunk comes the later the longer they are",
        "A proxy that buffers a whole answer makes TTFT of E2E; where half is held back, the time "
        "per token is half of what it was.",
        _held_back,
    ),
    Rule(
        "tpot_unknown",
        f"the bounds of one answer's TPOT are {BOUNDS_APART:g} times apart, or more than "
        f"{percent(FIRST_READ)} of its tokens came in the first read (chunks within "
        f"{seconds(AT_ONCE_S)})",
        "Where the tokens of each chunk are not told, any number may have been made before the "
        "first one, as thoughts or in it: TPOT then lies between that of all tokens and E2E / "
        "tokens, which no token exceeds on average.",
        _tpot_unknown,
    ),
    Rule(
        "stalled",
        f"no stream had a chunk for {USUAL:g} usual gaps and {seconds(LEAST_S)}, beyond what "
        "the prompts that were read meanwhile and the client's own delay explain; where nobody "
        f"tells how much of these a cache had, only beside random prompts, and for {UNLIKE:g} "
        "times as long as any others took; a flag from "
        f"{percent(STALLED_FLAG)} of the time",
        "Streams of one server share its steps, so that all of them wait where it stops; six times "
        "as long is a slow step, and a scheduler of a shared machine takes tens of ms. A prompt "
        "that no cache had may be read in one step, which is silent too.",
        _stalled,
    ),
    Rule(
        "two_speeds",
        f"the median gaps of requests fall into two groups, {percent(APART - 1)} and "
        f"{SEPARATION:g} deviations apart, of which neither time nor load nor length decides, "
        "nor chunks in one read",
        "Streams of one server share its steps; at the same time they differ where they are served "
        "by two. Halves of one normal group are 2.7 deviations apart.",
        _two_speeds,
    ),
    Rule(
        "cold_start",
        "the median of the first requests of all streams lies half as much again and "
        f"{COLD_WAVE:g} robust standard deviations above the later ones ({COLD_ALONE:g} where they "
        f"are fewer than {MANY}), and {percent(COLD_ABOVE - 1)} above each later wave: in E2E, or "
        "in TTFT where the second requests of the streams began together too; in open loop the "
        f"very first ones lie {COLD_ALONE:g} above, which so few of the others do that chance "
        f"would hardly begin with them; by more than {USUAL:g} usual gaps, beside the time that as "
        "many tokens of prompts and answers usually take, or their squares, and a note where a "
        "cache may have had parts of prompts that nobody tells",
        "A server compiles kernels and fills caches for the batch that it meets, which a warm-up "
        "of two requests does not show it.",
        _cold_start,
    ),
)
