"""Earlier experiments and measurements, read quickly however large the journal is."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, case, func, or_, select

from journal.records.cell import Cell
from journal.records.run import GOOD, Record
from journal.records.sameness import counting, counting_fields
from journal.records.workload import OWN
from journal.store import core_tables
from journal.store.row_care import DAMAGE, LOOKED_AT, each_of
from journal.store.run_rows import read_runs
from journal.store.store import Store

Place: TypeAlias = tuple[str | int | float | None, ...]

_runs, _experiments = core_tables.runs, core_tables.experiments
_NAMES = (*counting("cell", "place"), *counting("load", "place"), "workload")
_own = _runs.c.workload.like(f"{OWN}%")
# Each server counts the tokens of a prompt of one's own for itself.
_lengths = case((_own, None), else_=_runs.c.prompt_tokens)
_PLACE = tuple(_lengths if name == "prompt_tokens" else _runs.c[name] for name in _NAMES)
_INDEXED = ("model", "prompt_tokens", "output_tokens")  # by runs_by_place


def asked_before(store: Store, name: str) -> Iterator[tuple[str, str]]:
    """The id and the stored JSON of each experiment called `name`, newest first."""
    query = select(_experiments.c.id, _experiments.c.experiment).where(_experiments.c.name == name)
    newest_first = query.order_by(_experiments.c.started_at.desc(), _experiments.c.id.desc())
    with store.transaction(writing=False) as connection:
        for row in connection.execute(newest_first):
            yield row.id, row.experiment


def last_began(store: Store) -> datetime | None:
    """The start of the newest run or experiment that can be read; None in an empty journal."""
    found: list[datetime] = []
    with store.transaction(writing=False) as connection:
        for rows in (_runs, _experiments):
            query = select(rows.c.started_at).order_by(rows.c.started_at.desc()).limit(LOOKED_AT)
            found += islice(each_of(connection, query, rows.c.id, _start), 1)
    return max(found, default=None)


def _start(row: RowMapping) -> datetime:
    return cast(datetime, row["started_at"])


def measured_between(
    store: Store, places: Collection[Place], since: datetime, until: datetime
) -> list[Record]:
    """The runs at `places` that started from `since` on and before `until`, newest last."""
    when = (_runs.c.started_at >= since, _runs.c.started_at < until)
    with store.transaction(writing=False) as connection:
        rows = connection.execute(select(_runs.c.id, *_PLACE).where(*when)).all()
        ids = [run_id for run_id, *key in rows if tuple(key) in places]
        return read_runs(connection, select(_runs.c.id).where(_runs.c.id.in_(ids), *when))


def place(cell: Cell) -> Place:
    """The place of a cell: the fields that stay the same when a repeat, a flag, a revision or the
    engine's version changes."""
    return tuple(counting_fields(cell, "place").values())


def last_measured(store: Store, cells: Iterable[Cell], before: datetime) -> dict[Place, datetime]:
    """The start of the last good run before `before` of each of `cells`, by place: of the very
    same cell (by its identity) where it was measured, else of a cell at its place. Cells without
    such a run are left out."""
    places = {cell.identity: place(cell) for cell in cells}
    good = (_runs.c.started_at < before, _runs.c.status.in_(GOOD))
    last: dict[Place, datetime] = {}
    with store.transaction(writing=False) as connection:
        same = _runs.c.identity.in_(places)
        for (identity,), at in _latest(connection, [_runs.c.identity], same, *good):
            where = places[str(identity)]
            last[where] = max(at, last.get(where, at))
        if new := set(places.values()) - last.keys():
            values = dict(zip(_NAMES, map(set, zip(*new, strict=True)), strict=True))
            near = (_near(name, values[name]) for name in _INDEXED)
            for key, at in _latest(connection, _PLACE, *near, *good):
                if (where := cast(Place, key)) in new:
                    last[where] = max(at, last.get(where, at))
    return last


def _latest(
    connection: Connection, columns: Sequence[ColumnElement[Any]], *where: ColumnElement[bool]
) -> Iterator[tuple[tuple[object, ...], datetime]]:
    """The values of `columns` in the runs `where` that is so, each with the newest start, or, where
    a time cannot be read, with every start that can."""
    by_value = select(*columns, func.max(_runs.c.started_at)).where(*where).group_by(*columns)
    try:
        rows = [tuple(row) for row in connection.execute(by_value)]
    except DAMAGE:
        each = select(*columns, _runs.c.started_at).where(*where)
        rows = list(each_of(connection, each, _runs.c.id, lambda row: tuple(row.values())))
    for *key, at in rows:
        yield tuple(key), at


def _near(name: str, values: Collection[object]) -> ColumnElement[bool]:
    """Whether the column `name` has one of `values`. None is a length that is not known, or that of
    prompts of one's own."""
    column = _runs.c[name]
    known: ColumnElement[bool] = column.in_(value for value in values if value is not None)
    return or_(known, column.is_(None), _own) if None in values else known
