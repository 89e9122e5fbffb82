"""Requests in time: those in flight at the middle of a run, with their parts and their tokens."""

from collections.abc import Mapping, Sequence

from journal import units
from journal.compare.points import Point, Points
from journal.compare.timeline import RequestPartName, Timeline, TimelineRow, timeline
from journal.records.request import Trace
from journal.report.document import Plot, Section, Strip, StripPart, Strips, Text, say
from journal.report.places import Places

DECODE_HUE = 2
HUES: Mapping[RequestPartName, int | None] = {
    "unsent": None,
    "queue": 1,
    "prefill": 0,
    "unread": 3,
    "rest": None,
    "decode": DECODE_HUE,
}


def requests_in_time_section(
    points: Points, places: Places, name: str, in_flight: Mapping[str, Sequence[Trace]]
) -> Section | None:
    """A section with the timelines of the runs whose requests in flight are known by their ids;
    None where there are none."""
    told = [
        (point, drawn)
        for point in points
        for record in point.good
        if (drawn := timeline(in_flight.get(record.id, ()))) is not None
    ]
    if not told:
        return None
    panels = tuple(
        strips(each, f"{name}-requests-{number}", places.in_brief(point))
        for number, (point, each) in enumerate(told, start=1)
    )
    return Section(3, say("in_time.heading"), (Plot(panels, _caption(told)),))


def strips(drawn: Timeline, name: str, title: Text) -> Strips:
    """The timeline `drawn` as a plot."""
    several = len(drawn.rows) > 1
    return Strips(
        name,
        title,
        tuple(_strip(row, f"{row.index}" if several else "") for row in drawn.rows),
        tuple(_legend(drawn)),
    )


def _strip(row: TimelineRow, label: str) -> Strip:
    spans = (
        StripPart(each.start_s, each.end_s, HUES[each.part], faint=each.part == "decode")
        for each in row.parts
    )
    return Strip(label, tuple(spans), row.chunks_s, DECODE_HUE)


def _legend(drawn: Timeline) -> list[tuple[Text, int | None]]:
    """The parts that the timeline has, each with its length where there is one request alone."""
    kinds = {each.part for row in drawn.rows for each in row.parts}
    legend: list[tuple[Text, int | None]] = []
    for part, hue in HUES.items():
        if part not in kinds:
            continue
        said: Text = say(f"in_time.{part}")
        if len(drawn.rows) == 1:
            lengths = (s.end_s - s.start_s for s in drawn.rows[0].parts if s.part == part)
            said = say("in_time.with", part=said, length=units.seconds(sum(lengths)))
        legend.append((said, hue))
    return legend


def _caption(told: Sequence[tuple[Point, Timeline]]) -> tuple[Text, ...]:
    timelines = [drawn for _, drawn in told]
    rows = [row for drawn in timelines for row in drawn.rows]
    kinds = {each.part for row in rows for each in row.parts}
    cut = [drawn for drawn in timelines if drawn.in_flight > len(drawn.rows)]
    most = max(cut, key=lambda drawn: drawn.in_flight, default=None)
    said: list[Text] = [say("in_time.shown")]
    if most is not None:
        shown = {"shown": f"{len(most.rows)}", "all": f"{most.in_flight:,}"}
        said.append(say("in_time.cut", **shown))
    by_token = all(row.by_token for row in rows)
    said.append(say("in_time.by_token" if by_token else "in_time.by_chunk"))
    if kinds & {"queue", "prefill"}:
        said.append(say("in_time.lengths"))
    if "unread" in kinds:
        said.append(say("in_time.untold"))
    return tuple(said)
