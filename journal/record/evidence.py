"""What the journal's rows prove, without reading whole runs: for the checklist."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, true

from journal.record.codec import experiment_record, table
from journal.record.store import Store
from journal.record.tables import CheckupRow, ExperimentRow, InteractionRow, MetricRow, RunRow
from journal.records import ExperimentRecord

_runs, _metrics = table(RunRow), table(MetricRow)
_experiments, _interactions = table(ExperimentRow), table(InteractionRow)
_checkups = table(CheckupRow)

_FIGURES = {
    "vram_peak_bytes": "vram_peak_bytes",
    "rss_peak_bytes": "rss_peak_bytes",
    "e2e_s": "e2e_s.mean",
    "output_tokens_per_s": "output_tokens_per_s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One good run in short. `simulated`: a scripted server answered, and no model."""

    id: str
    started_at: datetime
    model: str
    quantisation: str | None
    batch: int | None
    rate: float | None
    prompt_tokens: int
    output_tokens: int
    simulated: bool
    vram_peak_bytes: float | None
    rss_peak_bytes: float | None
    e2e_s: float | None
    output_tokens_per_s: float | None


def good_runs(store: Store, before: datetime | None = None) -> list[Seen]:
    """The valid and flagged runs that started before `before`, oldest first."""
    tables = {name: _metrics.alias(name) for name in _FIGURES}
    joined = _runs
    for name, metric in _FIGURES.items():
        one = tables[name]
        joined = joined.outerjoin(one, and_(one.c.run_id == _runs.c.id, one.c.name == metric))  # type: ignore[assignment]
    names = [each.name for each in fields(Seen) if each.name in _runs.c]
    simulated = _runs.c.model.startswith("simulated") | _runs.c.facts.contains(
        '"version":"simulated'
    )
    query = select(
        *(_runs.c[name] for name in names),
        simulated.label("simulated"),
        *(one.c.value.label(name) for name, one in tables.items()),
    ).select_from(joined)
    query = query.where(
        _runs.c.status.in_(("valid", "flagged")), _before(_runs.c.started_at, before)
    )
    with store.transaction(writing=False) as connection:
        rows = connection.execute(query.order_by(_runs.c.started_at, _runs.c.id)).mappings()
        return [Seen(**{**row, "simulated": bool(row["simulated"])}) for row in rows]


def with_predictions(
    store: Store, before: datetime | None = None, limit: int = 50
) -> list[ExperimentRecord]:
    """The newest experiments that predicted numbers, oldest first."""
    query = select(_experiments).where(
        _experiments.c.experiment.contains('"predict":{"'),
        _before(_experiments.c.started_at, before),
    )
    query = query.order_by(_experiments.c.started_at.desc(), _experiments.c.id).limit(limit)
    with store.transaction(writing=False) as connection:
        rows = connection.execute(query).mappings().all()
    return [experiment_record(row) for row in reversed(rows)]


def first_answer(
    store: Store, source: str, before: datetime | None = None
) -> tuple[str, datetime, str] | None:
    """The id, the time and the model of the first answer to a question by hand: `source` is ask
    or chat."""
    query = select(_interactions.c.id, _interactions.c.asked_at, _interactions.c.model).where(
        _interactions.c.source == source,
        _interactions.c.error.is_(None),
        _before(_interactions.c.asked_at, before),
    )
    with store.transaction(writing=False) as connection:
        row = connection.execute(query.order_by(_interactions.c.asked_at).limit(1)).first()
    return None if row is None else (row[0], row[1], row[2])


def first_checkup(store: Store, before: datetime | None = None) -> tuple[str, datetime, str] | None:
    """The id, the time and the host of the first checkup."""
    query = select(_checkups.c.id, _checkups.c.made_at, _checkups.c.host)
    query = query.where(_before(_checkups.c.made_at, before)).order_by(_checkups.c.made_at).limit(1)
    with store.transaction(writing=False) as connection:
        row = connection.execute(query).first()
    return None if row is None else (row[0], row[1], row[2])


def _before(column: ColumnElement[datetime], moment: datetime | None) -> ColumnElement[bool]:
    return true() if moment is None else column < moment
