"""Runs whose figures are drawn, for calibrations of what is said of several runs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Load
from journal.records.figure import Figure
from journal.records.run import Record

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NO_FIGURES: Mapping[str, Figure] = MappingProxyType({})


def drawn_run(
    engine: Engine,
    *,
    minute: float,
    repeat: int,
    batch: int = 1,
    start: int | None = None,
    metrics: Mapping[str, Figure] = NO_FIGURES,
) -> Record:
    """A valid run of a minute at `batch`, begun `minute` minutes after BEGAN, on the engine's start
    of that number; on one of its own, by its `repeat`, without one."""
    started = repeat if start is None else start
    return Record(
        id=f"{engine.model}-{batch}-{repeat}",
        experiment_id="e",
        cell=Cell(
            experiment="e",
            model=engine.model,
            quantisation=None,
            engine=engine,
            batch=batch,
            rate=None,
            prompt_tokens=64,
            output_tokens=64,
            load=Load(),
            repeat=repeat,
        ),
        status="valid",
        started_at=BEGAN + timedelta(minutes=minute),
        duration_s=60.0,
        facts=EngineFacts(log_path=f"{engine.model}-{started}.log", start_s=60.0),
        metrics=metrics,
    )
