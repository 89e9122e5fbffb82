"""A row of the table of metrics and how it is shown, and figures from plain numbers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from journal.records.figure import Figure

if TYPE_CHECKING:
    from journal.metrics.view import View
    from journal.metrics.window import Span

Section = Literal[
    "latency",
    "throughput",
    "memory",
    "theory",
    "server",
    "start",
    "energy",
    "cost",
    "quality",
    "client",
]


Better = Literal["lower", "higher", "neither"]

TURNS = range(1, 9)  # of conversations, with rows of their own; later ones count in all others


@dataclass(frozen=True, slots=True)
class Family:
    """A family of samples of the exporter; its value is that of the last run of each cell. `name`
    ends in its unit, as Prometheus asks."""

    name: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The views in which a metric is shown: each view shows the rows of the table that have its
    field, in the order of the table. `show`, JSON, CSV and MLflow's runs show every row.

    `headline`: two sides are compared by it, and a day with earlier days. `instead_of` names the
    metric for which this one stands in where that has no value. `amount`: people say more and
    less of it, not faster and slower. `of_text`: it matters where models differ, since equal
    numbers of their tokens are not equal text. `over_repeats`: its mean over repeats is shown.
    `curve`: MLflow draws it over batch and prompt length, in a section of this name; `bar`: MLflow
    draws the most or the least over all cells; `of_engine`: the engine reserved or read it once,
    when it started.
    `column`: its place among the columns of the log's table, `precise` with its interval, and
    with `tail` beside its highest tail percentile. `family`: the exporter has it.
    """

    headline: bool = False
    instead_of: str | None = None
    amount: bool = False
    of_text: bool = False
    over_repeats: bool = False
    curve: str | None = None
    bar: Literal["most", "least"] | None = None
    of_engine: bool = False
    column: int | None = None
    precise: bool = False
    tail: bool = False
    family: Family | None = None


UNSHOWN = Shown()


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table of metrics. `figure` computes it from a run's samples, in `unit` (SI).
    The `name` of a latency ends in its statistic, such as `ttft_s.p90`.

    `better` is the direction in which people want it. `label` names it in few English words; the
    words of a language (`column.ttft`, `versus.goodput_per_s`) take precedence. A latency with a
    `label` has a line in the first table of `show`, with all of its statistics. `exact`: the value
    is read or counted, not sampled, so that a single run says it without an interval.
    """

    name: str
    section: Section
    unit: str
    formula: str
    meaning: str
    figure: "Callable[[View], Figure]"
    better: Better = "neither"
    label: str = ""
    shown: Shown = UNSHOWN
    exact: bool = False

    @property
    def family(self) -> str:
        """The latency of which this is a statistic, such as `ttft_s`; "" for other metrics."""
        return self.name.rpartition(".")[0]

    @property
    def statistic(self) -> str:
        """The statistic of a latency, such as `p90`; "" for a metric that has one value."""
        return self.name.partition(".")[2]


def number_only(of: "Callable[[View], float | None]") -> "Callable[[View], Figure]":
    """The figure of a number without an interval."""
    return lambda view: Figure(of(view))


def in_span(of: "Callable[[View, Span], float | None]") -> "Callable[[View], Figure]":
    """The figure of a number over the measured span; its value is None where nothing was
    measured."""

    def figure(view: "View") -> Figure:
        span = view.span
        return Figure(None if span is None or span.length_s <= 0 else of(view, span))

    return figure


def total(parts: Iterable[float | None]) -> float | None:
    """The sum of `parts`; None where there are no parts, or where a part is not known."""
    listed = list(parts)
    known = [part for part in listed if part is not None]
    return math.fsum(known) if known and len(known) == len(listed) else None
