"""Since last time: the cells of the day against their last measurement on an earlier day."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, tzinfo

from journal import units
from journal.records import Record
from journal.report.cells_table import Quantity, figure_box, quantities
from journal.report.page import Block, Box, Bullets, Column, Paragraph, Section, Table, Text, say
from journal.report.places import Places
from journal.report.points import GOOD, Point, Points, points
from journal.report.setups import setups_of
from journal.report.sidebyside import METRICS, compared, times
from journal.summarise.ratios import Ratio, beyond_chance, ratio

MOST_ROWS = 20  # those with the greatest change in throughput

Pair = tuple[Point, Point]  # now, then


def answer(
    found: Points, earlier: Sequence[Record], places: Places, zone: tzinfo | None
) -> Section | None:
    """What got faster or slower beyond the noise, and what else changed; None where no cell of
    the day was measured well on a day before."""
    pairs, days = [], set()
    for point in found:
        then = last_time(point, earlier, zone)
        if then is not None:
            pairs.append((point, then[1]))
            days.add(then[0])
    if not pairs:
        return None
    count = say("since.count", n=f"{len(pairs)}", days=tuple(str(day) for day in sorted(days)))
    blocks: list[Block] = [Paragraph((count, *_verdicts(pairs)))]
    changed = tuple(_changes(pairs))
    if changed:
        blocks += [Paragraph((say("since.changed"),)), Bullets(changed)]
    blocks.append(_table(pairs, places))
    return Section(2, say("since.heading"), tuple(blocks))


def last_time(
    point: Point, earlier: Iterable[Record], zone: tzinfo | None
) -> tuple[date, Point] | None:
    """The same cell on the last earlier day on which it was measured well, and that day. Of
    several setups of that day the last one counts."""
    if not point.good:
        return None
    own = {record.cell.identity for record in point.records}
    alike = [r for r in earlier if r.cell.identity in own and r.status in GOOD]
    if not alike:
        return None
    day = max(record.started_at.astimezone(zone).date() for record in alike)
    then = [record for record in alike if record.started_at.astimezone(zone).date() == day]
    return day, points(zip(then, setups_of(then), strict=True))[-1]


def _verdicts(pairs: Sequence[Pair]) -> Iterator[Text]:
    """For each metric: how many cells rose, fell, stayed within the noise, or cannot be told."""
    for key, name in METRICS.items():
        found = [compared(now, then, name) for now, then in pairs]
        counts = Counter(directions([each for each in found if each is not None]))
        told = tuple(
            say(f"since.{direction}", n=f"{counts[direction]}")
            for direction in ("higher", "lower", "same", "unknown")
            if counts[direction]
        )
        if told:
            yield say("since.verdict", metric=say(f"panel.{key}"), counts=told)


def directions(found: Sequence[Ratio]) -> list[str]:
    """Of each ratio: higher, lower, same (no difference beyond chance, of so many looked at), or
    unknown for want of repeats."""
    tested = [each.probability for each in found if each.probability is not None]
    real = iter(beyond_chance(tested))
    return [
        _direction(each, next(real) if each.probability is not None else None) for each in found
    ]


def _direction(found: Ratio, real: bool | None) -> str:
    if real is None:
        return "unknown"
    if not real:
        return "same"
    return "higher" if found.value > 1 else "lower"


def _changes(pairs: Sequence[Pair]) -> Iterator[Text]:
    """What is not as it was: each difference between a server and host of today and of then."""
    seen: dict[tuple[str, str, str], None] = {}
    for now, then in pairs:
        before, after = _attributes(then), _attributes(now)
        for name in {**before, **after}:
            if before.get(name) != after.get(name):
                values = (before.get(name, units.ABSENT), after.get(name, units.ABSENT))
                seen[(name, *values)] = None
    for name, before_value, after_value in seen:
        yield say("since.change", name=name, before=before_value, after=after_value)


def _attributes(point: Point) -> Mapping[str, str]:
    return dict(point.setup.attributes)


def _table(pairs: Sequence[Pair], places: Places) -> Table:
    """The figures of now, and beneath each its ratio to then."""
    chosen = sorted(pairs, key=_change, reverse=True)[:MOST_ROWS]
    every = tuple(now for now, _ in chosen)
    shown = [quantity for quantity in quantities(every) if quantity.precise]
    scaled = [(quantity, *quantity.scale(every)) for quantity in shown]
    columns = (
        Column(say("column.cell"), numeric=False),
        *(Column(say("column.with_unit", title=q.title, unit=unit)) for q, _, unit in scaled),
    )
    rows = tuple(
        (
            Box(places.cell(now)),
            *(_box(quantity, factor, now, then) for quantity, factor, _ in scaled),
        )
        for now, then in chosen
    )
    return Table(columns, rows, (say("since.caption"),))


def _change(pair: Pair) -> float:
    found = compared(*pair, METRICS["throughput"])
    return max(found.value, 1 / found.value) if found else 0.0


def _box(quantity: Quantity, factor: float, now: Point, then: Point) -> Box:
    own = figure_box(quantity.pick(now), factor, precise=False)
    found = ratio([(quantity.repeats(then), quantity.repeats(now))])
    return own if found is None else replace(own, detail=times(found))
