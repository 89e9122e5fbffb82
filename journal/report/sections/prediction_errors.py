"""The user's predictions day by day: how far they were from what was measured."""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from statistics import median

from journal import units
from journal.compare.points import Points
from journal.compare.scored import judged_prediction
from journal.plan.experiment_file import load_experiment, shipped
from journal.records.run import ExperimentRecord
from journal.report.day import Day, dated
from journal.report.document import Box, Column, Paragraph, Section, Table, Text, say


def prediction_errors_section(
    day: Day, measured: Sequence[tuple[ExperimentRecord, Points]]
) -> Section | None:
    """A section on the median error of the user's own predictions on each day, by the good points
    of each experiment in `measured`; None where fewer than two days have any."""
    days: dict[date, list[float]] = {}
    for begun, points in measured:
        on = begun.started_at.astimezone(day.zone).date()
        days.setdefault(on, []).extend(_errors(begun, points))
    scored = {on: errors for on, errors in sorted(days.items()) if errors}
    if len(scored) < 2:
        return None
    rows = tuple(
        (Box(dated(on)), Box(f"{len(errors)}"), Box(units.percent(median(errors))))
        for on, errors in scored.items()
    )
    ends = [median(errors) for errors in (next(iter(scored.values())), [*scored.values()][-1])]
    first, last = (units.percent(end) for end in ends)
    kind = "closer" if ends[1] < ends[0] else "farther" if ends[1] > ends[0] else "as_close"
    sentence: Text = say(f"errors.{kind}", first=first, last=last)
    table = Table(COLUMNS, rows, (say("errors.caption"),))
    return Section(2, say("errors.heading"), (Paragraph((sentence,)), table))


COLUMNS = (
    Column(say("errors.day"), numeric=False),
    Column(say("errors.count")),
    Column(say("errors.median")),
)


def _errors(begun: ExperimentRecord, points: Points) -> Iterator[float]:
    """The error of each own prediction: the median over its cells, in shares of the measured
    value. The predictions that ship with an experiment are not the user's."""
    given = _shipped_with(begun.experiment.name)
    for key, predicted in begun.experiment.predict.items():
        if given.get(key) == predicted:
            continue
        figures = [part.figure.value for part in judged_prediction(key, predicted, points).parts]
        errors = [abs(predicted - value) / abs(value) for value in figures if value]
        if errors:
            yield median(errors)


@lru_cache
def _shipped_with(name: str) -> dict[str, float]:
    """The predictions of the experiment `name` as it ships; none for any other."""
    return dict(load_experiment(name).predict) if name in shipped() else {}
