"""The requests that were in flight at the middle of a run, read without the rest of its samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, func, select

from journal.records.request import Trace
from journal.store import codec, core_tables, parquet
from journal.store.row_care import naming
from journal.store.store import Store

NEAR = 1024  # requests sent before and after the middle one among which others in flight are sought

_runs, _requests = core_tables.runs, core_tables.requests


def middle_requests(store: Store, run_id: str) -> tuple[Trace, ...]:
    """The measured requests of the run `run_id` that were in flight when the one sent in the middle
    of them was half done, in the order in which they were sent; () where it has none. Raises
    StoreError for rows that are damaged."""
    with store.transaction(writing=False) as connection, naming(f"the requests of run {run_id}"):
        run = connection.execute(select(_runs).where(_runs.c.id == run_id)).mappings().one_or_none()
        if run is None or run["client"] is None:
            return ()
        if run["requests_file"] is not None:
            return _among(parquet.request_rows(connection, run, store.requests_folder))
        of_run = _requests.c.run_id == run_id
        last = connection.scalar(select(func.max(_requests.c.position)).where(of_run)) or 0
        near = _requests.c.position.between(last // 2 - NEAR, last // 2 + NEAR)
        query = select(_requests).where(of_run, near).order_by(_requests.c.position)
        return _among(connection.execute(query).mappings().all())


def _among(rows: Sequence[Mapping[str, Any] | RowMapping]) -> tuple[Trace, ...]:
    measured = sorted((row for row in rows if not row["warmup"]), key=lambda row: row["start_s"])
    if not measured:
        return ()
    middle = measured[len(measured) // 2]
    at_s = (middle["start_s"] + middle["end_s"]) / 2
    return tuple(codec.trace(row) for row in measured if row["start_s"] <= at_s <= row["end_s"])
