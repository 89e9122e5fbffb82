"""Runs from elsewhere, taken in whole or not at all, each once however often it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Table, insert, select

from journal.errors import StoreError
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples
from journal.store import codec, core_tables
from journal.store.store import Store

_experiments, _runs = core_tables.experiments, core_tables.runs
_metrics, _doubts = core_tables.metrics, core_tables.doubts


@dataclass(frozen=True, slots=True)
class Taken:
    """A run to take in, with its samples (None: it has none). `former_id` is another id under
    which it may be there already."""

    record: Record
    samples: Samples | None
    former_id: str = ""


def store_lacking(
    store: Store, experiment: ExperimentRecord, runs: Sequence[Taken]
) -> list[tuple[str, bool]]:
    """Store the `runs` that `store` lacks, and `experiment` with them, in one transaction; return
    for each run its id there, and whether it is new. Raises StoreError, with nothing stored."""
    try:
        return _tried(store, experiment, runs)
    except StoreError:  # on a shared database another process may have stored them meanwhile
        return _tried(store, experiment, runs)


def _tried(
    store: Store, experiment: ExperimentRecord, runs: Sequence[Taken]
) -> list[tuple[str, bool]]:
    with store.transaction(writing=True) as connection:
        ids = [each.record.id for each in runs]
        known = _known(connection, _runs, [*ids, *(each.former_id for each in runs)])
        new = [each for each in runs if not {each.record.id, each.former_id} & known]
        if new and not _known(connection, _experiments, [experiment.id]):
            connection.execute(insert(_experiments), codec.experiment_row(experiment))
        for each in new:
            record = replace(each.record, experiment_id=experiment.id)
            _add(connection, record, each.samples)
    fresh = {each.record.id for each in new}
    return [
        (each.former_id if each.former_id in known else each.record.id, each.record.id in fresh)
        for each in runs
    ]


def _known(connection: Connection, rows: Table, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that are in `rows`."""
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        query = select(rows.c.id).where(rows.c.id.in_(ids[start : start + 500]))
        found |= set(connection.scalars(query))
    return found


def _add(connection: Connection, record: Record, samples: Samples | None) -> None:
    connection.execute(insert(_runs), codec.run_row(record, samples))
    parts = [
        (_metrics, codec.metric_rows(record.id, record.metrics)),
        (_doubts, codec.doubt_rows(record.id, record.doubts)),
        *(codec.sample_rows(record.id, samples) if samples else ()),
    ]
    for into, values in parts:
        if values:
            connection.execute(insert(into), values)
