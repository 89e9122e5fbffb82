"""A metric's value and its interval."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value and, where one can be given, its 95% interval. `count` is the number of
    samples behind it. `value` None means that there is no such number; a doubt says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int | None = None


Metrics = Mapping[str, Figure]
