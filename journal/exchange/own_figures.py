"""The figures that a result file gives itself, compared with those computed from its requests, or
with each other where it has no requests.

Tools count the same things in different ways: a latency is compared with what its tool means by
it, and a percentile with the two neighbours between which any method puts it.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from journal.doubts.imports import FAR, ROUNDING, ROUNDING_S
from journal.exchange.foreign import Foreign, given_values
from journal.metrics.arrays import Array
from journal.metrics.statistics import PERCENTILES
from journal.metrics.view import View
from journal.records.doubt import Values as DoubtValues
from journal.records.figure import Metrics

Values: TypeAlias = Mapping[str, Array]

# Latencies as tools mean them that are no metric here, and the metric whose name a doubt gives.
NAMES = {"e2e_from_send_s": "e2e_s", "tpot_of_tokens_s": "tpot_s"}
MOST = 6  # differences that a doubt tells
DECIMALS = 0.005  # of a rate or a time in s: some tools write two decimals


def differences(foreign: Foreign, figures: Metrics, view: View | None) -> DoubtValues | None:
    """What differs between the file's own figures and `figures` with the values of its requests
    (from `view`, or from the run's samples without one): the values of a doubt "tool_differs", or
    None where all agree."""
    values = of_requests(view) if view else _arrays(foreign.samples)
    apart: list[DoubtValues] = []
    far = False
    for name, theirs in foreign.own.items():
        between = _between(name, values, figures)
        if between is None or _agree(name, theirs, between):
            continue
        ours = min(between, key=lambda end: abs(end - theirs))
        far |= abs(theirs - ours) > FAR * abs(ours)
        family, _, statistic = name.partition(".")
        shown = ".".join(filter(None, (NAMES.get(family, family), statistic)))
        unit = "s" if family.endswith("_s") and not family.endswith("per_s") else "plain"
        apart.append({"variant": unit, "metric": shown, "ours": ours, "theirs": theirs})
    return _claim(foreign.tool, "requests", apart, far=far)


def contradictions(foreign: Foreign, figures: Metrics) -> DoubtValues | None:
    """What differs between `figures` that a file gives alone: rates that are not their counts over
    the duration, percentiles out of order, a mean TTFT beyond the mean E2E. The values of a doubt
    "tool_differs", or None where all agree."""
    known = given_values(figures)
    apart: list[DoubtValues] = []
    far = False
    for name, count in _counts(known).items():
        theirs, duration_s = known.get(name), foreign.duration_s
        if theirs is None or not duration_s:
            continue
        ours = count / duration_s
        room = (ROUNDING + DECIMALS / duration_s) * ours + DECIMALS
        if abs(theirs - ours) > room:
            far |= abs(theirs - ours) > FAR * ours
            apart.append({"variant": "own", "metric": name, "ours": ours, "theirs": theirs})
    for low, high in _orders():
        least, theirs = known.get(low), known.get(high)
        if least is not None and theirs is not None and least > theirs * (1 + ROUNDING):
            far = True
            apart.append({"variant": "least", "metric": high, "ours": least, "theirs": theirs})
    return _claim(foreign.tool, "figures", apart, far=far)


def _claim(tool: str, by: str, apart: Sequence[DoubtValues], *, far: bool) -> DoubtValues | None:
    """The values of a doubt "tool_differs" on figures that are not as their file's requests, or its
    other figures, have them; None without such figures."""
    if not apart:
        return None
    kept: list[DoubtValues] = list(apart[:MOST])
    claim: DoubtValues = {"variant": "tool_differs", "tool": tool, "differences": kept}
    return {**claim, "by": by, "far": int(far)}


def _counts(known: Mapping[str, float]) -> dict[str, float]:
    """The counts whose rates a file may give, by the names of those rates."""
    counts = {}
    if "requests" in known:
        counts["requests_per_s"] = known["requests"] - known.get("errors", 0.0)
    if "output_tokens" in known:
        counts["output_tokens_per_s"] = known["output_tokens"]
        if "prompt_tokens" in known:
            counts["total_tokens_per_s"] = known["output_tokens"] + known["prompt_tokens"]
    return counts


def _orders() -> list[tuple[str, str]]:
    """The pairs of figures of which the first is never above the second."""
    ranks = sorted(PERCENTILES, key=PERCENTILES.__getitem__)
    families = ("ttft_s", "tpot_s", "icl_s", "e2e_s")
    pairs = [(f"{f}.{a}", f"{f}.{b}") for f in families for a, b in pairwise(ranks)]
    pairs += [(f"{f}.{ranks[0]}", f"{f}.{ranks[-1]}") for f in families]
    return [*pairs, ("ttft_s.mean", "e2e_s.mean")]


def of_requests(view: View) -> Values:
    """The values of each latency that tools give, one for each request or chunk that has one."""
    lasting_s, tokens = view.last_s - view.first_s, view.output_tokens - 1
    several = (tokens > 0) & np.isfinite(lasting_s)
    each = lasting_s[several] / tokens[several]
    values = {
        "ttft_s": view.ttft_s,
        "ttft_from_send_s": view.first_s - view.start_s,
        "e2e_s": view.e2e_s,
        "e2e_from_send_s": view.end_s - view.start_s,
        "icl_s": view.icl.values,
        "tpot_s": each,
        "tpot_of_tokens_s": np.repeat(each, np.minimum(tokens[several], 10**5).astype(int)),
    }
    return {name: found[np.isfinite(found)] for name, found in values.items()}


def _arrays(samples: Mapping[str, Sequence[float]]) -> Values:
    return {name: np.asarray(values, dtype=float) for name, values in samples.items()}


def _between(name: str, values: Values, figures: Metrics) -> tuple[float, float] | None:
    """The two ends between which the file's own figure should lie; None where there is nothing to
    compare it with."""
    family, _, statistic = name.partition(".")
    if statistic:
        sample = values.get(family)
        if sample is None or not len(sample):
            return None
        if statistic == "mean":
            return (float(sample.mean()),) * 2
        at = 1.0 if statistic == "max" else PERCENTILES[statistic]
        low, high = (float(np.quantile(sample, at, method=m)) for m in ("lower", "higher"))
        return low, high
    figure = figures.get(name)
    value = None if figure is None else figure.value
    return None if value is None else (value, value)


def _agree(name: str, theirs: float, between: tuple[float, float]) -> bool:
    low, high = between
    family = name.partition(".")[0]
    least = ROUNDING_S if family.endswith("_s") and not family.endswith("per_s") else 1e-9
    room = max(least, ROUNDING * max(abs(low), abs(high)))
    return math.isfinite(theirs) and low - room <= theirs <= high + room
