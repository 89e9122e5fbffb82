"""Runs and experiments from the rows of their tables: runs with their metrics and doubts."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from journal.errors import StoreError
from journal.records.doubt import Doubt
from journal.records.figure import Figure
from journal.records.run import ExperimentRecord, Record
from journal.store import from_rows
from journal.store.row_care import each_readable, warn_of

if TYPE_CHECKING:
    from journal.store.rows import Rows

_COLUMNS = ", ".join(from_rows.RECORD_COLUMNS.split())


def read_experiments(
    rows: "Rows",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    experiment_id: str | None = None,
    pending: bool = False,
) -> list[ExperimentRecord]:
    """The experiments that started from `since` on and before `until`, or that with a whole id, or
    those that MLflow does not have completely, newest last. A row that cannot be read is left out
    with a warning (DamagedRow)."""
    where, values = _where(since, until, id=experiment_id)
    where += " AND mlflow_pending" if pending else ""
    query = f"SELECT * FROM experiments WHERE {where} ORDER BY started_at, id"
    return list(each_readable(rows.mappings(query, **values), from_rows.experiment_record))


def read_runs_of(
    rows: "Rows",
    *,
    experiment_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    metrics: Collection[str] | None = None,
    apart_from: Collection[str] = (),
) -> list[Record]:
    """The runs that `Store.runs` describes."""
    where, values = _where(since, until, experiment_id=experiment_id)
    query = f"SELECT id FROM runs WHERE {where}"
    if apart_from:
        query += " AND experiment_id NOT IN :apart_from"
        values["apart_from"] = apart_from
    if limit is not None:
        query += " ORDER BY started_at DESC, id DESC LIMIT :limit"
        values["limit"] = limit
    return read_runs(rows, query, values, metrics)


def _where(
    since: datetime | None, until: datetime | None, **ids: str | None
) -> tuple[str, dict[str, object]]:
    """The condition of a query on starts and ids, where they are given, and its values."""
    terms = {"since": "started_at >= :since", "until": "started_at < :until"}
    terms |= {name: f"{name} = :{name}" for name in ids}
    given = {"since": since, "until": until, **ids}
    values: dict[str, object] = {name: one for name, one in given.items() if one is not None}
    return " AND ".join(["1 = 1", *(terms[name] for name in values)]), values


def read_runs(
    rows: "Rows",
    ids: str,
    values: Mapping[str, object],
    names: Collection[str] | None = None,
    *,
    noted: bool = True,
) -> list[Record]:
    """The runs whose ids the query `ids` with these `values` gives, newest last, in three queries
    for any number, with the metrics called `names` (None: all), and with the doubts that are notes
    if `noted`. A row that cannot be read is left out with a warning (DamagedRow)."""
    metrics: dict[str, dict[str, Figure]] = defaultdict(dict)
    chosen = f"JOIN ({ids}) AS chosen ON chosen.id"
    query = f"""SELECT m.run_id, m.name, m.value, m.low, m.high, m.count FROM metrics AS m
        {chosen} = m.run_id"""
    named: dict[str, object] = {} if names is None else {"names": names}
    if names is not None:  # each by its key
        query = f"""SELECT m.run_id, m.name, m.value, m.low, m.high, m.count FROM metrics AS m
            WHERE m.run_id IN ({ids}) AND m.name IN :names"""
    for run_id, name, *numbers in rows.tuples(query, **values, **named):
        try:
            metrics[run_id][name] = from_rows.stored_figure(name, *numbers)
        except StoreError as error:
            warn_of(StoreError(f"of run {run_id} {error}"))
    doubts: dict[str, list[Doubt]] = defaultdict(list)
    query = f"SELECT d.* FROM doubts AS d {chosen} = d.run_id"
    if not noted:
        query += " WHERE d.severity <> 'note'"
    for row in rows.mappings(f"{query} ORDER BY d.position", **values):
        try:
            doubts[row["run_id"]].append(from_rows.doubt(row))
        except StoreError as error:
            warn_of(error)
    query = f"SELECT {_COLUMNS} FROM runs WHERE id IN (SELECT id FROM ({ids}) AS chosen)"
    return list(
        each_readable(
            rows.mappings(f"{query} ORDER BY started_at, id", **values),
            lambda row: from_rows.run_record(row, metrics[row["id"]], doubts[row["id"]]),
        )
    )
