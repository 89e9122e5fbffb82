"""Progress, for whoever listens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """What is happening now, for whoever shows progress. `done` of `total` in the unit of the
    stage (requests, bytes, s, phases); `total` None where the end is not known. `where` names the
    engine in a few words where several are measured at a time."""

    stage: Literal["prepare", "engine", "cell", "record", "log"]
    message: str
    done: float = 0.0
    total: float | None = None
    where: str | None = None


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who do not listen."""
