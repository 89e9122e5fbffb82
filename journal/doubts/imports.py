"""Doubts about what another tool's result file says of itself: figures that its own requests, or
its other figures, do not give, and runs that the tool did not end.

What the file says is kept among the run's absent readings, under the variants of CLAIMS, since a
result file is read once and its doubts are found again whenever the run is computed anew.
"""

from journal.doubts.rule import Case, Finding, Rule
from journal.records.doubt import Severity, Values

CLAIMS = ("tool_differs", "tool_cancelled")
ROUNDING = 0.005  # of a figure
ROUNDING_S = 5e-5  # of a time: tools write ms with one or two decimals
FAR = 0.05  # of a figure, from which the two do not say the same of a server


def of_claims(absent: tuple[Values, ...]) -> dict[str, Finding]:
    """The findings on what a result file says of itself, by the names of their doubts."""
    claims = {str(values["variant"]): values for values in absent if is_claim(values)}
    return {name: (_severity(name, values), _words(values)) for name, values in claims.items()}


def is_claim(values: Values) -> bool:
    """Whether an item of `Readings.absent` is what a result file says of itself."""
    return values.get("variant") in CLAIMS


def _severity(name: str, values: Values) -> Severity:
    return "note" if name == "tool_differs" and not values["far"] else "flag"


def _words(values: Values) -> Values:
    """The values of the doubt: those of the claim, by the requests of the file unless by its other
    figures."""
    words = {name: value for name, value in values.items() if name not in ("variant", "far", "by")}
    return {"variant": "figures", **words} if values.get("by") == "figures" else words


def _tool_differs(case: Case) -> Finding | None:
    return of_claims(case.view.samples.readings.absent).get("tool_differs")


def _tool_cancelled(case: Case) -> Finding | None:
    return of_claims(case.view.samples.readings.absent).get("tool_cancelled")


RULES = (
    Rule(
        "tool_differs",
        f"{ROUNDING:.1%} and {ROUNDING_S * 1e3:g} ms; flags from {FAR:.0%} on",
        "Two figures for the same thing cannot both be what the server did: the file counts "
        "otherwise than its requests say, or it has only a part of them.",
        _tool_differs,
    ),
    Rule(
        "tool_cancelled",
        "the file says so",
        "A run that was cut off has fewer requests than was meant, and its last ones were not "
        "served under the whole load.",
        _tool_cancelled,
    ),
)
