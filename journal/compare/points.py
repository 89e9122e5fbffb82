"""Points: the runs of one cell at one setup, with all its repeats, and lines of points."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from journal.compare.setups import Setup
from journal.metrics.statistics import t_interval
from journal.records.experiment import Slo
from journal.records.figure import Figure
from journal.records.load_shape import LENGTH_AXES, LOAD_AXES, Closed, LoadShape
from journal.records.run import Record
from journal.records.sameness import asked_requests, counting_fields, workload_key

TAILS = ("p99", "p95", "p90")
IN_STEP = "in_step"  # the doubt about streams that march in step


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One cell at one setup. `requests` is the number of measured requests of each run; runs with
    another number are another point. Only the `good` records give figures."""

    setup: Setup
    shape: LoadShape
    prompt_tokens: int | None
    output_tokens: int | None
    requests: int
    records: tuple[Record, ...]

    @property
    def convoy(self) -> bool:
        """Whether the streams of a closed loop were to begin together."""
        return self.records[0].cell.load.convoy

    @property
    def length_spread(self) -> float:
        """The coefficient of variation of the requested lengths."""
        return self.records[0].cell.load.length_spread

    @property
    def lengths_differ(self) -> bool:
        """Whether requests have other lengths than those of the cell."""
        return self.length_spread > 0 or self.records[0].cell.workload.varies

    @property
    def warmup(self) -> int:
        """The number of requests before those that are measured."""
        return self.records[0].cell.load.warmup

    @property
    def variant(self) -> str | None:
        """The name of the variant of the load; None where it has none."""
        return self.records[0].cell.load.variant

    @property
    def body(self) -> str:
        """The further fields of each request, as JSON."""
        return json.dumps(self.records[0].cell.load.body, sort_keys=True)

    @property
    def slo(self) -> Slo | None:
        """The limits by which requests count as good."""
        return self.records[0].cell.slo

    @property
    def together(self) -> bool:
        """Whether prompts of several streams are known to be read together: the streams began so,
        or were seen to march in step."""
        if not isinstance(self.shape, Closed) or self.shape.batch < 2:
            return False
        return self.convoy or any(doubt.name == IN_STEP for r in self.good for doubt in r.doubts)

    @property
    def manner(self) -> tuple[object, ...]:
        """The way in which the load was laid on, beyond the axes of the grid: runs that differ in
        it are never one point, nor points that differ in it one line."""
        return self._manner(self.workload)

    @property
    def manner_of_reading(self) -> tuple[object, ...]:
        """The manner, but for how much of the prompts is shared."""
        own = self.records[0].cell.workload
        return self._manner(workload_key(replace(own, shared_prefix=0, prefixes=1)))

    @property
    def manner_of_variant(self) -> tuple[object, ...]:
        """The manner, but for the fields of requests, in which the variants of a load differ."""
        return self.manner[:-1]

    def _manner(self, workload: str | None) -> tuple[object, ...]:
        own = self.convoy, self.length_spread, self.warmup, workload
        load = asked_requests(self.records[0].cell), self.records[0].cell.load.duration_s
        return load, *own, self.slo, self.body

    @property
    def workload(self) -> str | None:
        """The name of the workload and its hash; None for random tokens."""
        return workload_key(self.records[0].cell.workload)

    @property
    def lengths(self) -> tuple[int | None, int | None]:
        """The requested tokens of a prompt and of an output; of prompts of one's own, whose tokens
        each server counts for itself, None and the output."""
        own = self.records[0].cell.workload.is_own
        return (None if own else self.prompt_tokens), self.output_tokens

    @property
    def whole_tokens(self) -> int | None:
        """The requested tokens of prompt and output together; None where one is not known."""
        return self.records[0].cell.whole_tokens

    @property
    def batch(self) -> int | None:
        return self.shape.batch

    @property
    def rate(self) -> float | None:
        return self.shape.rate

    @cached_property
    def good(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.good)

    @property
    def load(self) -> float:
        """The load: the batch, or in open loop the offered requests/s."""
        return self.shape.value

    @property
    def load_text(self) -> str:
        """The load in a sentence: its number, or the profile of a rate that changes."""
        return f"{self.load:g}" if self.shape.profile is None else self.shape.profile

    def figure(self, name: str) -> Figure | None:
        """The mean of metric `name` over the good repeats with its 95% t interval; of a single
        run the metric itself with the interval it was stored with. None where no run has it.
        `count` is the number of repeats."""
        figures = [record.metrics[name] for record in self.good if name in record.metrics]
        values = [figure.value for figure in figures if figure.value is not None]
        if not values:
            return None
        if len(values) > 1:
            return over_repeats(values)
        only = next(figure for figure in figures if figure.value is not None)
        return Figure(only.value, only.low, only.high, 1)

    def repeats(self, name: str) -> list[float]:
        """The values of metric `name` in the good runs, without those that lack it."""
        return [value for record in self.good if (value := record.value(name)) is not None]

    def value(self, name: str) -> float | None:
        figure = self.figure(name)
        return None if figure is None else figure.value


def over_repeats(values: Sequence[float]) -> Figure:
    """The mean of repeats with its 95% t interval, cut at 0 where none of `values` is below: few
    repeats that differ much would else have a latency less than nothing in theirs."""
    mean = t_interval(values)
    if mean.low is None or min(values) < 0:
        return mean
    return replace(mean, low=max(mean.low, 0.0))


Points: TypeAlias = tuple[Point, ...]


def points(measured: Iterable[tuple[Record, Setup]]) -> Points:
    """The points of runs and their setups: by setup in the order of their first runs, then by
    prompt length, output length and load."""
    groups: dict[tuple[Setup, tuple[object, ...]], list[Record]] = {}
    order: dict[Setup, int] = {}
    for record, setup in measured:
        cell = record.cell
        order.setdefault(setup, len(order))
        key = (*counting_fields(cell, "point").values(), cell.slo)
        groups.setdefault((setup, key), []).append(record)
    made = [_point(setup, group) for (setup, _), group in groups.items()]
    return tuple(sorted(made, key=lambda point: (order[point.setup], *_rank(point))))


def _rank(point: Point) -> tuple[float, ...]:
    lengths = (point.prompt_tokens, point.output_tokens)
    return (*(-1 if n is None else n for n in lengths), *point.shape.order, point.requests)


def _point(setup: Setup, records: list[Record]) -> Point:
    cell = records[0].cell
    return Point(
        setup=setup,
        shape=cell.shape,
        prompt_tokens=cell.prompt_tokens,
        output_tokens=cell.output_tokens,
        requests=cell.load.requests,
        records=tuple(records),
    )


def lines(among: Iterable[Point], across: str) -> list[Points]:
    """The lines of points that differ in the field `across` alone: two or more points each, with a
    good run, in the order of that field. An unknown length stands in no line of lengths, and a rate
    that changes, which is no one rate, in no line of rates."""
    lengths = [name for name in LENGTH_AXES if name != across]
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in among:
        ramp = across == "rate" and point.shape.profile is not None
        if point.good and getattr(point, across) is not None and not ramp:
            load = point.shape.burstiness if across in LOAD_AXES else point.shape
            fixed = (getattr(point, name) for name in lengths)
            groups.setdefault((point.setup, load, *fixed, point.manner), []).append(point)
    ordered = (sorted(g, key=lambda p: getattr(p, across)) for g in groups.values())
    return [tuple(group) for group in ordered if len(group) > 1]
