"""The cells that an earlier try of an experiment left unmeasured."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from journal.plan.cells import cells
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.run import ExperimentRecord, Record
from journal.records.sameness import counting
from journal.store.history import asked_before
from journal.store.plain import from_json, secret_of, to_json
from journal.store.store import Store


def earlier_try(store: Store, experiment: Experiment, model: str | None) -> ExperimentRecord | None:
    """The newest experiment in the store that has the same name and plans the same cells, however
    it is written; None where the store has none. `model` is as in `cells`."""
    ours = to_json(experiment, secret_of(experiment.engines))
    outline, identities = _outline(json.loads(ours)), _identities(ours, model)
    others: set[str] = set()  # most tries of one name have the same text
    for experiment_id, theirs in asked_before(store, experiment.name):
        if theirs in others:
            continue
        if _outline(json.loads(theirs)) == outline and _identities(theirs, model) == identities:
            return store.experiment(experiment_id)
        others.add(theirs)
    return None


def undone(planned: Iterable[Cell], records: Sequence[Record]) -> list[Cell]:
    """The planned cells of which no record is valid or flagged, in their order."""
    done = {record.cell.identity for record in records if record.good}
    return [cell for cell in planned if cell.identity not in done]


def left_of(
    before: ExperimentRecord, planned: Sequence[Cell], records: Sequence[Record]
) -> Sequence[Cell]:
    """The planned cells that an earlier try with these `records` left. Searches start again from
    their first cells, unless all have ended."""
    if before.experiment.needed_vram:
        return [] if before.status == "done" else planned
    if before.experiment.find_capacity is None:
        return undone(planned, records)
    ended = before.status == "done" and all(record.metrics for record in _last(records).values())
    return [] if ended else planned


def newest(
    experiment: Experiment, planned: Iterable[Cell], records: Sequence[Record]
) -> tuple[Record, ...]:
    """The last record of each planned cell that has one, or of each cell of a search; `records`
    come newest last."""
    last = _last(records)
    if experiment.find_capacity is not None or experiment.needed_vram:
        return tuple(last.values())
    return tuple(last[cell.identity] for cell in planned if cell.identity in last)


def measured_cells(records: Sequence[Record]) -> dict[str, Record]:
    """The last record of each cell whose last record is valid or flagged, by the cell's
    identity."""
    return {name: record for name, record in _last(records).items() if record.good}


def _last(records: Sequence[Record]) -> dict[str, Record]:
    """The last record of each cell by its identity, a good record before any other, so that a clock
    that was set back meanwhile does not matter."""
    good_last = sorted(records, key=lambda record: record.good)
    return {record.cell.identity: record for record in good_last}


def _outline(experiment: Mapping[str, Any]) -> tuple[object, ...]:
    """The fields that two experiments (as JSON) that plan the same cells always share. Comparing
    them costs much less than planning."""
    own = tuple(experiment.get(name) or None for name in counting("experiment", "resume"))
    grid, searches = experiment["grid"], experiment.get("find_capacity") is not None
    lengths = frozenset(grid["prompt_tokens"]), frozenset(grid["output_tokens"])
    loads = () if searches else grid["rate"] or grid["batch"]
    return (bool(experiment["engines"]), *own, *lengths, frozenset(loads))


def _identities(experiment: str, model: str | None) -> frozenset[str]:
    """The identities of the cells of an experiment (as JSON) whose secrets are left out."""
    return frozenset(
        cell.identity for cell in cells(from_json(Experiment, experiment), model=model)
    )
