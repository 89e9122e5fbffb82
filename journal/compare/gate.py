"""A gate: whether a candidate is worse than a baseline by more than is allowed."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from journal.compare.comparison import Comparison, compared
from journal.compare.ratios import Ratio
from journal.compare.sides import find_side
from journal.compare.starts import by_unit, centre_of, more_needed, ratio_of
from journal.errors import UsageError
from journal.metrics.row import Metric
from journal.metrics.statistics import CONFIDENCE
from journal.metrics.table import TABLE, named
from journal.records.as_json import CheckedJson, GateJson
from journal.records.figure import Figure
from journal.records.money import CURRENCY, in_currency

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Hindrance = Literal["flagged", "left_out", "environment", "missing", "alone"]

LIMITS = {"output_tokens_per_s": 0.05, "ttft_s.p50": 0.05, "tpot_s.p50": 0.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One metric of a gate. `a` and `b` are the means of baseline and candidate over all cells that
    they share; None where a side lacks it. `worse` is the relative change for the worse, 0.05 for
    5% (negative: better), with its 95% interval; `limit` is what is allowed. `more` is the number
    of further repeats of each side that would decide; None where that is not known."""

    metric: Metric
    a: float | None
    b: float | None
    worse: Figure
    limit: float
    outcome: Outcome
    more: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The result of a check. It fails where a metric is worse by more than its limit, passes where
    all are shown not to be and nothing hinders, and is inconclusive else. `hindrances` maps what
    keeps it from a verdict to its particulars: flags or runs that do not count, surroundings that
    differ, metrics that a side lacks, cells that the candidate lacks."""

    comparison: Comparison
    checked: tuple[Checked, ...]
    hindrances: Mapping[Hindrance, tuple[str, ...]]

    @property
    def outcome(self) -> Outcome:
        """The verdict over all metrics."""
        if self.hindrances:
            return "INCONCLUSIVE"
        outcomes = {each.outcome for each in self.checked}
        return next(o for o in ("FAIL", "INCONCLUSIVE", "PASS") if o in outcomes)

    def as_json(self) -> GateJson:
        """The gate as plain JSON values, in SI units and bytes."""
        return {
            "verdict": self.outcome,
            "baseline": self.comparison.a.name,
            "candidate": self.comparison.b.name,
            "metrics": [_checked_json(each) for each in self.checked],
            "hindrances": {name: list(values) for name, values in self.hindrances.items()},
        }


def check(
    baseline: str,
    candidate: str,
    home: str | Path = "lab",
    *,
    limits: Mapping[str, float] | None = None,
    across: tuple[str, ...] = (),
) -> Gate:
    """Whether `candidate` is worse than `baseline`, sides as `compare` takes them, by more than
    `limits` allow: a relative change for each metric, such as 0.05 (None: LIMITS).

    A metric fails where the interval of its change lies beyond the limit, at a confidence that all
    metrics share (Bonferroni), and passes where its 95% interval lies within: at the limit itself
    each happens in at most 2.5%. Runs with flags, or that failed, and surroundings that differ
    leave it inconclusive; `across` names surroundings that may differ, such as `engine_version`.
    Raises UsageError for an unknown metric, for one that has no better direction, and where no
    cells can be paired; NotFound for a side that is not in the journal.
    """
    from journal.store.store import open_store

    asked = {_metric(name): limit for name, limit in (limits or LIMITS).items()}
    with open_store(Path(home)) as store:
        comparison = compared(find_side(store, baseline), find_side(store, candidate))
    return gate(comparison, asked, across)


def gate(
    comparison: Comparison, limits: Mapping[Metric, float], across: tuple[str, ...] = ()
) -> Gate:
    """The gate of a comparison, whose side A is the baseline."""
    share = shared_confidence(len(limits))
    checked = tuple(_judged(comparison, metric, limits[metric], share) for metric in limits)
    return Gate(
        comparison=comparison, checked=checked, hindrances=_hindrances(comparison, checked, across)
    )


def shared_confidence(metrics: int) -> float:
    """The confidence of each of so many intervals that hold together in 95% (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / metrics


def _metric(name: str) -> Metric:
    names = [row.name for row in TABLE]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "docs/metrics.md lists them"
        raise UsageError(f"there is no metric {name!r}: {hint}")
    metric = named(name)
    if metric.better == "neither":
        raise UsageError(f"{name} is neither better nor worse when it is higher: name another")
    return metric


def _judged(comparison: Comparison, metric: Metric, limit: float, share: float) -> Checked:
    way = comparison.measured
    pairs = [
        (a, b)
        for match in comparison.pairing.matches
        for a, b in match.pairs
        if by_unit(a, metric.name, way) and by_unit(b, metric.name, way)
    ]
    currencies = {record.facts.currency for pair in pairs for side in pair for record in side}
    if not pairs or (CURRENCY in metric.unit and len(currencies) > 1):
        return Checked(
            metric=metric, a=None, b=None, worse=Figure(None), limit=limit, outcome="INCONCLUSIVE"
        )
    a, b = (
        centre_of([record for pair in pairs for record in pair[side]], metric.name, way)
        for side in (0, 1)
    )
    ratio = ratio_of(pairs, metric.name, way)
    worse = worsening(ratio, metric)
    strict = worsening(ratio_of(pairs, metric.name, way, share), metric)
    outcome = decided(worse, strict, limit)
    more = None
    if outcome == "INCONCLUSIVE":
        sides = [by_unit(pair[side], metric.name, way) for pair in pairs for side in (0, 1)]
        more = more_needed(_beside(ratio, metric, limit), sides, way)
    shown = replace(metric, unit=in_currency(metric.unit, currencies))
    return Checked(metric=shown, a=a, b=b, worse=worse, limit=limit, outcome=outcome, more=more)


def decided(worse: Figure, strict: Figure, limit: float) -> Outcome:
    """The outcome for one metric: `worse` has its 95% interval, `strict` that of the confidence
    that all metrics share."""
    if strict.low is not None and strict.low > limit:
        return "FAIL"
    return "PASS" if worse.high is not None and worse.high <= limit else "INCONCLUSIVE"


def worsening(ratio: Ratio | None, metric: Metric) -> Figure:
    """The relative change for the worse of a ratio candidate / baseline."""
    if ratio is None:
        return Figure(None)
    ends = (ratio.low, ratio.high)
    if metric.better == "higher":
        low, high = (None if end is None else 1 - end for end in reversed(ends))
        return Figure(1 - ratio.value, low, high)
    low, high = (None if end is None else end - 1 for end in ends)
    return Figure(ratio.value - 1, low, high)


def _beside(ratio: Ratio | None, metric: Metric, limit: float) -> Ratio | None:
    """The ratio as it stands to the limit, which is what has to be told from chance."""
    if ratio is None:
        return None
    return Ratio(ratio.value / (1 + limit if metric.better == "lower" else max(1 - limit, 0.01)))


def _hindrances(
    comparison: Comparison, checked: tuple[Checked, ...], across: tuple[str, ...]
) -> dict[Hindrance, tuple[str, ...]]:
    flags = sorted({name for side in comparison.measured.flags for name in side})
    out = [f"{r.id[:8]} ({r.status})" for records in comparison.left_out for r in records]
    found: dict[Hindrance, tuple[str, ...]] = {
        "flagged": tuple(flags),
        "left_out": tuple(out),
        "environment": tuple(n for n in comparison.pairing.conditions if n not in across),
        "missing": tuple(each.metric.name for each in checked if each.a is None),
        "alone": tuple(
            ", ".join(f"{name} {value}" for name, value in cell.items())
            for cell in comparison.pairing.alone[0]
        ),
    }
    return {name: values for name, values in found.items() if values}


def _checked_json(checked: Checked) -> CheckedJson:
    return {
        "metric": checked.metric.name,
        "baseline": checked.a,
        "candidate": checked.b,
        "worse": checked.worse.value,
        "worse_low": checked.worse.low,
        "worse_high": checked.worse.high,
        "limit": checked.limit,
        "verdict": checked.outcome,
        "more_repeats": checked.more,
    }
