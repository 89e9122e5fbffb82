"""The doubt about how sure a run's figures are: which of them have no interval, and why."""

from journal.doubts.rule import Case, Finding, Rule
from journal.metrics.inference import BEYOND, BEYOND_OPEN, EITHER, OPEN_REQUESTS, Units
from journal.metrics.statistics import LEAST_GROUPS, PERCENTILES
from journal.records.doubt import Value

LATENCIES = ("ttft_s", "tpot_s", "e2e_s")


def _interval_refused(case: Case) -> Finding | None:
    if not case.view.done:
        return None
    run = case.view.units
    if run.refusal is not None:
        return "note", {
            "variant": run.refusal,
            "requests": run.requests,
            "unit": run.unit,
            "units": run.whole,
            "needed_units": LEAST_GROUPS,
            "enough_requests": run.needed,
        }
    parts = [*_percentiles(case, run), *_between(case, run), *_few_differ(case)]
    return ("note", {"variant": "some", "refused": parts}) if parts else None


def _percentiles(case: Case, run: Units) -> list[Value]:
    """The percentiles that are given without an interval, and the requests that each takes."""
    return [
        {"variant": "percentile", "percentile": name, "enough_requests": run.needed_for(at)}
        for name, at in PERCENTILES.items()
        if run.requests < run.needed_for(at)
        and any(case.value(f"{family}.{name}") is not None for family in LATENCIES)
    ]


def _between(case: Case, run: Units) -> list[Value]:
    """The latencies whose median has no interval although there are requests enough for one."""
    if run.requests < run.needed_for(PERCENTILES["p50"]):
        return []
    medians = ((family, case.metrics.get(f"{family}.p50")) for family in LATENCIES)
    return [
        {"variant": "between", "family": family}
        for family, figure in medians
        if figure is not None and figure.value is not None and figure.low is None
    ]


def _few_differ(case: Case) -> list[Value]:
    """The latencies of an open loop whose mean has no interval although the run has some."""
    means = ((family, case.metrics.get(f"{family}.mean")) for family in LATENCIES)
    return [
        {"variant": "mean", "family": family}
        for family, figure in means
        if figure is not None and figure.value is not None and figure.low is None
    ]


RULES = (
    Rule(
        "interval_refused",
        f"fewer than {LEAST_GROUPS} waves of a closed loop, or {LEAST_GROUPS} blocks and "
        f"{OPEN_REQUESTS} requests of an open one; for a percentile, fewer than {BEYOND} waves, or "
        f"above the median {BEYOND_OPEN} requests of an open loop, beyond it; a median between two "
        f"kinds of requests, each {EITHER:.0%} of them or more",
        "Requests in flight together are alike, so that few waves or blocks say little about the "
        "next ones; docs/calibration.md has how often an interval holds the truth from there on.",
        _interval_refused,
    ),
)
