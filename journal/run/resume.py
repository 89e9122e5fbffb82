"""What an earlier try of an experiment left undone."""

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


def earlier(store: Store, experiment: Experiment, model: str | None) -> ExperimentRecord | None:
    """The newest experiment in the store of the same name that plans the same cells, whatever its
    words; None where there is none. `model` is as in `cells`."""
    ours = to_json(experiment, secret_of(experiment.engines))
    outline, asked = _outline(json.loads(ours)), _identities(ours, model)
    others: set[str] = set()  # most tries of one name were asked for in the same words
    for experiment_id, theirs in asked_before(store, experiment.name):
        if theirs in others:
            continue
        if _outline(json.loads(theirs)) == outline and _identities(theirs, model) == asked:
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


def _outline(asked: Mapping[str, Any]) -> tuple[object, ...]:
    """What two experiments (as JSON) that plan the same cells have in common at the least; to
    compare it costs much less than to plan them."""
    own = tuple(asked.get(name) or None for name in counting("experiment", "resume"))
    grid, searches = asked["grid"], asked.get("find_capacity") is not None
    lengths = frozenset(grid["prompt_tokens"]), frozenset(grid["output_tokens"])
    loads = () if searches else grid["rate"] or grid["batch"]
    return (bool(asked["engines"]), *own, *lengths, frozenset(loads))


def _identities(asked: str, model: str | None) -> frozenset[str]:
    """What identifies the cells of an experiment (as JSON) whose secrets are left out."""
    return frozenset(cell.identity for cell in cells(from_json(Experiment, asked), model=model))
