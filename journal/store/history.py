"""Earlier experiments and measurements, read quickly however large the journal is."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import TypeAlias, cast

from sqlalchemy import ColumnElement, case, func, or_, select, union_all

from journal.records.cell import Cell
from journal.records.run import GOOD, Record
from journal.records.sameness import counting, counting_fields
from journal.records.workload import OWN
from journal.store.codec import table
from journal.store.run_rows import read_runs
from journal.store.store import Store
from journal.store.tables import ExperimentRow, RunRow

Place: TypeAlias = tuple[str | int | float | None, ...]

_runs, _experiments = table(RunRow), table(ExperimentRow)
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
    """The start of the newest run or experiment; None in an empty journal."""
    query = union_all(
        select(func.max(_runs.c.started_at)), select(func.max(_experiments.c.started_at))
    )
    with store.transaction(writing=False) as connection:
        return max(filter(None, connection.scalars(query)), default=None)


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
    last_at = func.max(_runs.c.started_at)
    same = select(_runs.c.identity, last_at).where(_runs.c.identity.in_(places), *good)
    last: dict[Place, datetime] = {}
    with store.transaction(writing=False) as connection:
        for identity, at in connection.execute(same.group_by(_runs.c.identity)):
            where = places[identity]
            last[where] = max(at, last.get(where, at))
        if new := set(places.values()) - last.keys():
            values = dict(zip(_NAMES, map(set, zip(*new, strict=True)), strict=True))
            near = (_near(name, values[name]) for name in _INDEXED)
            alike = select(*_PLACE, last_at).where(*near, *good)
            for *key, at in connection.execute(alike.group_by(*_PLACE)):
                if (where := cast(Place, tuple(key))) in new:
                    last[where] = at
    return last


def _near(name: str, values: Collection[object]) -> ColumnElement[bool]:
    """Whether the column `name` has one of `values`. None is a length that is not known, or that of
    prompts of one's own."""
    column = _runs.c[name]
    known: ColumnElement[bool] = column.in_(value for value in values if value is not None)
    return or_(known, column.is_(None), _own) if None in values else known
