"""Figures: the value of a metric and its interval."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of a metric in SI units and, where it has one, its 95% interval (`low`, `high`).
    `count` is the number of samples behind it. `value` is None where there is no such number; a
    doubt says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int | None = None


Metrics = Mapping[str, Figure]
