"""Runs with the times that decide their figures under any SLO, read without their samples."""

from collections.abc import Collection, Iterator

from sqlalchemy import delete, insert

from journal.errors import StoreError
from journal.metrics.slo_times import SloTimes, slo_times
from journal.metrics.view import View
from journal.records.run import GOOD, Record
from journal.store import codec, core_tables
from journal.store.row_care import naming, warn_of
from journal.store.run_rows import read_runs
from journal.store.store import Store

_slo_times = core_tables.slo_times


def runs_with_slo_times(
    store: Store, metrics: Collection[str]
) -> Iterator[tuple[Record, SloTimes]]:
    """The good runs that have samples, newest last, with these metrics and their doubts but notes.
    The times of a run of an older schema are computed from its samples."""
    chosen = "SELECT id FROM runs WHERE status IN :good AND client IS NOT NULL"
    with store.reading() as rows:
        records = read_runs(rows, chosen, {"good": GOOD}, metrics, noted=False)
        query = "SELECT run_id, span_s, steady_from, latencies_s FROM slo_times"
        times = {run_id: rest for run_id, *rest in rows.tuples(query)}
    for record in records:
        try:
            if record.id in times:
                with naming(f"the times of run {record.id}"):
                    yield record, codec.stored_slo_times(*times[record.id])
            elif (samples := store.samples(record.id)) is not None:
                yield record, slo_times(View(samples))
        except StoreError as error:
            warn_of(error)


def replace_slo_times(store: Store, run_id: str, times: SloTimes | None) -> None:
    """Store the times of a run anew; None where its figures do not count."""
    with store.transaction(writing=True) as connection:
        connection.execute(delete(_slo_times).where(_slo_times.c.run_id == run_id))
        if times is not None:
            connection.execute(insert(_slo_times), codec.slo_times_row(run_id, times))
