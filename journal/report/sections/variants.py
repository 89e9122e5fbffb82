"""What further fields of a request cost: the variants of a load beside the one of fewest fields."""

from collections.abc import Iterator

from journal import units
from journal.compare.beside import Beside, Verdicts, judged_together
from journal.compare.points import Point, Points
from journal.report.document import Box, Column, Paragraph, Section, Table, Text, say
from journal.report.places import Places
from journal.report.sections.side_by_side import METRICS, ratio_sentences

FIGURES = {"ttft_s.p50": "ttft", "tpot_s.p50": "tpot", "output_tokens_per_s": "throughput"}


def variants_section(points: Points, places: Places) -> Section | None:
    """A section on the variants of each load, and on what they cost beside the one with the fewest
    fields; None where no load has several."""
    groups = _groups(points)
    if not groups:
        return None
    pairs = [Beside(plain, other) for plain, *others in groups for other in others]
    verdicts = judged_together(pairs, METRICS.values())
    blocks: list[Paragraph | Table] = []
    for plain, *others in groups:
        for other in others:
            about = say("compare.about", a=places.cell(other), b=_name(plain))
            blocks.append(Paragraph(tuple(_sentences(Beside(plain, other), verdicts)), about))
    blocks.append(_table([point for group in groups for point in group], places))
    return Section(3, say("variants.heading"), tuple(blocks))


def _groups(points: Points) -> list[list[Point]]:
    """The points that differ in the fields of their requests alone, that of the fewest first."""
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if point.variant is not None:
            *manner, _ = point.manner
            key = (point.setup, point.shape, *point.lengths, *manner)
            groups.setdefault(key, []).append(point)
    return [sorted(group, key=_fields) for group in groups.values() if len(group) > 1]


def _fields(point: Point) -> int:
    return len(point.records[0].cell.load.body)


def _name(point: Point) -> str:
    return point.variant or units.ABSENT


def _sentences(pair: Beside, verdicts: Verdicts) -> Iterator[Text]:
    for key, name in METRICS.items():
        yield from ratio_sentences(key, name, pair, verdicts)
    if min(pair.way.units) < 2:
        yield say("variants.repeat")


def _table(points: list[Point], places: Places) -> Table:
    columns = [Column(say("column.cell"), numeric=False), Column(say("variants.fields"), False)]
    columns += [Column(say(f"panel.{title}")) for title in FIGURES.values()]
    columns += [Column(say("variants.output"))]
    rows = tuple((Box(places.cell(point)), *_boxes(point)) for point in points)
    return Table(tuple(columns), rows, (say("variants.caption"),))


def _boxes(point: Point) -> Iterator[Box]:
    yield Box(", ".join(point.records[0].cell.load.body) or units.ABSENT)
    for name in FIGURES:
        value = point.value(name)
        unit = "tok/s" if name.endswith("_per_s") else "s"
        yield Box(units.ABSENT if value is None else units.formatted(value, unit))
    met = point.value("output_length.p50")
    yield Box(units.whole(point.output_tokens) if met is None else f"{met:,.0f}")
