"""Evidence for the checklist, from rows of the journal, without reading whole runs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from journal.errors import StoreError
from journal.records.run import GOOD
from journal.store.row_care import LOOKED_AT, each_readable, naming, warn_of
from journal.store.rows import moment

if TYPE_CHECKING:
    from journal.store.row_care import Stored
    from journal.store.rows import Journal, Rows

FIRST, OF_MODEL = 3, 500  # runs of a kind, since one may lack a figure; runs of a model

_FIGURES = {
    "vram_peak_bytes": "vram_peak_bytes",
    "rss_peak_bytes": "rss_peak_bytes",
    "e2e_s.mean": "e2e_s",
    "output_tokens_per_s": "output_tokens_per_s",
}
# Every model that was measured, one look into an index for each.
_MODELS = """WITH RECURSIVE models(model) AS (
    SELECT min(model) FROM runs UNION ALL
    SELECT (SELECT min(model) FROM runs WHERE model > models.model) FROM models
    WHERE model IS NOT NULL
) SELECT model FROM models WHERE model IS NOT NULL"""
_FACTS = "id started_at model quantisation batch rate prompt_tokens output_tokens".split()
_KIND = f"""{", ".join(_FACTS[2:])}, dtype, environment LIKE '%"gpu_0_name"%',
    model LIKE 'simulated%' OR facts LIKE '%"version":"simulated%'"""


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


def good_runs(store: "Journal", before: datetime | None = None) -> list[GoodRun]:
    """The first FIRST runs of each kind among the first OF_MODEL of each model, oldest first, of
    the valid and flagged runs that started before `before`. A journal may hold very many runs,
    and the others hardly prove anything more."""
    with store.reading() as rows:
        models = [model for (model,) in rows.tuples(_MODELS)]
        first = [row for model in models for row in _first_of_model(rows, model, before)]
        query = "SELECT run_id, name, value FROM metrics WHERE run_id IN :ids AND name IN :names"
        found = rows.tuples(query, ids=[row["id"] for row in first], names=[*_FIGURES])
    figures = {(run_id, _FIGURES[name]): value for run_id, name, value in found}
    made = each_readable(first, lambda row: _good_run(row, figures))
    return sorted(made, key=lambda run: (run.started_at, run.id))


def _first_of_model(rows: "Rows", model: str, before: datetime | None) -> "Iterator[Stored]":
    """The rows of the first FIRST of each kind among the first OF_MODEL good runs of `model`."""
    when, values = _before("started_at", before)
    query = f"""SELECT id, started_at, {_KIND} AS simulated FROM runs
        WHERE model = :model AND status IN :good AND {when}
        ORDER BY started_at, id LIMIT {OF_MODEL}"""
    met: Counter[tuple[object, ...]] = Counter()
    for row in rows.mappings(query, model=model, good=GOOD, **values):
        _, _, *kind = row.values()  # runs that prove the same
        met[tuple(kind)] += 1
        if met[tuple(kind)] <= FIRST:
            yield row


def _good_run(row: "Stored", figures: Mapping[tuple[str, str], Any]) -> GoodRun:
    with naming(f"run {row['id']}"):
        values = {name: row[name] for name in _FACTS}
        values |= {name: figures.get((row["id"], name)) for name in _FIGURES.values()}
        values |= {"started_at": moment(row["started_at"]), "simulated": bool(row["simulated"])}
        return GoodRun(**values)


def environment_of(store: "Journal", run_id: str) -> dict[str, Any]:
    """The environment of a run, without the rest of the run; empty, with a warning, where it cannot
    be read."""
    try:
        with store.reading() as rows, naming(f"the environment of run {run_id}"):
            ((text,),) = rows.tuples("SELECT environment FROM runs WHERE id = :id", id=run_id)
            return dict(json.loads(text))
    except StoreError as error:
        warn_of(error)
        return {}


def first_answer(
    store: "Journal", source: str, before: datetime | None = None
) -> tuple[str, datetime, str] | None:
    """The id, the time and the model of the first answer to a question by hand (None: there was
    no answer yet). `source` is "ask" or "chat"."""
    when, values = _before("asked_at", before)
    query = f"""SELECT id, asked_at, model FROM interactions
        WHERE source = :source AND error IS NULL AND {when} ORDER BY asked_at LIMIT {LOOKED_AT}"""
    with store.reading() as rows:
        found = rows.mappings(query, source=source, **values)
    return next(each_readable(found, _three), None)


def first_checkup(
    store: "Journal", before: datetime | None = None
) -> tuple[str, datetime, str] | None:
    """The id, the time and the host of the first checkup; None where there was no checkup yet."""
    when, values = _before("made_at", before)
    query = f"""SELECT id, made_at, host FROM checkups
        WHERE {when} ORDER BY made_at LIMIT {LOOKED_AT}"""
    with store.reading() as rows:
        return next(each_readable(rows.mappings(query, **values), _three), None)


def _three(row: "Stored") -> tuple[str, datetime, str]:
    with naming(f"row {row['id']!r:.60}"):
        one, when, other = row.values()
        return one, moment(when), other


def _before(column: str, before: datetime | None) -> tuple[str, dict[str, Any]]:
    """The condition that a time is before a moment, where there is one, and its values."""
    return ("1 = 1", {}) if before is None else (f"{column} < :before", {"before": before})
