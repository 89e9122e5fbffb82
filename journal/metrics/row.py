"""What a row of the table of metrics is, and how a plain number becomes its figure."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from journal.metrics.statistics import Array
from journal.metrics.view import View
from journal.metrics.window import Span
from journal.records.figure import Figure

Section = Literal[
    "latency", "throughput", "memory", "theory", "server", "energy", "cost", "quality", "client"
]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `name` of a latency ends in its statistic, such as `ttft_s.p90`."""

    name: str
    section: Section
    unit: str
    formula: str
    meaning: str
    figure: Callable[[View], Figure]


def number(of: Callable[[View], float | None]) -> Callable[[View], Figure]:
    """A number without an interval."""
    return lambda view: Figure(of(view))


def in_span(of: Callable[[View, Span], float | None]) -> Callable[[View], Figure]:
    """A number over the measured span: None where nothing was measured."""

    def figure(view: View) -> Figure:
        span = view.span
        return Figure(None if span is None or span.length_s <= 0 else of(view, span))

    return figure


def total(parts: Iterable[float | None]) -> float | None:
    """The sum; None where there is nothing to add, or where a part is not known."""
    every = list(parts)
    known = [part for part in every if part is not None]
    return math.fsum(known) if known and len(known) == len(every) else None


def total_of(values: Array) -> float | None:
    """The same for an array in which NaN stands for what is not known."""
    return None if len(values) == 0 or np.isnan(values).any() else float(values.sum())
