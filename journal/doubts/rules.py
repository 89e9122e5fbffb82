"""The reasons not to take a run at face value, each with a named threshold and what to do."""

from journal.doubts import answers, loading, serving, surroundings
from journal.doubts.rule import Case, Rule, plain
from journal.metrics.view import View
from journal.records.doubt import Doubt, Values
from journal.records.figure import Metrics
from journal.records.run import Status
from journal.records.samples import Samples

RULES: tuple[Rule, ...] = (
    *answers.RULES,
    *loading.RULES,
    *serving.RULES,
    *surroundings.RULES,
)
_RANK = {"invalid": 0, "flag": 1, "note": 2}
_LEADS = "client_saturated"  # a client that measures itself makes all else doubtful


def doubts(
    run: Samples | View, metrics: Metrics, changes: tuple[Values, ...] = ()
) -> tuple[Doubt, ...]:
    """What speaks against this run: the client's saturation first, then what makes it invalid,
    what flags it, and what is worth knowing, among that what could not be read. `changes` says in
    which ways its environment is not that of the first run of its experiment."""
    case = Case(View.of(run), metrics, changes)
    found = []
    for rule in RULES:
        finding = rule.check(case)
        if finding is not None:
            severity, values = finding
            found.append(Doubt(rule.name, plain(values), severity))
    found += [unread(values) for values in case.view.samples.readings.absent]
    return tuple(sorted(found, key=lambda doubt: (doubt.name != _LEADS, _RANK[doubt.severity])))


def unread(values: Values) -> Doubt:
    """The note that something could not be read."""
    return Doubt("absent", plain(values), "note")


def status(run: Samples | View, doubts: tuple[Doubt, ...]) -> Status:
    """`failed` if nothing succeeded, `invalid` or `flagged` by the worst doubt, else `valid`."""
    if not View.of(run).done:
        return "failed"
    severities = {doubt.severity for doubt in doubts}
    if "invalid" in severities:
        return "invalid"
    return "flagged" if "flag" in severities else "valid"
