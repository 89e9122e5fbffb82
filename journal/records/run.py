"""One run of an experiment, and one run of a cell, as they are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Literal

from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment
from journal.records.figure import Metrics

Status = Literal["valid", "flagged", "invalid", "failed", "interrupted"]
GOOD: tuple[Status, ...] = ("valid", "flagged")  # whose figures are shown, compared and drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """One `journal run`: the experiment as it was frozen before it ran."""

    id: str
    experiment: Experiment
    started_at: datetime
    status: Literal["running", "done", "failed", "interrupted"] = "running"
    ended_at: datetime | None = None
    environment: Mapping[str, str | int | float | None] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    mlflow_experiment_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run: one cell, measured once. Its raw samples stand beside it in the store."""

    id: str
    experiment_id: str
    cell: Cell
    status: Status
    started_at: datetime
    duration_s: float
    metrics: Metrics = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    error: str | None = None
    facts: EngineFacts = field(default_factory=EngineFacts)
    environment: Mapping[str, str | int | float | None] = field(default_factory=dict)
    mlflow_run_id: str | None = None

    def value(self, name: str) -> float | None:
        """The value of the metric called `name`; None where it has none, or is no number."""
        figure = self.metrics.get(name)
        if figure is None or figure.value is None or not isfinite(figure.value):
            return None
        return figure.value

    @property
    def good(self) -> bool:
        """Whether its figures count: the run is valid, or flagged with a doubt."""
        return self.status in GOOD
