"""Cells of an experiment with their figures, and the doubts that their runs carry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from journal import units
from journal.compare.points import TAILS, Point, Points
from journal.doubts.words import VARIANT
from journal.metrics.row import Metric
from journal.metrics.table import columns, named, standing_in
from journal.records.doubt import Doubt, Value
from journal.records.figure import Figure
from journal.records.load_shape import AXIS_NAMES
from journal.records.money import USD, in_currency
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Paragraph,
    Section,
    Sentence,
    Table,
    Text,
    say,
)
from journal.report.places import Places

Filled: TypeAlias = tuple[Column, Callable[[Point], Box]]  # a column, and its box for a point
Wording: TypeAlias = tuple[str, Value]  # the name of a doubt, and the variant of its words

MARKS = "abcdefghijklmnopqrstuvwxyz"
SHORT_ID = 8
MOST_IDS = 3
MOST_PLACES = 4  # named with a doubt; the marks in the table show the rest


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column of figures of the metric `name`, all in the one multiple of `unit` that suits them;
    `precise` shows intervals."""

    title: Text
    unit: str
    name: str
    precise: bool = False

    def pick(self, point: Point) -> Figure | None:
        """The figure of the metric at `point`."""
        return point.figure(self.name)

    def scale(self, points: Points) -> tuple[float, str]:
        """The factor from the metric's own unit, and the name of the unit that suits the column."""
        figures = [self.pick(point) for point in points]
        values = [figure.value for figure in figures if figure and figure.value is not None]
        other = {record.facts.currency for point in points for record in point.good} - {USD}
        return units.scale(values, in_currency(self.unit, other))


def quantities(points: Points) -> list[Quantity]:
    """The columns for which some point has a value."""
    return [q for q in _every(points) if any(q.pick(point) for point in points)]


def _every(points: Points) -> Iterator[Quantity]:
    """The columns of the table of metrics, or the metrics that stand in for them; for a latency
    that has tails also the highest of these."""
    for column in columns():
        names = standing_in(column.name)
        name = next((name for name in names if _any(points, name)), column.name)
        yield quantity(named(name), precise=column.shown.precise)
        tails = [tail for tail in TAILS if _any(points, f"{column.family}.{tail}")]
        if column.shown.tail and tails:
            yield quantity(named(f"{column.family}.{tails[0]}"), precise=False)


def quantity(metric: Metric, *, precise: bool) -> Quantity:
    """The column of a metric."""
    return Quantity(column_title(metric), metric.unit, metric.name, precise)


def column_title(metric: Metric) -> Text:
    """The name of a metric over a column: a language's own words, else its label in the table."""
    family, statistic = metric.family.removesuffix("_s"), metric.statistic
    label = metric.label or metric.name
    if not statistic:
        return Sentence(f"column.{metric.name}", {}, otherwise=label)
    otherwise = f"{label} {statistic}"
    return Sentence(f"column.{family}", {"statistic": statistic}, otherwise=otherwise)


def cells_section(points: Points, places: Places, apart: Sequence[Doubt] = ()) -> Section:
    """A section with a table of cells for each setup, whose marks lead to the doubts below, without
    those that are said `apart`."""
    notes = doubts_by_wording(points, apart)
    marks = {wording: MARKS[number % len(MARKS)] for number, wording in enumerate(notes)}
    filled = [*_leading(points), *_figures(points), *_trailing(marks)]
    setups = list(dict.fromkeys(point.setup for point in points))
    blocks: list[Block] = []
    for setup in setups:
        if len(setups) > 1 or setup.simulated:
            blocks.append(Paragraph((), say("about", what=places.labels[setup])))
        own = [point for point in points if point.setup == setup]
        rows = tuple(tuple(box(point) for _, box in filled) for point in own)
        caption = _caption(points) if setup == setups[-1] else ()
        blocks.append(Table(tuple(column for column, _ in filled), rows, caption))
    if notes:
        blocks.append(Bullets(tuple(_notes(notes, points, places)), tuple(marks.values())))
    return Section(3, say("cells.heading"), tuple(blocks))


def _any(points: Points, name: str) -> bool:
    return any(point.value(name) is not None for point in points)


def _leading(points: Points) -> Iterator[Filled]:
    """The columns that name a row's cell; an output length that never varies is in the caption."""
    for name in AXIS_NAMES:
        values = {getattr(point, name) for point in points}
        if values != {None} and (len(values) > 1 or name != "output_tokens"):
            yield Column(say(f"column.{name}")), _attribute(name)
    if any(_task(point) for point in points):
        yield Column(say("column.task"), numeric=False), lambda point: Box(_task(point) or "")
    if len({_shared(point) for point in points}) > 1:
        yield Column(say("column.shared_prefix")), lambda point: Box(f"{_shared(point):,}")
    if len({point.convoy for point in points}) > 1:
        yield Column(say("column.streams"), numeric=False), _streams
    if any(point.length_spread for point in points):
        yield Column(say("column.length_spread")), _length_spread
    if len({point.warmup for point in points}) > 1:
        yield Column(say("column.warmup")), lambda point: Box(f"{point.warmup:,}")
    if any(point.variant is not None for point in points):
        title = Column(say("column.variant"), numeric=False)
        yield title, lambda point: Box(point.variant or units.ABSENT)
    if len({point.slo for point in points}) > 1:
        yield Column(say("column.slo"), numeric=False), lambda point: Box(_limits(point))


def _task(point: Point) -> str | None:
    """The task of an evaluation that a point is the score of."""
    return point.records[0].cell.workload.task


def _shared(point: Point) -> int:
    """The tokens of a prompt that it shares with others."""
    return point.records[0].cell.workload.shared_prefix


def _titled(title: Text, unit: str) -> Text:
    """The title of a column, with the unit where there is one."""
    return title if unit == "1" else say("column.with_unit", title=title, unit=unit)


def _streams(point: Point) -> Box:
    """How the streams of a closed loop began: together or spread."""
    return Box(say("streams.together" if point.convoy else "streams.spread"))


def _length_spread(point: Point) -> Box:
    return Box(units.percent(point.length_spread))


def _limits(point: Point) -> Text:
    """The limits of the SLO of a point, by which its good requests are counted."""
    slo = point.slo
    if slo is None:
        return units.ABSENT
    limits = {"ttft": slo.ttft_ms, "tpot": slo.tpot_ms, "e2e": slo.e2e_ms}
    return tuple(
        say("column.limit", name=name.upper(), limit=units.seconds(limit / 1e3))
        for name, limit in limits.items()
        if limit is not None
    )


def _attribute(name: str) -> Callable[[Point], Box]:
    def box(point: Point) -> Box:
        value = getattr(point, name)
        return Box(units.ABSENT if value is None else f"{value:,g}")

    return box


def _figures(points: Points) -> Iterator[Filled]:
    for column in quantities(points):
        factor, unit = column.scale(points)
        yield (
            Column(_titled(column.title, unit)),
            _figure(column, factor),
        )


def _figure(shown: Quantity, factor: float) -> Callable[[Point], Box]:
    return lambda point: figure_box(shown.pick(point), factor, shown.precise)


def _trailing(marks: Mapping[Wording, str]) -> Iterator[Filled]:
    yield Column(say("column.runs")), _runs
    yield Column(say("column.status"), numeric=False), lambda point: _status(point, marks)


def figure_box(figure: Figure | None, factor: float, precise: bool) -> Box:
    """A box with a figure multiplied by `factor`, and with its interval where `precise`."""
    if figure is None or figure.value is None:
        return Box(units.ABSENT)
    text = units.number(figure.value * factor)
    if not precise or figure.low is None or figure.high is None:
        return Box(text)
    low, high = (units.number(end * factor) for end in (figure.low, figure.high))
    return Box(text, f"{low}–{high}")


def _runs(point: Point) -> Box:
    """The number of runs that gave the figures, and the ids of the first."""
    good, tried = len(point.good), len(point.records)
    ids = [record.id[:SHORT_ID] for record in point.records[:MOST_IDS]]
    more = ["…"] if tried > MOST_IDS else []
    text = f"{good}" if good == tried else say("runs.part", good=f"{good}", all=f"{tried}")
    return Box(text, " ".join(ids + more))


def _status(point: Point, marks: Mapping[Wording, str]) -> Box:
    statuses = dict.fromkeys(record.status for record in point.records)
    carried = {_wording(doubt) for record in point.good for doubt in record.doubts}
    text = tuple(say(f"status.{status}") for status in sorted(statuses))
    return Box(text, mark=" ".join(marks[wording] for wording in marks if wording in carried))


def shared_doubts(points: Points) -> list[Doubt]:
    """The doubts that all good runs of two or more points carry alike."""
    runs = [record for point in points for record in point.good]
    if len([point for point in points if point.good]) < 2:
        return []
    return [d for d in runs[0].doubts if all(d in record.doubts for record in runs[1:])]


def doubts_by_wording(
    points: Points, apart: Sequence[Doubt] = ()
) -> dict[Wording, list[tuple[Point, Doubt]]]:
    """The doubts of all good runs by their wording, flags before notes; without those said
    `apart`."""
    every = [(p, doubt) for p in points for record in p.good for doubt in record.doubts]
    every = [(point, doubt) for point, doubt in every if doubt not in apart]
    every.sort(key=lambda carried: carried[1].severity == "note")
    groups: dict[Wording, list[tuple[Point, Doubt]]] = {}
    for point, doubt in every:
        groups.setdefault(_wording(doubt), []).append((point, doubt))
    return groups


def _wording(doubt: Doubt) -> Wording:
    """The rule of `doubt` and the variant of its words: all that it says, but for numbers."""
    return doubt.name, doubt.values.get(VARIANT)


def _notes(
    notes: Mapping[Wording, list[tuple[Point, Doubt]]], points: Points, places: Places
) -> Iterator[Text]:
    """The first of the doubts that say the same, and the cells that carry it. Numbers stand for the
    cells that share them; those with other numbers are named as such."""
    every = sum(1 for point in points if point.good)
    for carried in notes.values():
        first = carried[0][1]
        alike = list(dict.fromkeys(point for point, doubt in carried if doubt == first))
        others = list(dict.fromkeys(point for point, doubt in carried if doubt != first))
        if not others:
            yield say("doubt", name=first.name, text=first, places=where(alike, every, places))
        else:
            also = where([p for p in others if p not in alike] or others, every, places)
            of = where(alike, every, places)
            yield say("doubt_of_some", name=first.name, text=first, places=of, others=also)


def where(at: Sequence[Point], every: int, places: Places) -> Text:
    """The names of the cells `at`, of the first few and the number of the rest, or "every cell"
    where they are all of `every`."""
    if 1 < len(at) == every:
        return say("everywhere")
    named = tuple(places.cell(point) for point in at[:MOST_PLACES])
    more = (say("more", n=str(len(at) - MOST_PLACES)),) if len(at) > MOST_PLACES else ()
    return (*named, *more)


def _caption(points: Points) -> tuple[Text, ...]:
    repeated = any(len(point.good) > 1 for point in points)
    interval = any(
        figure is not None and figure.low is not None
        for point in points
        for figure in (point.figure("ttft_s.p50"), point.figure("output_tokens_per_s"))
    )
    outputs = {point.output_tokens for point in points}
    counts = {point.requests for point in points}
    first = points[0]
    return (
        say(
            "cells.caption",
            output=units.whole(first.output_tokens) if len(outputs) == 1 else say("varied"),
            requests=f"{first.requests:,}" if len(counts) == 1 else say("varied"),
        ),
        *((say("cells.repeats" if repeated else "cells.single"),) if interval else ()),
    )
