"""Evidence for the checklist, from rows of the journal, without reading whole runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    and_,
    func,
    select,
    true,
    union_all,
)

from journal.errors import StoreError
from journal.records.run import GOOD
from journal.store import core_tables
from journal.store.row_care import LOOKED_AT, each_of, naming, warn_of
from journal.store.store import Store

_runs, _metrics = core_tables.runs, core_tables.metrics
_interactions = core_tables.interactions
_checkups = core_tables.checkups

FIRST, OF_MODEL = 3, 500  # runs of a kind, since one may lack a figure; runs of a model

_FIGURES = {
    "vram_peak_bytes": "vram_peak_bytes",
    "rss_peak_bytes": "rss_peak_bytes",
    "e2e_s": "e2e_s.mean",
    "output_tokens_per_s": "output_tokens_per_s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodRun:
    """The facts of one good run that prove a step. `simulated`: a scripted server answered, not a
    model. Sizes in bytes, `e2e_s` in s; None where the run has no such figure."""

    id: str
    started_at: datetime
    model: str
    quantisation: str | None
    batch: int | None
    rate: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    simulated: bool
    vram_peak_bytes: float | None
    rss_peak_bytes: float | None
    e2e_s: float | None
    output_tokens_per_s: float | None


def good_runs(store: Store, before: datetime | None = None) -> list[GoodRun]:
    """The first FIRST runs of each kind among the first OF_MODEL of each model, oldest first, of
    the valid and flagged runs that started before `before`. A journal may hold very many runs,
    and the others hardly prove anything more."""
    every = [_first_of_model(model, before) for model in _models(store)]
    if not every:
        return []
    first = _numbered(union_all(*every).subquery()).subquery()
    names = {field.name for field in fields(GoodRun)}
    tables = {name: _metrics.alias(name) for name in _FIGURES}
    joined: FromClause = first
    for name, metric in _FIGURES.items():
        one = tables[name]
        joined = joined.outerjoin(one, and_(one.c.run_id == first.c.id, one.c.name == metric))
    query = select(
        *(column for column in first.c if column.name in names),
        *(one.c.value.label(name) for name, one in tables.items()),
    ).select_from(joined)
    query = query.where(first.c.number <= FIRST)
    with store.transaction(writing=False) as connection:
        ordered = query.order_by(first.c.started_at, first.c.id)
        return list(each_of(connection, ordered, first.c.id, _good_run))


def _good_run(row: RowMapping) -> GoodRun:
    with naming(f"run {row['id']}"):
        return GoodRun(**{**row, "simulated": bool(row["simulated"])})


def environment_of(store: Store, run_id: str) -> dict[str, Any]:
    """The environment of a run, without the rest of the run; empty, with a warning, where it cannot
    be read."""
    query = select(_runs.c.environment).where(_runs.c.id == run_id)
    try:
        what = f"the environment of run {run_id}"
        with store.transaction(writing=False) as connection, naming(what):
            return dict(json.loads(connection.scalars(query).one()))
    except StoreError as error:
        warn_of(error)
        return {}


def _models(store: Store) -> Sequence[str]:
    """Every model that was measured, one look into an index for each."""
    first = select(func.min(_runs.c.model).label("model")).cte("models", recursive=True)
    later = select(func.min(_runs.c.model)).where(_runs.c.model > first.c.model).scalar_subquery()
    models = first.union_all(select(later).where(first.c.model.is_not(None)))
    with store.transaction(writing=False) as connection:
        return connection.scalars(select(models.c.model).where(models.c.model.is_not(None))).all()


def _first_of_model(model: str, before: datetime | None) -> Select[Any]:
    """The query for the first OF_MODEL good runs of `model`."""
    simulated = _runs.c.model.startswith("simulated") | _runs.c.facts.contains(
        '"version":"simulated'
    )
    query = select(
        *(_runs.c[field.name] for field in fields(GoodRun) if field.name in _runs.c),
        simulated.label("simulated"),
        _runs.c.dtype.label("its_dtype"),
        _runs.c.environment.contains('"gpu_0_name"').label("its_gpu"),
    )
    query = query.where(
        _runs.c.model == model,
        _runs.c.status.in_(GOOD),
        _before(_runs.c.started_at, before),
    )
    query = query.order_by(_runs.c.started_at, _runs.c.id).limit(OF_MODEL)
    return select(query.subquery())


def _numbered(runs: FromClause) -> Select[Any]:
    """The query that numbers each of `runs` among the runs that prove the same."""
    kind = [column for column in runs.c if column.name not in ("id", "started_at")]
    by_time = (runs.c.started_at, runs.c.id)
    number = func.row_number().over(partition_by=kind, order_by=by_time)
    return select(runs, number.label("number"))


def first_answer(
    store: Store, source: str, before: datetime | None = None
) -> tuple[str, datetime, str] | None:
    """The id, the time and the model of the first answer to a question by hand (None: there was
    no answer yet). `source` is "ask" or "chat"."""
    query = select(_interactions.c.id, _interactions.c.asked_at, _interactions.c.model).where(
        _interactions.c.source == source,
        _interactions.c.error.is_(None),
        _before(_interactions.c.asked_at, before),
    )
    with store.transaction(writing=False) as connection:
        ordered = query.order_by(_interactions.c.asked_at).limit(LOOKED_AT)
        return next(each_of(connection, ordered, _interactions.c.id, _three), None)


def first_checkup(store: Store, before: datetime | None = None) -> tuple[str, datetime, str] | None:
    """The id, the time and the host of the first checkup; None where there was no checkup yet."""
    query = select(_checkups.c.id, _checkups.c.made_at, _checkups.c.host)
    query = query.where(_before(_checkups.c.made_at, before)).order_by(_checkups.c.made_at)
    with store.transaction(writing=False) as connection:
        ordered = query.limit(LOOKED_AT)
        return next(each_of(connection, ordered, _checkups.c.id, _three), None)


def _three(row: RowMapping) -> tuple[str, datetime, str]:
    one, when, other = (row[name] for name in row)
    return one, when, other


def _before(column: ColumnElement[datetime], moment: datetime | None) -> ColumnElement[bool]:
    return true() if moment is None else column < moment
