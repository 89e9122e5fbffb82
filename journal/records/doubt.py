"""Doubts: reasons not to take a run at face value, each as a name and values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity = Literal["note", "flag", "invalid"]

# Plain JSON: numbers in SI with names that carry their units, strings, and lists and maps of these.
Value: TypeAlias = "str | float | Sequence[Value] | Values | None"
Values: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason not to take a run at face value. `name` is that of its rule, and `values` are the
    numbers and names that journal/doubts/words.py puts into its words; the value "variant" chooses
    one of several templates, and the value "sentence" is shown as it stands. Severity "note" is
    worth knowing, "flag" makes the run flagged, and "invalid" leaves it out of every figure."""

    name: str
    values: Values
    severity: Severity = "flag"
