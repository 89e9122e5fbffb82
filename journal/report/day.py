"""One day of the journal as plain data: all that began on it, in the reader's own time zone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from warnings import warn

from journal.compare.timeline import told_runs
from journal.errors import DamagedRow, NotFound, StoreError
from journal.records.notebook import Interaction, Note
from journal.records.request import Trace
from journal.records.run import ExperimentRecord, Record
from journal.report.checklist import Step, steps
from journal.report.document import Sentence, say
from journal.store.days import bounds

if TYPE_CHECKING:
    from journal.store.request_lengths import Lengths
    from journal.store.rows import Journal

NEARBY_DAYS = 7  # named when a day is empty
FIRST_STEP = "`journal run` measures the first cells"


@dataclass(frozen=True, slots=True)
class Extent:
    """The subject of a log that is not of one day: a week or an experiment. `stem` is the name of
    its files, without their endings."""

    stem: str
    title: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """All that one log describes: one day, or all of `extent`. `records` and `experiments` are
    ordered by `started_at`, then `id`. An experiment of the day before is among them when it
    still ran. `earlier` are runs of the same cells, each on the last day before on which it was
    measured; `notes` are the user's own words, `questions` those asked by hand, `steps` those
    of the two weeks by the end of it. `in_flight` has the requests in flight at the middle of those
    runs that have a timeline, by the ids of the runs, and `lengths` those of the requests of runs
    in which they vary. `zone` None is the zone of this machine.
    `tracking` is the address of MLflow's UI, where that is known."""

    date: date
    zone: tzinfo | None
    records: tuple[Record, ...]
    experiments: tuple[ExperimentRecord, ...]
    earlier: tuple[Record, ...] = ()
    notes: tuple[Note, ...] = ()
    questions: tuple[Interaction, ...] = ()
    steps: tuple[Step, ...] = ()
    in_flight: Mapping[str, tuple[Trace, ...]] = field(default_factory=dict)
    lengths: Mapping[str, "Lengths"] = field(default_factory=dict)
    extent: Extent | None = None
    tracking: str | None = None

    @property
    def stem(self) -> str:
        """The name of the log's files, without their endings."""
        return self.extent.stem if self.extent else self.date.isoformat()

    @property
    def title(self) -> Sentence:
        """The title of the log."""
        if self.extent:
            return self.extent.title
        weekday = say(f"weekday.{self.date.isoweekday()}")
        return say("title", weekday=weekday, date=dated(self.date), year=f"{self.date.year:04}")

    def clock(self, when: datetime) -> str:
        """The time of day, with the date where that is not plain."""
        return when.astimezone(self.zone).strftime("%Y-%m-%d %H:%M" if self.extent else "%H:%M")


def dated(day: date) -> Sentence:
    """A date as day and month."""
    return say("date", day=str(day.day), month=say(f"month.{day.month}"))


def last_day(store: "Journal", zone: tzinfo | None = None) -> date:
    """The last day on which anything began; that of the last note, where nothing did. Raises
    NotFound where the journal is empty."""
    from journal.store.history import last_began
    from journal.store.interactions import interactions
    from journal.store.notes import notes

    last = last_began(store)
    began = [] if last is None else [last]
    began += [question.asked_at for question in interactions(store, limit=1)]
    if not began and (written := notes(store)):
        return max(one.day for one in written)
    if not began:
        raise NotFound(f"nothing was run yet: {FIRST_STEP}")
    return max(began).astimezone(zone).date()


def collect(
    store: "Journal", day: date, zone: tzinfo | None = None, read: Sequence[Record] = ()
) -> Day:
    """All that `store` holds of `day` in `zone`. `read` are all runs of an experiment, where they
    were read already. Raises NotFound, naming the days near it that hold something, when nothing
    began on it and nothing was written on it."""
    return days_together(store, day, day, zone, f"on {day}", read)


def days_together(
    store: "Journal",
    first: date,
    last: date,
    zone: tzinfo | None,
    when: str,
    read: Sequence[Record] = (),
) -> Day:
    """The days from `first` to `last` as one `Day`. Raises NotFound as `collect` does; its message
    names the time as `when`."""
    from journal.store.interactions import interactions
    from journal.store.notes import notes

    try:
        since, until = bounds(first, zone)[0], bounds(last, zone)[1]
    except OverflowError:
        raise NotFound(_nothing(store, first, zone, when)) from None
    records = [record for record in read if since <= record.started_at < until]
    known = {record.experiment_id for record in read}
    records += store.runs(since=since, until=until, apart_from=known)
    experiments = store.experiments(since, until)
    begun = {experiment.id for experiment in experiments}
    still_ran = {record.experiment_id for record in records} - begun
    for experiment_id in sorted(still_ran):
        try:
            experiments.append(store.experiment(experiment_id))
        except StoreError as error:  # its runs cannot be told without it
            warn(DamagedRow(f"{error}; its runs are left out"), stacklevel=2)
            records = [one for one in records if one.experiment_id != experiment_id]
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    written = [note for day in days for note in notes(store, day)]
    questions = interactions(store, since=since, until=until)
    if not (records or experiments or written or questions):
        raise NotFound(_nothing(store, first, zone, when))
    return Day(
        date=first,
        zone=zone,
        records=tuple(sorted(records, key=order)),
        experiments=tuple(sorted(experiments, key=order)),
        earlier=tuple(earlier_runs(store, records, since, zone)),
        notes=tuple(written),
        questions=tuple(questions),
        steps=steps(store, until),
        in_flight=requests_in_flight(store, records),
        lengths=varied_lengths(store, records),
    )


def varied_lengths(store: "Journal", records: Sequence[Record]) -> Mapping[str, "Lengths"]:
    """The lengths of the requests of good runs in which they vary, asked and met."""
    from journal.store.request_lengths import request_lengths

    names = ("prompt_length.p50", "output_length.p50")
    told = [one.id for one in records if one.good and any(one.value(n) is not None for n in names)]
    return request_lengths(store, told)


def requests_in_flight(
    store: "Journal", records: Sequence[Record]
) -> Mapping[str, tuple[Trace, ...]]:
    """The requests in flight at the middle of those runs of each experiment that have a timeline;
    a run whose requests cannot be read is left out with a warning."""
    from journal.store.middle_requests import middle_requests

    experiments: dict[str, list[Record]] = {}
    for record in records:
        experiments.setdefault(record.experiment_id, []).append(record)
    found: dict[str, tuple[Trace, ...]] = {}
    for own in experiments.values():
        for run in told_runs(sorted(own, key=order)):
            try:
                found[run.id] = middle_requests(store, run.id)
            except StoreError as error:
                warn(DamagedRow(f"{error}; its timeline is left out"), stacklevel=2)
    return found


def earlier_runs(
    store: "Journal", records: list[Record], before: datetime, zone: tzinfo | None
) -> Iterator[Record]:
    """Earlier runs of the same cells, from the last day before `before` that each cell has, with
    what a comparison needs of them."""
    from journal.compare.comparison import compared_metrics
    from journal.store.history import last_measured, measured_between

    last = last_measured(store, (record.cell for record in records), before)
    days = {key: at.astimezone(zone).date() for key, at in last.items()}
    for day in sorted(set(days.values())):
        since, until = bounds(day, zone)
        places = {place for place, on in days.items() if on == day}
        yield from measured_between(store, places, since, until, compared_metrics())


def order(entry: Record | ExperimentRecord) -> tuple[datetime, str]:
    """The key that sorts runs and experiments: `started_at`, then `id`."""
    return entry.started_at, entry.id


def _nothing(store: "Journal", day: date, zone: tzinfo | None, when: str) -> str:
    experiments = store.experiments()
    days = sorted({begun.started_at.astimezone(zone).date() for begun in experiments})
    if not days:
        return f"nothing was run {when}, nor on any other day: {FIRST_STEP}"
    near = sorted(sorted(days, key=lambda other: abs(other - day))[:NEARBY_DAYS])
    more = "" if len(near) == len(days) else f" (the nearest of {len(days)})"
    names = ", ".join(map(str, near))
    return f"nothing was run {when}; days with runs: {names}{more}"
