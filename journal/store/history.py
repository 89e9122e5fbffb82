"""Earlier experiments and measurements, read quickly however large the journal is."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, cast

from journal.records.cell import Cell
from journal.records.run import GOOD, Record
from journal.records.sameness import counting, counting_fields
from journal.records.workload import OWN
from journal.store.row_care import DAMAGE, LOOKED_AT, each_readable, naming
from journal.store.rows import moment
from journal.store.run_rows import read_runs

if TYPE_CHECKING:
    from journal.store.row_care import Stored
    from journal.store.rows import Journal, Rows

Place: TypeAlias = tuple[str | int | float | None, ...]

_NAMES = (*counting("cell", "place"), *counting("load", "place"), "workload")
_OWN = f"workload LIKE '{OWN}%'"
# Each server counts the tokens of a prompt of one's own for itself.
_LENGTHS = f"CASE WHEN {_OWN} THEN NULL ELSE prompt_tokens END"
_PLACE = tuple(_LENGTHS if name == "prompt_tokens" else name for name in _NAMES)
_INDEXED = ("model", "prompt_tokens", "output_tokens")  # by runs_by_place


def asked_before(store: "Journal", name: str) -> Iterator[tuple[str, str]]:
    """The id and the stored JSON of each experiment called `name`, newest first."""
    query = "SELECT id, experiment FROM experiments WHERE name = :name"
    with store.reading() as rows:
        found = rows.tuples(f"{query} ORDER BY started_at DESC, id DESC", name=name)
    yield from ((id_, text) for id_, text in found)


def last_began(store: "Journal") -> datetime | None:
    """The start of the newest run or experiment that can be read; None in an empty journal."""
    found: list[datetime] = []
    with store.reading() as rows:
        for table in ("runs", "experiments"):
            query = f"SELECT id, started_at FROM {table} ORDER BY started_at DESC LIMIT {LOOKED_AT}"
            found += islice(each_readable(rows.mappings(query), _start), 1)
    return max(found, default=None)


def _start(row: "Stored") -> datetime:
    with naming(f"row {row['id']!r:.60}"):
        return moment(row["started_at"])


def measured_between(
    store: "Journal",
    places: Collection[Place],
    since: datetime,
    until: datetime,
    metrics: Collection[str] | None = None,
) -> list[Record]:
    """The runs at `places` that started from `since` on and before `until`, newest last, each with
    these `metrics` only (None: with all)."""
    when = "started_at >= :since AND started_at < :until"
    between = {"since": since, "until": until}
    with store.reading() as rows:
        every = rows.tuples(f"SELECT id, {', '.join(_PLACE)} FROM runs WHERE {when}", **between)
        ids = [run_id for run_id, *key in every if tuple(key) in places]
        query = f"SELECT id FROM runs WHERE id IN :ids AND {when}"
        return read_runs(rows, query, {"ids": ids, **between}, metrics)


def place(cell: Cell) -> Place:
    """The place of a cell: the fields that stay the same when a repeat, a flag, a revision or the
    engine's version changes."""
    return tuple(counting_fields(cell, "place").values())


def last_measured(
    store: "Journal", cells: Iterable[Cell], before: datetime
) -> dict[Place, datetime]:
    """The start of the last good run before `before` of each of `cells`, by place: of the very
    same cell (by its identity) where it was measured, else of a cell at its place. Cells without
    such a run are left out."""
    places = {cell.identity: place(cell) for cell in cells}
    last: dict[Place, datetime] = {}
    with store.reading() as rows:
        same = {"identities": [*places]}
        for (identity,), at in _latest(rows, ["identity"], "identity IN :identities", same, before):
            where = places[str(identity)]
            last[where] = max(at, last.get(where, at))
        if new := set(places.values()) - last.keys():
            values = dict(zip(_NAMES, map(set, zip(*new, strict=True)), strict=True))
            near = " AND ".join(_near(name, values[name]) for name in _INDEXED)
            known = {name: values[name] - {None} for name in _INDEXED}
            given = {name: some for name, some in known.items() if some}
            for key, at in _latest(rows, _PLACE, near, given, before):
                if (where := cast(Place, key)) in new:
                    last[where] = max(at, last.get(where, at))
    return last


def _latest(
    rows: "Rows",
    columns: Sequence[str],
    where: str,
    values: Mapping[str, Collection[object]],
    before: datetime,
) -> Iterator[tuple[tuple[object, ...], datetime]]:
    """The values of `columns` in the good runs before `before` where `where` is so, each with the
    newest start, or, where a time cannot be read, with every start that can."""
    names = ", ".join(columns)
    of_runs = f"FROM runs WHERE {where} AND started_at < :before AND status IN :good"
    given = {**values, "before": before, "good": GOOD}
    numbers = ", ".join(str(number + 1) for number, _ in enumerate(columns))
    by_value = f"SELECT {names}, max(started_at) {of_runs} GROUP BY {numbers}"
    try:
        found = [(tuple(key), moment(at)) for *key, at in rows.tuples(by_value, **given)]
    except DAMAGE:
        each = rows.mappings(f"SELECT id, started_at, {names} {of_runs}", **given)
        found = list(each_readable(each, _dated))
    yield from found


def _dated(row: "Stored") -> tuple[tuple[object, ...], datetime]:
    _, _, *key = row.values()
    return tuple(key), _start(row)


def _near(name: str, values: Collection[object]) -> str:
    """The condition that the column `name` has one of `values`. None is a length that is not known,
    or that of prompts of one's own."""
    terms = [f"{name} IN :{name}"] if set(values) - {None} else []
    terms += [f"{name} IS NULL", _OWN] if None in values else []
    return f"({' OR '.join(terms)})"
