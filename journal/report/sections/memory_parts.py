"""The memory of each engine: its parts, the source of each, and the rest."""

from collections.abc import Iterable, Iterator, Sequence

from journal import units
from journal.compare.difference import ALIKE
from journal.compare.points import Points
from journal.compare.room import room
from journal.compare.setups import Setup
from journal.records.run import Record
from journal.report.document import (
    Bar,
    Bars,
    Block,
    Blocks,
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

MOST_COLUMNS = 4  # of one table; `journal show` has every run's
ORDER: tuple[PartName, ...] = (
    *("weights", "kv_pool", "activations", "graphs", "context", "others", "rest"),
)


def memory_section(points: Points, places: Places, name: str) -> Section | None:
    """A section on the memory of each engine, as a table and bars; None without readings."""
    starts = _starts(points)
    known = [(setup, part) for setup, records in starts if (part := split(records)) is not None]
    if not known:
        return None
    columns = _together(known)
    shown = columns[:MOST_COLUMNS]
    labels = _labels(shown, places)
    blocks: list[Block] = []
    for (_, alike), label in zip(shown, labels, strict=True):
        about = say("about", what=label) if len(shown) > 1 else ""
        blocks.append(Paragraph(tuple(_sentences(alike)), about))
    blocks.append(_table([alike for _, alike in shown], labels))
    left = sum(len(alike) for _, alike in columns[MOST_COLUMNS:])
    if left:
        blocks.append(Paragraph((say("memory.more", n=f"{left}"),)))
    bars = tuple(_bar(alike[0], label) for (_, alike), label in zip(shown, labels, strict=True))
    drawn = Bars(f"{name}-memory", say("memory.bars"), "bytes", bars)
    blocks.append(Plot((drawn, *_pools(points, places, name))))
    return Section(3, say("memory.heading"), tuple(blocks))


def _pools(points: Points, places: Places, name: str) -> Iterator[Blocks]:
    """The KV pool of each setup as blocks, at the highest reading of its use; a pool whose blocks
    are not known is none."""
    for number, setup in enumerate(dict.fromkeys(point.setup for point in points), start=1):
        read = [
            (max(shares), held)
            for point in points
            if point.setup == setup
            and (shares := point.repeats("kv_cache_peak_fraction"))
            and (held := room(point))
            and held.block_tokens
        ]
        if not read or number > MOST_COLUMNS:
            continue
        share, held = max(read, key=lambda pair: pair[0])
        assert held.block_tokens is not None
        free = held.usable // held.block_tokens
        kept = held.tokens // held.block_tokens - free
        used = min(1.0, share) * free
        parts = (("used", used, 1), ("free", free - used, None), ("kept", kept, 5))
        yield Blocks(
            f"{name}-pool-{number}",
            say("pool.title", setup=places.brief[setup], total=f"{free + kept:,.0f}"),
            tuple(
                Segment(say(f"pool.{part}", n=f"{round(count):,}"), count, hue)
                for part, count, hue in parts
            ),
        )


def _together(known: Sequence[tuple[Setup, Split]]) -> list[tuple[Setup, list[Split]]]:
    """The starts of each setup that are alike, as one column: no part of one differs from that of
    the first by more than ALIKE of the whole."""
    columns: list[tuple[Setup, list[Split]]] = []
    for setup, start in known:
        for other, alike in columns:
            if other == setup and _alike(alike[0], start):
                alike.append(start)
                break
        else:
            columns.append((setup, [start]))
    return columns


def _alike(a: Split, b: Split) -> bool:
    sizes = [{part.name: part.bytes for part in (*s.parts, s.total)} for s in (a, b)]
    most = ALIKE * a.total.bytes
    return sizes[0].keys() == sizes[1].keys() and all(
        abs(sizes[0][name] - sizes[1][name]) <= most for name in sizes[0]
    )


def _starts(points: Points) -> list[tuple[Setup, list[Record]]]:
    """The good runs of each engine start, in the order in which they began; those of a server that
    the journal did not start count as one."""
    groups: dict[tuple[Setup, object], list[Record]] = {}
    runs = [(record, point.setup) for point in points for record in point.good]
    for record, setup in sorted(runs, key=lambda run: (run[0].started_at, run[0].id)):
        groups.setdefault((setup, record.facts.log_path), []).append(record)
    return [(setup, records) for (setup, _), records in groups.items()]


def _labels(columns: Sequence[tuple[Setup, list[Split]]], places: Places) -> list[Text]:
    """The name of each column, with the number of its starts; a number distinguishes columns of one
    setup."""
    setups = [setup for setup, _ in columns]
    counts: dict[Setup, int] = {}
    labels: list[Text] = []
    for setup, alike in columns:
        counts[setup] = number = counts.get(setup, 0) + 1
        label = places.brief[setup]
        if setups.count(setup) > 1:
            label = say("memory.start", setup=label, n=str(number))
        elif len(alike) > 1:
            label = say("memory.starts", setup=label, n=f"{len(alike)}")
        labels.append(label)
    return labels


def _sentences(starts: Sequence[Split]) -> Iterator[Text]:
    first = starts[0]
    sizes = [{part.name: part.bytes for part in start.parts} for start in starts]
    pools = [parts["kv_pool"] for parts in sizes if "kv_pool" in parts]
    totals = [start.total.bytes for start in starts]
    if len(pools) == len(starts) and min(totals) > 0:
        shares = [pool / total for pool, total in zip(pools, totals, strict=True)]
        yield say(
            f"memory.reserved.{'each' if first.gpu_count > 1 else first.total.name}",
            n=f"{first.gpu_count}",
            total=_range(totals),
            pool=_range(pools),
            share=_shares(shares),
        )
    rests = [parts["rest"] for parts in sizes]
    kind = "over" if max(rests) < 0 else first.total.name
    shown = [abs(rest) for rest in rests] if kind == "over" else [max(0, rest) for rest in rests]
    yield say(f"memory.rest.{kind}", rest=_range(shown))


def _range(sizes: Sequence[float]) -> str:
    """Sizes from the least to the most."""
    ends = (units.data_size(end) for end in (min(sizes), max(sizes)))
    return "–".join(dict.fromkeys(ends))


def _shares(shares: Sequence[float]) -> str:
    return "–".join(dict.fromkeys(units.percent(end) for end in (min(shares), max(shares))))


def _table(columns: Sequence[Sequence[Split]], labels: Sequence[Text]) -> Table:
    heads = (
        Column(say("column.part"), numeric=False),
        *(Column(label) for label in labels),
        Column(say("column.source"), numeric=False),
    )
    every = [start for alike in columns for start in alike]
    names = {part.name for start in every for part in (*start.parts, start.total)}
    rows = [_row(name, columns) for name in (*ORDER, "used", "resident") if name in names]
    return Table(heads, tuple(rows))


def _row(name: PartName, columns: Sequence[Sequence[Split]]) -> tuple[Box, ...]:
    boxes: list[Box] = []
    sources: dict[str, None] = {}
    for alike in columns:
        found = [(part, start) for start in alike if (part := _part(start, name)) is not None]
        if not found:
            boxes.append(Box(units.ABSENT))
            continue
        whole = [part.bytes / start.total.bytes for part, start in found if start.total.bytes]
        boxes.append(
            Box(_range([part.bytes for part, _ in found]), _shares(whole) if whole else "")
        )
        sources |= dict.fromkeys(part.source for part, _ in found)
    by = tuple(say(f"source.{source}") for source in sources)
    return (Box(say(f"part.{name}")), *boxes, Box(by))


def _part(start: Split, name: PartName) -> MemoryPart | None:
    return next((part for part in (*start.parts, start.total) if part.name == name), None)


def _bar(parts: Split, label: Text) -> Bar:
    """The bar of one start; higher than the total where the rest is below 0 and cannot be drawn."""
    return Bar(label, tuple(_segments(parts.parts)))


def _segments(parts: Iterable[MemoryPart]) -> Iterator[Segment]:
    for part in parts:
        if part.bytes > 0:
            hue = None if part.name == "rest" else ORDER.index(part.name)
            yield Segment(say(f"part.{part.name}"), part.bytes, hue)
