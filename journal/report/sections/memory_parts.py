"""The memory of each engine: its parts, the source of each, and the rest."""

from collections.abc import Iterable, Iterator, Sequence

from journal import units
from journal.compare.points import Points
from journal.compare.setups import Setup
from journal.records.run import Record
from journal.report.document import (
    Bar,
    Bars,
    Block,
    Box,
    Column,
    Paragraph,
    Plot,
    Section,
    Segment,
    Table,
    Text,
    say,
)
from journal.report.places import Places
from journal.theory.split import MemoryPart, PartName, Split, split

MOST_STARTS = 4  # columns of one table; `journal show` has every run's
ORDER: tuple[PartName, ...] = (
    *("weights", "kv_pool", "activations", "graphs", "context", "others", "rest"),
)


def memory_section(points: Points, places: Places, name: str) -> Section | None:
    """A section on the memory of each engine start, as a table and bars; None without readings."""
    starts = _starts(points)
    known = [(setup, part) for setup, records in starts if (part := split(records)) is not None]
    if not known:
        return None
    shown = known[:MOST_STARTS]
    labels = _labels([setup for setup, _ in shown], places)
    blocks: list[Block] = [Paragraph(tuple(_sentences(shown[0][1])))]
    blocks.append(_table([parts for _, parts in shown], labels))
    if len(known) > len(shown):
        blocks.append(Paragraph((say("memory.more", n=f"{len(known) - len(shown)}"),)))
    bars = tuple(_bar(parts, label) for (_, parts), label in zip(shown, labels, strict=True))
    blocks.append(Plot((Bars(f"{name}-memory", say("memory.bars"), "bytes", bars),)))
    return Section(3, say("memory.heading"), tuple(blocks))


def _starts(points: Points) -> list[tuple[Setup, list[Record]]]:
    """The good runs of each engine start, in the order in which they began; those of a server that
    the journal did not start count as one."""
    groups: dict[tuple[Setup, object], list[Record]] = {}
    runs = [(record, point.setup) for point in points for record in point.good]
    for record, setup in sorted(runs, key=lambda run: (run[0].started_at, run[0].id)):
        groups.setdefault((setup, record.facts.log_path), []).append(record)
    return [(setup, records) for (setup, _), records in groups.items()]


def _labels(setups: Sequence[Setup], places: Places) -> list[Text]:
    """The name of each start; a number distinguishes those of one setup."""
    counts: dict[Setup, int] = {}
    labels: list[Text] = []
    for setup in setups:
        counts[setup] = number = counts.get(setup, 0) + 1
        label = places.brief[setup]
        several = setups.count(setup) > 1
        labels.append(say("memory.start", setup=label, n=str(number)) if several else label)
    return labels


def _sentences(parts: Split) -> Iterator[Text]:
    total, sizes = parts.total, {part.name: part.bytes for part in parts.parts}
    pool, rest = sizes.get("kv_pool"), sizes["rest"]
    if pool is not None and total.bytes:
        yield say(
            f"memory.reserved.{'each' if parts.gpu_count > 1 else total.name}",
            n=f"{parts.gpu_count}",
            total=units.data_size(total.bytes),
            pool=units.data_size(pool),
            share=units.percent(pool / total.bytes),
        )
    kind = "over" if rest < 0 else total.name
    yield say(f"memory.rest.{kind}", rest=units.data_size(abs(rest)))


def _table(starts: Sequence[Split], labels: Sequence[Text]) -> Table:
    columns = (
        Column(say("column.part"), numeric=False),
        *(Column(label) for label in labels),
        Column(say("column.source"), numeric=False),
    )
    named = [{part.name: part for part in (*start.parts, start.total)} for start in starts]
    rows = [
        _row(name, [parts.get(name) for parts in named], starts)
        for name in (*ORDER, "used", "resident")
        if any(name in parts for parts in named)
    ]
    return Table(columns, tuple(rows))


def _row(
    name: PartName, parts: Sequence[MemoryPart | None], starts: Sequence[Split]
) -> tuple[Box, ...]:
    boxes = []
    for part, whole in zip(parts, starts, strict=True):
        if part is None:
            boxes.append(Box(units.ABSENT))
        else:
            share = part.bytes / whole.total.bytes if whole.total.bytes else None
            boxes.append(Box(units.data_size(part.bytes), units.percent(share)))
    sources = dict.fromkeys(part.source for part in parts if part is not None)
    by = tuple(say(f"source.{source}") for source in sources)
    return (Box(say(f"part.{name}")), *boxes, Box(by))


def _bar(parts: Split, label: Text) -> Bar:
    """The bar of one start; higher than the total where the rest is below 0 and cannot be drawn."""
    return Bar(label, tuple(_segments(parts.parts)))


def _segments(parts: Iterable[MemoryPart]) -> Iterator[Segment]:
    for part in parts:
        if part.bytes > 0:
            hue = None if part.name == "rest" else ORDER.index(part.name)
            yield Segment(say(f"part.{part.name}"), part.bytes, hue)
