"""All rules of doubt, the doubts that they find in a run, and the status of the run."""

from journal.doubts import (
    answers,
    certainty,
    imports,
    loading,
    sending,
    serving,
    streams,
    surroundings,
    unseen,
    waiting,
)
from journal.doubts.rule import Case, Rule, plain_values
from journal.metrics.view import View
from journal.records.doubt import Doubt, Values
from journal.records.figure import Metrics
from journal.records.run import Status
from journal.records.samples import Samples

RULES: tuple[Rule, ...] = (
    *answers.RULES,
    *streams.RULES,
    *waiting.RULES,
    *sending.RULES,
    *loading.RULES,
    *certainty.RULES,
    *serving.RULES,
    *surroundings.RULES,
    *imports.RULES,
    *unseen.RULES,
)
_RANK = {"invalid": 0, "flag": 1, "note": 2}
_LEADS = "client_saturated"  # a client that measures itself makes all else doubtful


def doubts(
    run: Samples | View, metrics: Metrics, changes: tuple[Values, ...] = ()
) -> tuple[Doubt, ...]:
    """The doubts about a run, in order: a saturated client, then doubts that make the run invalid,
    doubts that flag it, and notes, among them those on absent readings. `changes` lists the
    differences of its environment from that of the first run of its experiment."""
    case = Case(View.of(run), metrics, changes)
    reasons = []
    for rule in RULES:
        finding = rule.check(case)
        if finding is not None:
            severity, values = finding
            reasons.append(Doubt(rule.name, plain_values(values), severity))
    absent = case.view.samples.readings.absent
    reasons += [unread(values) for values in absent if not imports.is_claim(values)]
    return _in_order(reasons)


def doubts_of_figures(
    requests: int, failed: int, allowed: float, absent: tuple[Values, ...]
) -> tuple[Doubt, ...]:
    """The doubts about a run that is known by its figures alone, in the order of `doubts`: those on
    its `failed` requests, of which a fraction `allowed` may fail, and on what is `absent`."""
    findings = imports.of_claims(absent) | answers.of_failures(requests, failed, allowed)
    reasons = [
        Doubt(name, plain_values(values), severity) for name, (severity, values) in findings.items()
    ]
    reasons += [unread(values) for values in absent if not imports.is_claim(values)]
    return _in_order(reasons)


def _in_order(reasons: list[Doubt]) -> tuple[Doubt, ...]:
    return tuple(sorted(reasons, key=lambda doubt: (doubt.name != _LEADS, _RANK[doubt.severity])))


def unread(values: Values) -> Doubt:
    """The note that a reading is absent, by its `values`."""
    return Doubt("absent", plain_values(values), "note")


def status(run: Samples | View, doubts: tuple[Doubt, ...]) -> Status:
    """The status of a run: failed where no request succeeded, invalid or flagged by the worst of
    its `doubts`, else valid."""
    return worst(doubts) if View.of(run).done else "failed"


def worst(doubts: tuple[Doubt, ...]) -> Status:
    """The status of a run of which a request succeeded: by the worst of its `doubts`."""
    severities = {doubt.severity for doubt in doubts}
    if "invalid" in severities:
        return "invalid"
    return "flagged" if "flag" in severities else "valid"
