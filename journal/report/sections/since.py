"""Since last time: the day's cells against the last day before on which they were measured."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, tzinfo
from math import log

from journal import units
from journal.compare.comparison import Comparison, ComparisonRow, compared
from journal.compare.pairing import Value
from journal.compare.sides import Side
from journal.compare.verdicts import Compared
from journal.errors import UsageError
from journal.records.load_shape import AXIS_NAMES
from journal.records.run import Record
from journal.report import how_measured
from journal.report.day import Day
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Paragraph,
    Section,
    Table,
    Text,
    say,
)
from journal.report.versus import metric_words, times, value_words
from journal.store.history import Place, place

NOTICEABLE = 0.03  # a smaller change is called none: repeats of one day do not differ as days do
MOST_NAMED = 8  # changes of either kind that are named, the greatest first
MOST_ROWS = 20

UNDECIDED = {"no difference seen": "same", "maybe chance": "maybe", "cannot say": "unknown"}

Change = tuple[ComparisonRow, Compared]


def since_section(compared_days: Iterable[Comparison]) -> Section | None:
    """A section on cells that got faster or slower beyond the noise, and on all else that changed,
    of the `comparisons` of a day; None where no cell of the day has a good run on a day before."""
    blocks: list[Block] = []
    for comparison in compared_days:
        blocks += _blocks(comparison)
    return Section(2, say("since.heading"), tuple(blocks)) if blocks else None


def comparisons(day: Day) -> Iterator[Comparison]:
    """Comparisons of the day (B) with each earlier day (A) that was the last for some cells."""
    last = _last(day.earlier, day.zone)
    for then in sorted(set(last.values()), reverse=True):
        before, now = (
            tuple(r for r in records if r.good and last.get(place(r.cell)) == then)
            for records in (_of(then, day.earlier, day.zone), day.records)
        )
        try:
            yield compared(_side(then, before), _side(day.date, now), noticeable=NOTICEABLE)
        except UsageError:  # they share no cell after all, or none that can be believed
            continue


def _last(earlier: Iterable[Record], zone: tzinfo | None) -> dict[Place, date]:
    """The last day on which each place was measured."""
    days: dict[Place, date] = {}
    for record in earlier:
        if record.good:
            where, then = place(record.cell), _date(record, zone)
            days[where] = max(then, days.get(where, then))
    return days


def _of(day: date, records: Iterable[Record], zone: tzinfo | None) -> Iterator[Record]:
    return (record for record in records if _date(record, zone) == day)


def _date(record: Record, zone: tzinfo | None) -> date:
    return record.started_at.astimezone(zone).date()


def _side(day: date, records: tuple[Record, ...]) -> Side:
    return Side(day.isoformat(), "day", records)


def _blocks(comparison: Comparison) -> Iterator[Block]:
    count = len(comparison.rows)
    cells = say("count.cell.one" if count == 1 else "count.cell.many", n=f"{count:,}")
    yield Paragraph(
        (say("since.count", cells=cells, day=comparison.a.name), *_verdicts(comparison))
    )
    way = how_measured.measured_sentences(comparison.measured, comparison.a.name, comparison.b.name)
    yield Paragraph(tuple(way))
    for key, worse in (("since.worse", True), ("since.better", False)):
        changes = beyond_noise(comparison, worse=worse)
        if changes:
            named = tuple(change_sentence(change) for change in changes[:MOST_NAMED])
            more = len(changes) - MOST_NAMED
            yield Paragraph((), say(key))
            yield Bullets((*named, *((say("more", n=str(more)),) if more > 0 else ())))
    changed = tuple(_changed(comparison))
    if changed:
        yield Paragraph((say("since.changed"),))
        yield Bullets(changed)
    else:
        yield Paragraph((say("since.unchanged"),))
    yield _table(comparison)


def _verdicts(comparison: Comparison) -> Iterator[Text]:
    """For each metric: how many cells got better or worse, did not, or cannot be judged."""
    figures = [figure for row in comparison.judged for figure in row.figures]
    for name in dict.fromkeys(figure.metric for figure in figures):
        counts = Counter(_kind(figure) for figure in figures if figure.metric == name)
        parts = tuple(say(f"since.{kind}", n=f"{n}") for kind, n in sorted(counts.items()))
        yield say("since.verdict", metric=metric_words(name), counts=parts)


def _kind(figure: Compared) -> str:
    if figure.verdict not in ("higher", "lower"):
        return UNDECIDED[figure.verdict]
    if figure.headline.shown.amount or figure.headline.better == "neither":
        return "more" if figure.verdict == "higher" else "less"
    return "slower" if _is_worse(figure) else "faster"


def _is_worse(figure: Compared) -> bool:
    return figure.verdict != figure.headline.better


def beyond_noise(comparison: Comparison, *, worse: bool) -> list[Change]:
    """The changes beyond chance, the greatest first."""
    changes = [
        (row, figure)
        for row in comparison.judged
        for figure in row.figures
        if figure.verdict in ("higher", "lower")
        and figure.headline.better != "neither"
        and _is_worse(figure) == worse
    ]
    return sorted(changes, key=lambda change: -_size(change[1]))


def _size(figure: Compared) -> float:
    return abs(log(figure.ratio.value)) if figure.ratio else 0.0


def change_sentence(change: Change) -> Text:
    """The sentence on one change, with its interval."""
    row, figure = change
    assert figure.ratio is not None
    return say(
        "since.one",
        cell=_cell(row),
        metric=metric_words(figure.metric),
        before=units.formatted(figure.a, figure.headline.unit),
        after=units.formatted(figure.b, figure.headline.unit),
        ratio=times(figure.ratio.value),
        low=times(figure.ratio.low),
        high=times(figure.ratio.high),
    )


def _cell(row: ComparisonRow) -> Text:
    """The name of a cell: its fields, and its conditions of now; that of a row without either, of
    the engine itself."""
    fields: dict[str, Value] = {**row.match.cell, **row.match.conditions[1]}
    if not fields:
        return say("since.engine")
    return tuple(_field(name, value) for name, value in fields.items() if value is not None)


def _field(name: str, value: Value) -> Text:
    if name in AXIS_NAMES:
        return say(f"at.{name}", n=f"{value:,g}" if isinstance(value, float) else f"{value:,}")
    return str(value) if name in ("model", "quantisation") else f"{name} {value_words(value)}"


def _changed(comparison: Comparison) -> Iterator[Text]:
    """The fields of the engine (flags, revision) and of its surroundings (driver) that changed."""
    pairing = comparison.pairing
    fields: dict[str, tuple[tuple[Value, ...], tuple[Value, ...]]] = {
        **{name: ((a,), (b,)) for name, (a, b) in pairing.differs.items()},
        **pairing.conditions,
    }
    for name, (before, after) in fields.items():
        then, now = (tuple(value_words(value) for value in side) for side in (before, after))
        yield say("since.change", name=name, before=then, after=now)


def _table(comparison: Comparison) -> Table:
    """A table of the figures of now, with their ratios to then; the greatest changes come first."""
    chosen = sorted(comparison.rows, key=lambda row: -max(map(_size, row.figures), default=0.0))
    names = dict.fromkeys(figure.metric for row in comparison.rows for figure in row.figures)
    columns = (
        Column(say("column.cell"), numeric=False),
        *(Column(metric_words(name)) for name in names),
    )
    rows = tuple(
        (Box(_cell(row)), *(_box({f.metric: f for f in row.figures}.get(n)) for n in names))
        for row in chosen[:MOST_ROWS]
    )
    least = say("versus.least", least=units.percent(NOTICEABLE))
    return Table(columns, rows, (say("since.caption"), least))


def _box(figure: Compared | None) -> Box:
    if figure is None:
        return Box(units.ABSENT)
    text = units.formatted(figure.b, figure.headline.unit)
    quotient = figure.ratio
    if quotient is None:
        return Box(text)
    interval = "" if quotient.low is None else f" ({times(quotient.low)}–{times(quotient.high)})"
    return Box(text, f"×{times(quotient.value)}{interval}")
