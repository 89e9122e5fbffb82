"""Sides of a comparison by their names: runs, an experiment, a model, a day, or a tag."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal, get_args

from journal.errors import NotFound, UsageError
from journal.records.run import Record
from journal.store.days import bounds

if TYPE_CHECKING:
    from journal.store.store import Store

Kind = Literal["run", "experiment", "model", "day", "tag"]
DAYS_AGO = {"today": 0, "yesterday": 1}


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison and its runs. `name` is for people: a run's short id, an
    experiment's name, a model, a date, or a tag."""

    name: str
    kind: Kind
    records: tuple[Record, ...]


def find_side(store: "Store", text: str, zone: tzinfo | None = None) -> Side:
    """The side that `text` means: a day (YYYY-MM-DD, today, yesterday), a tag, a model's name or
    the last part of it, the name or id of an experiment, or a run's id (several with commas;
    `last`).

    A prefix `run:`, `experiment:`, `model:`, `day:` or `tag:` gives the kind. `zone` is that of
    the days (None: this machine's). Raises NotFound where `text` means no side, UsageError where
    it means several.
    """
    kind, _, rest = text.partition(":")
    if kind in get_args(Kind) and rest:
        sides = [side for side in _meanings(store, rest, zone) if side.kind == kind]
        name = rest
    else:
        sides, name = _meanings(store, text, zone), text
        kind = "run, experiment, model, day or tag"
    if not sides:
        raise NotFound(f"there is no {kind} {name!r} in this journal: `journal runs` lists them")
    if len(sides) > 1:
        kinds = " and ".join(side.kind for side in sides)
        raise UsageError(f"{name!r} is the name of {kinds}: write {sides[0].kind}:{name}")
    return sides[0]


def _meanings(store: "Store", text: str, zone: tzinfo | None) -> list[Side]:
    """Every side that `text` may mean. It is taken for an id only where it is no name."""
    day = _day(store, text, zone)
    if day is not None:
        return [day]
    records = store.runs()
    named = [_tagged(store, records, text), _model(records, text), _experiment(records, text)]
    sides = [side for side in named if side is not None]
    return sides or [side for side in (_runs(store, text), _by_id(store, text)) if side]


def side_kinds(store: "Store", name: str, zone: tzinfo | None = None) -> set[Kind]:
    """The kinds of sides that `name` means."""
    return {side.kind for side in _meanings(store, name, zone)}


def _tagged(store: "Store", records: list[Record], text: str) -> Side | None:
    from journal.store.tags import tag_named

    tag = tag_named(store, text)
    own = () if tag is None else tag.run_ids
    return Side(text, "tag", tuple(r for r in records if r.id in own)) if own else None


def _day(store: "Store", text: str, zone: tzinfo | None) -> Side | None:
    if text in DAYS_AGO:
        day = datetime.now(zone).date() - timedelta(days=DAYS_AGO[text])
    elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is not a date: write it as YYYY-MM-DD") from error
    else:
        return None
    since, until = bounds(day, zone)
    return Side(day.isoformat(), "day", tuple(store.runs(since=since, until=until)))


def _model(records: list[Record], text: str) -> Side | None:
    models = dict.fromkeys(record.cell.model for record in records)
    matches = [model for model in models if model == text] or [
        model for model in models if model.rstrip("/").rpartition("/")[2].lower() == text.lower()
    ]
    if len(matches) > 1:
        raise UsageError(f"{text!r} is the last part of several models: {', '.join(matches)}")
    own = tuple(record for record in records if record.cell.model in matches)
    return Side(matches[0], "model", own) if own else None


def _experiment(records: list[Record], text: str) -> Side | None:
    own = tuple(record for record in records if record.cell.experiment == text)
    return Side(text, "experiment", own) if own else None


def _runs(store: "Store", text: str) -> Side | None:
    try:
        records = {record.id: record for record in map(store.run, dict.fromkeys(text.split(",")))}
    except NotFound:
        return None
    return Side(", ".join(id_[:8] for id_ in records), "run", tuple(records.values()))


def _by_id(store: "Store", text: str) -> Side | None:
    if text == "last":  # the last run, not the last experiment
        return None
    try:
        begun = store.experiment(text)
    except NotFound:
        return None
    name = f"{begun.experiment.name} {begun.id[:8]}"
    return Side(name, "experiment", tuple(store.runs(experiment_id=begun.id)))
