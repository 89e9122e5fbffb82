"""Experiments, runs, figures and doubts from their rows, however these were read."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from journal.errors import StoreError
from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment
from journal.records.figure import Figure, Metrics
from journal.records.run import ExperimentRecord, Record
from journal.store.plain import from_json
from journal.store.row_care import id_in, naming, one_of, text_in
from journal.store.rows import moment

if TYPE_CHECKING:
    from journal.store.row_care import Stored

_NUMBERS = {int, float, type(None)}


@lru_cache(maxsize=1024)
def stored_cell(text: str) -> Cell:
    """A cell from its JSON, read once for all runs of it."""
    return from_json(Cell, text)


@lru_cache(maxsize=256)
def stored_facts(text: str) -> EngineFacts:
    """The facts of an engine from their JSON, read once for all runs of one start."""
    return from_json(EngineFacts, text)


# The columns of `runs` from which `run_record` makes a record.
RECORD_COLUMNS = "id experiment_id cell status started_at duration_s error facts environment"
RECORD_COLUMNS += " mlflow_run_id"


def run_record(row: "Stored", metrics: Metrics, doubts: Sequence[Doubt]) -> Record:
    """The run of a row. Raises StoreError, naming it, for a row that is damaged."""
    with naming(f"run {row['id']}"):
        return Record(
            id=id_in(row, "id"),
            experiment_id=id_in(row, "experiment_id"),
            cell=stored_cell(text_in(row, "cell")),
            status=one_of(row, "status", Record),
            started_at=moment(row["started_at"]),
            duration_s=float(row["duration_s"]),
            metrics=dict(sorted(metrics.items())),
            doubts=tuple(doubts),
            error=None if row["error"] is None else text_in(row, "error"),
            facts=stored_facts(row["facts"]),
            environment=_json_object(row["environment"], "its environment is"),
            mlflow_run_id=row["mlflow_run_id"],
        )


@lru_cache(maxsize=1024)
def _json_object(text: str, subject: str) -> dict[str, Any]:
    """The JSON object in `text`, read once for all rows that have it. Raises TypeError, which
    begins with `subject`, for other JSON."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise TypeError(f"{subject} not a JSON object")
    return values


def stored_figure(name: object, *values: object) -> Figure:
    """A figure from the columns of its row. Raises StoreError for a row that is damaged."""
    if not isinstance(name, str) or not _NUMBERS.issuperset(map(type, values)):
        raise StoreError(f"its figure {name!r:.60} is not a number")
    return Figure(*values)  # type: ignore[arg-type]


def experiment_record(row: "Stored") -> ExperimentRecord:
    """The experiment of a row. Raises StoreError, naming it, for a row that is damaged."""
    with naming(f"experiment {row['id']}"):
        return ExperimentRecord(
            id=id_in(row, "id"),
            experiment=from_json(Experiment, row["experiment"]),
            started_at=moment(row["started_at"]),
            status=one_of(row, "status", ExperimentRecord),
            ended_at=None if row["ended_at"] is None else moment(row["ended_at"]),
            environment=_json_object(row["environment"], "its environment is"),
            mlflow_run_id=row["mlflow_run_id"],
            mlflow_experiment_id=row["mlflow_experiment_id"],
        )


def doubt(row: "Stored") -> Doubt:
    """The doubt of a row. Raises StoreError for a row that is damaged."""
    with naming(f"a doubt of run {row['run_id']}"):
        severity = one_of(row, "severity", Doubt)
        return Doubt(
            text_in(row, "name"), _json_object(row["values"], "its values are"), severity=severity
        )
