"""Long prompts among short ones: how long other streams stood still while one was read."""

from journal import units
from journal.compare.points import Points
from journal.report.document import Box, Column, Paragraph, Section, Table, say
from journal.report.places import Places

TITLES = ("longest", "gap", "still", "most")


def long_prompts_section(points: Points, places: Places) -> Section | None:
    """A section on the cells in which long prompts were read beside other streams; None where there
    were none."""
    shown = [point for point in points if point.value("standstill_median_s") is not None]
    if not shown:
        return None
    columns = [Column(say("column.cell"), numeric=False)]
    columns += [Column(say(f"still.{title}")) for title in TITLES]
    rows = []
    for point in shown:
        longest = point.value("prompt_length.max")
        names = ("icl_s.p50", "standstill_median_s", "standstill_most_s")
        times = (Box(units.seconds(point.value(name))) for name in names)
        tokens = Box(units.ABSENT if longest is None else f"{longest:,.0f}")
        rows.append((Box(places.cell(point)), tokens, *times))
    table = Table(tuple(columns), tuple(rows), (say("still.caption"),))
    return Section(3, say("still.heading"), (Paragraph((say("still.about"),)), table))
