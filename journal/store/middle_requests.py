"""The requests that were in flight at the middle of a run, read without the rest of its samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from journal.records.request import Trace
from journal.store.row_care import naming
from journal.store.traces import trace

if TYPE_CHECKING:
    from journal.store.row_care import Stored
    from journal.store.rows import Journal

NEAR = 1024  # requests sent before and after the middle one among which others in flight are sought


def middle_requests(store: "Journal", run_id: str) -> tuple[Trace, ...]:
    """The measured requests of the run `run_id` that were in flight when the one sent in the middle
    of them was half done, in the order in which they were sent; () where it has none. Raises
    StoreError for rows that are damaged."""
    of_run = "FROM requests WHERE run_id = :run_id"
    with store.reading() as rows, naming(f"the requests of run {run_id}"):
        query = "SELECT id, client, requests_file FROM runs WHERE id = :run_id"
        run = next(iter(rows.mappings(query, run_id=run_id)), None)
        if run is None or run["client"] is None:
            return ()
        if run["requests_file"] is not None:
            from journal.store.parquet import moved_rows

            return _among(moved_rows(run, store.requests_folder))
        ((last,),) = rows.tuples(f"SELECT max(position) {of_run}", run_id=run_id)
        middle = (last or 0) // 2
        query = f"SELECT * {of_run} AND position BETWEEN :first AND :last ORDER BY position"
        near = {"first": middle - NEAR, "last": middle + NEAR}
        return _among(rows.mappings(query, run_id=run_id, **near))


def _among(rows: "Sequence[Stored]") -> tuple[Trace, ...]:
    measured = sorted((row for row in rows if not row["warmup"]), key=lambda row: row["start_s"])
    if not measured:
        return ()
    middle = measured[len(measured) // 2]
    at_s = (middle["start_s"] + middle["end_s"]) / 2
    return tuple(trace(row) for row in measured if row["start_s"] <= at_s <= row["end_s"])
