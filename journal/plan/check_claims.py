"""The check of an experiment's claims: each names a metric, and all that its behaviour needs."""

import difflib
from collections.abc import Sequence

from journal.errors import SpecError
from journal.records.claim import OVER, PHASES, Claim
from journal.records.load_shape import AXIS_NAMES

# The fields that each behaviour needs, and beside them may have.
NEEDED = {
    "flat": ("over",),
    "grows": ("over",),
    "saturates": ("over", "between"),
    "at_least": ("value",),
    "at_most": ("value",),
    "a_below_b": ("a", "b"),
}
ALLOWED = {"flat": ("a", "b"), "grows": ("a", "b")}
OPTIONS = ("over", "between", "value", "a", "b")
AXES = (*AXIS_NAMES, "shared_prefix")


def check_claims(claims: Sequence[Claim], engines: int, where: str) -> None:
    """Refuse (SpecError) a claim that cannot be judged, in an experiment of so many `engines`;
    `where` names it in the error."""
    for number, claim in enumerate(claims, start=1):
        fault = _fault(claim, engines)
        if fault:
            raise SpecError(f"{where}: [[claim]] {number} ({claim.metric}) {fault}")


def _fault(claim: Claim, engines: int) -> str | None:
    needed = NEEDED[claim.behaves]
    missing = [name for name in needed if getattr(claim, name) is None]
    if missing:
        return f"is {claim.behaves}, which needs {missing[0]}"
    taken = (*needed, *ALLOWED.get(claim.behaves, ()))
    extra = [name for name in OPTIONS if name not in taken and getattr(claim, name) is not None]
    if extra:
        return f"is {claim.behaves}, which takes no {extra[0]}: drop it"
    if claim.over is not None and claim.over not in OVER:
        return f"is over {claim.over}, which is no axis of a claim ({', '.join(OVER)})"
    if claim.between is not None and not 0 < claim.between[0] < claim.between[1]:
        return "saturates between two loads, the lower one first"
    for name in ("a", "b", "engine"):
        value = getattr(claim, name)
        if value is not None and value > engines:
            return f"names engine {value}, and there are {engines}"
    if (claim.a is None) is not (claim.b is None):
        return "names one engine of two: give both a and b"
    if claim.a is not None and claim.a == claim.b:
        return "compares an engine with itself"
    unknown = [name for name in claim.at if name not in AXES]
    if unknown:
        return f"is at {unknown[0]}, which is no axis of a grid ({', '.join(AXES)})"
    return _metric_fault(claim)


def _metric_fault(claim: Claim) -> str | None:
    from journal.metrics.table import TABLE, metric_of_key  # numpy, and only needed here

    names = [metric.name for metric in TABLE]
    meant = metric_of_key(claim.metric)
    if claim.over == "phase" and meant != PHASES[0]:
        return f"is over phases, which only {PHASES[0]} has"
    if claim.over == "turn":
        by_turn = sorted({name.partition(".")[0] for name in names if name.startswith("turn_")})
        if meant in by_turn:
            return None
        return f"has no value at each turn: those that have are {', '.join(by_turn)}"
    if meant in names:
        return None
    near = difflib.get_close_matches(meant, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"names no metric: {hint}docs/metrics.md lists them"
