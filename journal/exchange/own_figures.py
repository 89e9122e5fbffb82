"""The figures that a result file gives itself, compared with those computed from its requests.

Tools count the same things in different ways: a latency is compared with what its tool means by
it, and a percentile with the two neighbours between which any method puts it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from journal.doubts.imports import FAR, ROUNDING, ROUNDING_S
from journal.exchange.foreign import Foreign
from journal.metrics.statistics import PERCENTILES, Array
from journal.metrics.view import View
from journal.records.doubt import Values as DoubtValues
from journal.records.figure import Metrics

Values: TypeAlias = Mapping[str, Array]

# Latencies as tools mean them that are no metric here, and the metric whose name a doubt gives.
NAMES = {"e2e_from_send_s": "e2e_s", "tpot_of_tokens_s": "tpot_s"}
MOST = 6  # differences that a doubt tells


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
    if not apart:
        return None
    kept: list[DoubtValues] = apart[:MOST]
    return {"variant": "tool_differs", "tool": foreign.tool, "differences": kept, "far": int(far)}


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
