"""A reason not to take a run at face value."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["note", "flag", "invalid"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason not to take a run at face value. `name` is the rule's; `sentence` ends with what
    to do. Severity note: worth knowing; flag: the run is flagged; invalid: not to be believed."""

    name: str
    sentence: str
    severity: Severity = "flag"
