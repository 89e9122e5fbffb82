"""Progress events and the listener that receives them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """A progress event. `done` of `total` is in the unit of the stage (requests, bytes, s, phases);
    `total` is None where the end is not known. `where` names the engine in a few words where
    several are measured at a time."""

    stage: Literal["prepare", "warning", "engine", "cell", "record", "log", "tracking"]
    message: str
    done: float = 0.0
    total: float | None = None
    where: str | None = None


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing with an event."""
