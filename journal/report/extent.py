"""A week of the journal, or one experiment, as the same plain data as a day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta, tzinfo
from typing import TYPE_CHECKING

from journal.errors import NotFound
from journal.records.run import ExperimentRecord, Record
from journal.report.day import (
    Day,
    Extent,
    dated,
    days_together,
    earlier_runs,
    order,
    requests_in_flight,
    varied_lengths,
)
from journal.report.document import say
from journal.report.text import slug

if TYPE_CHECKING:
    from journal.store.rows import Journal

SHORT_ID = 8


def collect_week(store: "Journal", day: date, zone: tzinfo | None = None) -> Day:
    """The week of `day`, from Monday to Sunday (ISO 8601). Raises NotFound, naming the days near
    it that hold something, when it holds nothing."""
    year, number, weekday = day.isocalendar()
    try:
        first = day - timedelta(days=weekday - 1)
        last = first + timedelta(days=6)
    except OverflowError:
        raise NotFound(f"there is no whole week around {day}") from None
    title = say(
        "title_week", number=str(number), year=str(year), first=dated(first), last=dated(last)
    )
    return replace(
        days_together(store, first, last, zone, f"in the week of {day}"),
        extent=Extent(f"{year:04}-W{number:02}", title),
    )


def collect_experiment(store: "Journal", wanted: str, zone: tzinfo | None = None) -> Day:
    """The newest experiment called `wanted`, or that with this id (or the beginning of one, or
    "last"), with all its runs. Raises NotFound, naming some that are there, where there is none."""
    from journal.store.notes import notes

    begun = _experiment(store, wanted)
    records = store.runs(experiment_id=begun.id)
    return replace(
        experiment_day(begun, records, zone),
        earlier=tuple(earlier_runs(store, records, begun.started_at, zone)),
        in_flight=requests_in_flight(store, records),
        lengths=varied_lengths(store, records),
        notes=tuple(note for note in notes(store) if note.experiment_id == begun.id),
    )


def experiment_day(
    begun: ExperimentRecord, runs: Sequence[Record], zone: tzinfo | None = None
) -> Day:
    """The experiment `begun` with all its `runs`, without notes, questions or earlier runs."""
    name = slug(begun.experiment.name)
    stem = "-".join(part for part in ("experiment", name, begun.id[:SHORT_ID]) if part)
    return Day(
        date=begun.started_at.astimezone(zone).date(),
        zone=zone,
        records=tuple(sorted(runs, key=order)),
        experiments=(begun,),
        extent=Extent(stem, say("title_experiment", name=begun.experiment.name)),
    )


def _experiment(store: "Journal", wanted: str) -> ExperimentRecord:
    every = store.experiments()
    named = [begun for begun in every if begun.experiment.name == wanted]
    if named:
        return named[-1]
    try:
        return store.experiment(wanted)
    except NotFound as error:
        names = list(dict.fromkeys(begun.experiment.name for begun in reversed(every)))[:5]
        known = f"; there are {', '.join(names)}" if names else ""
        raise NotFound(f"no experiment has the name or the id {wanted!r}{known}") from error
