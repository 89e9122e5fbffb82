"""A reason not to take a run at face value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity = Literal["note", "flag", "invalid"]

# Plain JSON: numbers in SI with names that carry their units, strings, and lists and maps of these.
Value: TypeAlias = "str | float | Sequence[Value] | Values | None"
Values: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason not to take a run at face value. `name` is the rule's, and `values` are the numbers
    and names in its words, which journal/doubts/words.py renders; "variant" among them chooses one
    of several templates, and "sentence" is text of its own that stands as it is. Severity note:
    worth knowing; flag: the run is flagged; invalid: not to be believed."""

    name: str
    values: Values
    severity: Severity = "flag"
