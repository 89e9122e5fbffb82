"""Every cell of an experiment with its figures, and the doubts that its runs carry."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from journal import units
from journal.records import Doubt, Figure
from journal.report.lengths import kv_in_use
from journal.report.page import Block, Box, Bullets, Column, Section, Table, Text, say
from journal.report.places import Places
from journal.report.points import TAILS, Point, Points

MARKS = "abcdefghijklmnopqrstuvwxyz"
SHORT_ID = 8
MOST_IDS = 3
MOST_PLACES = 4  # named with a doubt; the marks in the table show the rest


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column of figures: all in the one unit that suits them. `precise` shows intervals."""

    title: Text
    unit: str
    pick: Callable[[Point], Figure | None]
    precise: bool = False


def quantities(found: Points) -> Iterator[Quantity]:
    """The columns for which some point has a value. Of the tail percentiles, the highest."""
    for latency in ("ttft", "tpot", "e2e"):
        tails = [tail for tail in TAILS if _any(found, f"{latency}_s.{tail}")][:1]
        for statistic in ("p50", *tails) if latency == "ttft" else ("p50",):
            title = say(f"column.{latency}", statistic=statistic)
            name = f"{latency}_s.{statistic}"
            yield Quantity(title, "s", _of(name), precise=statistic == "p50")
    yield Quantity(say("column.throughput"), "tok/s", _of("output_tokens_per_s"), precise=True)
    memory = "vram_peak_bytes" if _any(found, "vram_peak_bytes") else "rss_peak_bytes"
    yield Quantity(say(f"column.{memory}"), "bytes", _of(memory))
    yield Quantity(say("column.kv_bytes"), "bytes", kv_in_use)
    yield Quantity(say("column.kv"), "fraction", _of("kv_cache_peak_fraction"))
    yield Quantity(say("column.energy"), "J/tok", _of("energy_per_output_token_j"))
    yield Quantity(say("column.goodput"), "req/s", _of("goodput_per_s"))


def answer(found: Points, places: Places) -> Section:
    """The table of all cells, with marks that lead to the doubts below it."""
    notes = doubts(found)
    marks = {name: MARKS[number % len(MARKS)] for number, name in enumerate(notes)}
    shown = [q for q in quantities(found) if any(q.pick(point) for point in found)]
    leading = _leading(found, places)
    figures = [_boxes(quantity, found) for quantity in shown]
    rows = tuple(
        (
            *(pick(point) for _, pick in leading),
            *(column[1][number] for column in figures),
            _runs(point),
            _status(point, marks),
        )
        for number, point in enumerate(found)
    )
    columns = (
        *(column for column, _ in leading),
        *(column[0] for column in figures),
        Column(say("column.runs")),
        Column(say("column.status"), numeric=False),
    )
    blocks: list[Block] = [Table(columns, rows, _caption(found))]
    if notes:
        blocks.append(Bullets(tuple(_note(marks[name], notes[name], places) for name in notes)))
    return Section(3, say("cells.heading"), tuple(blocks))


def _any(found: Points, name: str) -> bool:
    return any(point.value(name) is not None for point in found)


def _of(name: str) -> Callable[[Point], Figure | None]:
    return lambda point: point.figure(name)


def _leading(found: Points, places: Places) -> list[tuple[Column, Callable[[Point], Box]]]:
    """The columns that say which cell a row is; those that never vary are left to the caption."""
    columns: list[tuple[Column, Callable[[Point], Box]]] = []
    if len({point.setup for point in found}) > 1:
        title = Column(say("column.setup"), numeric=False)
        columns.append((title, lambda point: Box(places.labels[point.setup])))
    for name in ("batch", "rate", "prompt_tokens", "output_tokens"):
        values = {getattr(point, name) for point in found}
        if values != {None} and (len(values) > 1 or name in ("batch", "prompt_tokens")):
            columns.append((Column(say(f"column.{name}")), _attribute(name)))
    return columns


def _attribute(name: str) -> Callable[[Point], Box]:
    def box(point: Point) -> Box:
        value = getattr(point, name)
        return Box(units.ABSENT if value is None else f"{value:,g}")

    return box


def _boxes(quantity: Quantity, found: Points) -> tuple[Column, list[Box]]:
    figures = [quantity.pick(point) for point in found]
    values = [figure.value for figure in figures if figure and figure.value is not None]
    factor, unit = units.scale(values, quantity.unit)
    title = say("column.with_unit", title=quantity.title, unit=unit)
    return Column(title), [figure_box(figure, factor, quantity.precise) for figure in figures]


def figure_box(figure: Figure | None, factor: float, precise: bool) -> Box:
    """A figure as it stands in a table, in a unit `factor` times its own."""
    if figure is None or figure.value is None:
        return Box(units.ABSENT)
    text = units.number(figure.value * factor)
    if not precise or figure.low is None or figure.high is None:
        return Box(text)
    low, high = (units.number(end * factor) for end in (figure.low, figure.high))
    return Box(text, f"{low}–{high}")


def _runs(point: Point) -> Box:
    """How many runs gave the figures, and the ids to look them up by."""
    good, tried = len(point.good), len(point.records)
    ids = [record.id[:SHORT_ID] for record in point.records[:MOST_IDS]]
    more = ["…"] if tried > MOST_IDS else []
    text = f"{good}" if good == tried else say("runs.part", good=f"{good}", all=f"{tried}")
    return Box(text, " ".join(ids + more))


def _status(point: Point, marks: dict[str, str]) -> Box:
    statuses = dict.fromkeys(record.status for record in point.records)
    found = {doubt.name for record in point.good for doubt in record.doubts}
    text = tuple(say(f"status.{status}") for status in sorted(statuses))
    return Box(text, mark=" ".join(marks[name] for name in marks if name in found))


def doubts(found: Points) -> dict[str, list[tuple[Point, Doubt]]]:
    """The doubts of all good runs by the name of their rule, flags before notes."""
    every = [(p, doubt) for p in found for record in p.good for doubt in record.doubts]
    every.sort(key=lambda each: each[1].severity == "note")
    groups: dict[str, list[tuple[Point, Doubt]]] = {}
    for point, doubt in every:
        groups.setdefault(doubt.name, []).append((point, doubt))
    return groups


def _note(mark: str, carried: Sequence[tuple[Point, Doubt]], places: Places) -> Text:
    """A rule's first sentence, and the cells that carry it."""
    at = tuple({id(point): point for point, _ in carried}.values())
    named = tuple(places.cell(point) for point in at[:MOST_PLACES])
    more = say("more", n=str(len(at) - MOST_PLACES)) if len(at) > MOST_PLACES else ""
    return say(
        "doubt", mark=mark, places=(*named, more) if more else named, text=carried[0][1].sentence
    )


def _caption(found: Points) -> tuple[Text, ...]:
    repeated = any(len(point.good) > 1 for point in found)
    interval = any(
        figure is not None and figure.low is not None
        for point in found
        for figure in (point.figure("ttft_s.p50"), point.figure("output_tokens_per_s"))
    )
    outputs = {point.output_tokens for point in found}
    asked = {point.requests for point in found}
    first = found[0]
    return (
        say(
            "cells.caption",
            output=f"{first.output_tokens:,}" if len(outputs) == 1 else say("varied"),
            requests=f"{first.requests:,}" if len(asked) == 1 else say("varied"),
        ),
        *((say("cells.repeats" if repeated else "cells.single"),) if interval else ()),
    )
