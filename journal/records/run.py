"""Runs as they are stored: one of an experiment, and one of each of its cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from math import isfinite
from typing import Literal

from journal import units
from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment
from journal.records.figure import Metrics

Status = Literal["valid", "flagged", "invalid", "failed", "interrupted"]
GOOD: tuple[Status, ...] = ("valid", "flagged")  # the figures of these are shown and compared


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
    """One run: a cell, measured once. The store keeps its raw samples beside it."""

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

    def __str__(self) -> str:
        """A run in one line: id, cell and status, then TTFT and throughput, or why it failed."""
        line = f"{self.id[:8]} {self.cell}: {self.status}"
        if self.status in ("failed", "interrupted"):
            return f"{line}: {self.error}"
        ttft_s, rate = map(self.value, ("ttft_s.p50", "output_tokens_per_s"))
        return f"{line}, TTFT p50 {units.seconds(ttft_s)}, {units.rate(rate)}"

    def _repr_html_(self) -> str:
        """The run in a notebook: its line, and the names of its doubts that are no notes."""
        names = [doubt.name for doubt in self.doubts if doubt.severity != "note"]
        doubted = f"<br>doubts: {escape(', '.join(names))}" if names else ""
        return f"<p>{escape(str(self))}{doubted}</p>"

    def value(self, name: str) -> float | None:
        """The value of the metric called `name`; None where it is absent or not finite."""
        figure = self.metrics.get(name)
        if figure is None or figure.value is None or not isfinite(figure.value):
            return None
        return figure.value

    @property
    def unmeasured(self) -> bool:
        """Whether its cell failed before anything was sent."""
        return self.status == "failed" and self.duration_s == 0 and not self.metrics

    @property
    def start_failed(self) -> bool:
        """Whether it was not measured because the engine for it did not start."""
        return self.unmeasured and self.cell.engine is not None and self.facts.start_s is None

    @property
    def good(self) -> bool:
        """Whether its figures count: the run is valid or flagged."""
        return self.status in GOOD
