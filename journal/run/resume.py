"""What an earlier try of an experiment left undone."""

from collections.abc import Iterable, Sequence

from journal.plan.cells import cells
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.run import ExperimentRecord, Record
from journal.store.plain import from_json, secret_of, to_json
from journal.store.store import Store


def earlier(store: Store, experiment: Experiment, model: str | None) -> ExperimentRecord | None:
    """The newest experiment in the store of the same name that plans the same cells, whatever its
    words; None where there is none. `model` is as in `cells`."""
    asked = _identities(experiment, model)
    for record in reversed(store.experiments()):
        theirs = record.experiment
        alike = theirs.name == experiment.name and bool(theirs.engines) == bool(experiment.engines)
        alike = alike and theirs.find_capacity == experiment.find_capacity
        alike = alike and theirs.needed_vram == experiment.needed_vram
        if alike and _identities(theirs, model) == asked:
            return record
    return None


def undone(planned: Iterable[Cell], records: Sequence[Record]) -> list[Cell]:
    """The planned cells of which no record is valid or flagged, in their order."""
    done = {record.cell.identity for record in records if record.good}
    return [cell for cell in planned if cell.identity not in done]


def left_of(
    before: ExperimentRecord, planned: Sequence[Cell], records: Sequence[Record]
) -> Sequence[Cell]:
    """The planned cells that are left of an earlier try with these `records`. Searches are gone
    through again from their first cells, unless all came to their end."""
    if before.experiment.needed_vram:
        return [] if before.status == "done" else planned
    if before.experiment.find_capacity is None:
        return undone(planned, records)
    ended = before.status == "done" and all(record.metrics for record in _last(records).values())
    return [] if ended else planned


def newest(
    experiment: Experiment, planned: Iterable[Cell], records: Sequence[Record]
) -> tuple[Record, ...]:
    """The last record of each planned cell that has one, or of each that a search asked for;
    `records` come newest last."""
    last = _last(records)
    if experiment.find_capacity is not None or experiment.needed_vram:
        return tuple(last.values())
    return tuple(last[cell.identity] for cell in planned if cell.identity in last)


def measured(records: Sequence[Record]) -> dict[str, Record]:
    """The last record of each cell, where that is valid or flagged, by the cell's identity."""
    return {name: record for name, record in _last(records).items() if record.good}


def _last(records: Sequence[Record]) -> dict[str, Record]:
    """The last record of each cell, a good one before any other: a clock that was set back
    meanwhile changes nothing about that."""
    good_last = sorted(records, key=lambda record: record.good)
    return {record.cell.identity: record for record in good_last}


def _identities(experiment: Experiment, model: str | None) -> frozenset[str]:
    """What identifies the cells of an experiment once its secrets are left out, as they are of
    one that comes from the store."""
    frozen = from_json(Experiment, to_json(experiment, secret_of(experiment.engines)))
    return frozenset(cell.identity for cell in cells(frozen, model=model))
