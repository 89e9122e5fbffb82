"""Runs read back from their rows, with their metrics and doubts."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, select

from journal.errors import StoreError
from journal.records.doubt import Doubt
from journal.records.figure import Figure
from journal.records.run import Record
from journal.store import codec, core_tables
from journal.store.row_care import each_of, warn_of

_runs, _metrics, _doubts = core_tables.runs, core_tables.metrics, core_tables.doubts
_columns = [_runs.c[name] for name in codec.RECORD_COLUMNS.split()]


def read_runs(
    connection: Connection,
    ids: Select[Any],
    names: Collection[str] | None = None,
    *,
    noted: bool = True,
) -> list[Record]:
    """The runs whose ids the query `ids` gives, newest last, in three statements for any number,
    with the metrics called `names` (None: all), and with the doubts that are notes if `noted`.
    A row that cannot be read is left out with a warning (DamagedRow)."""
    chosen = ids.subquery()
    metrics: dict[str, dict[str, Figure]] = defaultdict(dict)
    figures = select(_metrics).join(chosen, _metrics.c.run_id == chosen.c.id)
    if names is not None:  # each by its key
        figures = select(_metrics).where(_metrics.c.run_id.in_(ids), _metrics.c.name.in_(names))
    for run_id, name, *values in connection.execute(figures).all():
        try:
            metrics[run_id][name] = codec.stored_figure(name, *values)
        except StoreError as error:
            warn_of(StoreError(f"of run {run_id} {error}"))
    doubts: dict[str, list[Doubt]] = defaultdict(list)
    query = select(_doubts).join(chosen, _doubts.c.run_id == chosen.c.id)
    if not noted:
        query = query.where(_doubts.c.severity != "note")
    for row in connection.execute(query.order_by(_doubts.c.position)).mappings().all():
        try:
            doubts[row["run_id"]].append(codec.doubt(row))
        except StoreError as error:
            warn_of(error)
    query = select(*_columns).join(chosen, _runs.c.id == chosen.c.id)
    query = query.order_by(_runs.c.started_at, _runs.c.id)
    return list(
        each_of(
            connection,
            query,
            _runs.c.id,
            lambda row: codec.run_record(row, metrics[row["id"]], doubts[row["id"]]),
        )
    )
