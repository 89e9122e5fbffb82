"""What a conversation costs as it grows: TTFT and hits by turn, with the prediction beside them."""

from collections.abc import Iterator

from journal import units
from journal.compare.points import Point, Points
from journal.metrics.row import TURNS
from journal.report.document import Box, Bullets, Column, Section, Table, Text, say
from journal.report.places import Places

TITLES = ("turn", "prompt", "hit", "ttft", "predicted")


def conversation_section(points: Points, places: Places) -> Section | None:
    """A section on the cells whose requests are turns of conversations; None where there are
    none."""
    shown = [point for point in points if point.value("turn_ttft_s.2") is not None]
    if not shown:
        return None
    told = tuple(say("turns.at", place=places.cell(one), what=tuple(_told(one))) for one in shown)
    columns = [Column(say("column.cell"), numeric=False)]
    columns += [Column(say(f"turns.{title}")) for title in TITLES]
    rows = tuple(
        (Box(places.cell(point)), *_boxes(point, turn))
        for point in shown
        for turn in TURNS
        if point.value(f"turn_ttft_s.{turn}") is not None
    )
    table = Table(tuple(columns), rows, (say("turns.caption"),))
    return Section(3, say("turns.heading"), (Bullets(told), table))


def predicted_s(point: Point, turn: int) -> float | None:
    """The TTFT of a turn that its tokens left to read let expect, by the TTFT of the first turn;
    None where hits or lengths are not known."""
    first_s, first_left = point.value("turn_ttft_s.1"), _left(point, 1)
    left = _left(point, turn)
    if first_s is None or not first_left or left is None:
        return None
    return first_s * left / first_left


def _left(point: Point, turn: int) -> float | None:
    """The tokens of a turn's prompt that no cache spared."""
    names = ("turn_prompt_tokens", "turn_hit_fraction")
    prompt, hits = (point.value(f"{name}.{turn}") for name in names)
    return None if prompt is None or hits is None else prompt * (1 - hits)


def _told(point: Point) -> Iterator[Text]:
    """How the last turn shown compares with the first, in a few clauses."""
    last = max(turn for turn in TURNS if point.value(f"turn_ttft_s.{turn}") is not None)
    first_s, last_s = point.value("turn_ttft_s.1"), point.value(f"turn_ttft_s.{last}")
    ends = {"turn": f"{last}", "first": units.seconds(first_s), "last": units.seconds(last_s)}
    yield say("turns.grew", **ends)
    prompt, hits = (point.value(f"{n}.{last}") for n in ("turn_prompt_tokens", "turn_hit_fraction"))
    if prompt is None or hits is None:
        yield say("turns.untold")
    else:
        spared = f"{prompt * hits:,.0f}"
        yield say("turns.hits", hits=units.percent(hits), tokens=spared, prompt=f"{prompt:,.0f}")
    expected_s = predicted_s(point, last)
    if expected_s is not None and last_s:
        ratio = units.percent(expected_s / last_s)
        yield say("turns.predicted_was", predicted=units.seconds(expected_s), ratio=ratio)


def _boxes(point: Point, turn: int) -> Iterator[Box]:
    names = ("turn_prompt_tokens", "turn_hit_fraction", "turn_ttft_s")
    prompt, hits, ttft_s = (point.value(f"{name}.{turn}") for name in names)
    expected_s = predicted_s(point, turn) if turn > 1 else None
    yield Box(f"{turn}")
    yield Box(units.ABSENT if prompt is None else f"{prompt:,.0f}")
    yield Box(units.ABSENT if hits is None else units.percent(hits))
    for seconds in (ttft_s, expected_s):
        yield Box(units.ABSENT if seconds is None else units.seconds(seconds))
