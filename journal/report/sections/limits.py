"""What limits each cell: the class of its bottleneck, with the evidence."""

from journal.compare.bottleneck import Bottleneck, Bottlenecks
from journal.compare.points import Point, Points
from journal.report.bottleneck_words import bottleneck_sentence
from journal.report.document import Bullets, Section, say
from journal.report.places import Places

MOST_PLACES = 6  # named; beyond, they are counted


def limits_section(points: Points, limits: Bottlenecks, named: Places) -> Section | None:
    """A section with a line for each bottleneck and the cells that have it; the evidence is that of
    the last of them, where the load is highest. None without a run whose figures count."""
    alike: dict[str, list[tuple[Point, Bottleneck]]] = {}
    for point in points:
        found = limits.of(point.good[-1]) if point.good else None
        if found is not None:
            alike.setdefault(found.variant, []).append((point, found))
    if not alike:
        return None
    lines = []
    for cells in alike.values():
        shown = tuple(named.cell(point) for point, _ in cells[-MOST_PLACES:])
        left = len(cells) - len(shown)
        more = (say("more", n=f"{left}"),) if left else ()
        sentence = bottleneck_sentence(cells[-1][1])
        lines.append(say("limit.cell", places=(*shown, *more), sentence=sentence))
    return Section(3, say("limit.heading"), (Bullets(tuple(lines)),))
