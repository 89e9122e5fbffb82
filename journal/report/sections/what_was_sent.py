"""What was sent, where it was not random tokens of one length: the workload, the hash of what each
run sent, and the lengths of prompts and answers as they were met."""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from journal import units
from journal.compare.points import Point, Points
from journal.records.workload import Part
from journal.report.document import (
    Block,
    Box,
    Column,
    Drawing,
    Paragraph,
    Plot,
    Section,
    Table,
    Text,
    say,
)
from journal.report.length_bars import bins, length_bars
from journal.report.places import Places
from journal.store.request_lengths import Length, Lengths

NONE: Mapping[str, Lengths] = MappingProxyType({})
FIELDS: Mapping[str, tuple[Length, Length]] = {
    "prompt": ("prompt_tokens", "prompt_tokens_asked"),
    "output": ("output_tokens", "output_tokens_asked"),
}
SHORT_HASH = 8
LENGTHS = ("prompt_length", "output_length")
SHOWN_STATISTICS = ("min", "p50", "p90", "max")


def sent_section(
    points: Points, places: Places, name: str = "", lengths: Mapping[str, Lengths] = NONE
) -> Section | None:
    """A section with a sentence on each workload, the lengths of its requests by run as histograms,
    and a table of the lengths that were met; None where every prompt was of random tokens and of
    one length. `name` begins the names of the figures."""
    told = [point for point in points if point.workload is not None or _met(point)]
    if not told:
        return None
    by_workload: dict[str | None, list[Point]] = {}
    for point in told:
        by_workload.setdefault(point.workload, []).append(point)
    blocks: list[Block] = []
    for number, group in enumerate(by_workload.values(), start=1):
        about = Paragraph(tuple(_about(group)))
        blocks += [about] if about not in blocks else []
        panels = tuple(_histograms(f"{name}-lengths-{number}", group, lengths))
        blocks += [Plot(panels, (say("sent.bins"),))] if panels else []
    met = [point for point in told if _met(point)]
    blocks += [_table(met, places)] if met else []
    return Section(3, say("sent.heading"), tuple(blocks))


def _met(point: Point) -> bool:
    return any(point.value(f"{name}.p50") is not None for name in LENGTHS)


def _histograms(name: str, group: list[Point], lengths: Mapping[str, Lengths]) -> Iterator[Drawing]:
    """The lengths of prompts and answers in all runs of a workload as they were met, each where
    they differ; and as they were asked, where those differ too and are others."""
    runs = [record.id for point in group for record in point.good if record.id in lengths]
    for of, fields in FIELDS.items():
        met, asked = (_summed(runs, lengths, field) for field in fields)
        if len(met) < 2:
            continue
        begins = bins(met + asked if len(asked) > 1 else met)
        yield length_bars(f"{name}-{of}", say(f"sent.{of}_met"), met, begins)
        if len(asked) > 1 and asked != met:
            yield length_bars(f"{name}-{of}-asked", say(f"sent.{of}_asked"), asked, begins)


def _summed(runs: list[str], lengths: Mapping[str, Lengths], field: Length) -> Counter[int]:
    counters = (lengths[run].get(field, Counter()) for run in runs)
    return sum(counters, Counter[int]())


def _about(group: list[Point]) -> Iterator[Text]:
    """Sentences on one workload, and on whether its runs sent the same bytes."""
    workload = group[0].records[0].cell.workload
    if workload.task is not None:
        yield say("sent.task", name=workload.task)
    elif workload.is_own:
        content = (workload.content or units.ABSENT)[:SHORT_HASH]
        order = "shuffled" if workload.shuffle else "in_order"
        yield say(f"sent.own_{order}", name=workload.name, hash=content)
        if workload.cycle:
            yield say("sent.cycled")
    else:
        yield say("sent.random")
    if workload.trace is not None:
        content = (workload.content or units.ABSENT)[:SHORT_HASH]
        shown = {"name": workload.name, "hash": content, "speed": f"{workload.speed:g}"}
        yield say("sent.trace", **shown)
    if workload.api is not None:
        yield say(f"sent.{workload.api}")
    if workload.mix:
        yield say("sent.mix", parts=tuple(map(_part, workload.mix)))
    if workload.is_conversation:
        think = units.seconds(workload.think_s)
        yield say("sent.conversations", turns=f"{workload.turns}", think=think)
    if workload.natural_end:
        yield say("sent.natural_end")
    yield from _hashes(group)


def _part(part: Part) -> Text:
    """A part of a mix, by its weight and lengths."""
    lengths = {"prompt": f"{part.prompt_tokens}", "output": f"{part.output_tokens}"}
    return say("sent.part", weight=f"{part.weight:g}", **lengths)


def _hashes(group: list[Point]) -> Iterator[Text]:
    records = [record for point in group for record in point.records]
    sent = [record.environment.get("sent_sha256") for record in records]
    hashes = list(dict.fromkeys(str(one)[:SHORT_HASH] for one in sent if one is not None))
    if len(hashes) == 1 and len(sent) > 1 and None not in sent:
        yield say("sent.same", hash=hashes[0])


def _table(points: list[Point], places: Places) -> Table:
    columns = [Column(say("column.cell"), numeric=False)]
    columns += [
        Column(say(f"sent.{name}_{statistic}"))
        for name in LENGTHS
        for statistic in SHOWN_STATISTICS
    ]
    rows = tuple((Box(places.cell(point)), *_lengths(point)) for point in points)
    return Table(tuple(columns), rows, (say("sent.caption"),))


def _lengths(point: Point) -> Iterator[Box]:
    for name in LENGTHS:
        for statistic in SHOWN_STATISTICS:
            value = point.value(f"{name}.{statistic}")
            yield Box(units.ABSENT if value is None else f"{value:,.0f}")
