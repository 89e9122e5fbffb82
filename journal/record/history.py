"""When cells were measured before: one look at the runs' own columns, however large the journal."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import func, select

from journal.record.codec import table
from journal.record.store import Store
from journal.record.tables import RunRow
from journal.records import Cell

Place: TypeAlias = tuple[str, str | None, int | None, float | None, int, int, int]

_runs = table(RunRow)
_PLACE = (
    *(_runs.c.model, _runs.c.quantisation, _runs.c.batch, _runs.c.rate),
    *(_runs.c.prompt_tokens, _runs.c.output_tokens, _runs.c.requests),
)


def place(cell: Cell) -> Place:
    """A cell but for its repeat and for how its engine is started: what stays the same when a
    flag, a revision or the engine's version changes."""
    load = (cell.batch, cell.rate, cell.prompt_tokens, cell.output_tokens, cell.load.requests)
    return (cell.model, cell.quantisation, *load)


def last_measured(store: Store, cells: Iterable[Cell], before: datetime) -> dict[Place, datetime]:
    """When the last good run of each of `cells` started before `before`: of the very same cell
    (by its identity) where there is one, else of its place; cells without any are left out."""
    cells = list(cells)
    same, wanted = {cell.identity for cell in cells}, {place(cell) for cell in cells}
    query = (
        select(_runs.c.identity, *_PLACE, func.max(_runs.c.started_at))
        .where(_runs.c.started_at < before, _runs.c.status.in_(("valid", "flagged")))
        .where(_runs.c.model.in_({model for model, *_ in wanted}))
        .group_by(_runs.c.identity, *_PLACE)
    )
    last: dict[Place, tuple[bool, datetime]] = {}
    with store.transaction(writing=False) as connection:
        for identity, *where, at in connection.execute(query):
            found = (identity in same, at)
            key: Place = tuple(where)
            if key in wanted and found > last.get(
                key, (False, datetime.min.replace(tzinfo=at.tzinfo))
            ):
                last[key] = found
    return {key: at for key, (_, at) in last.items()}
