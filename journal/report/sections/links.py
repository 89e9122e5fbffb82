"""Links from a log to MLflow's own pages on the same runs."""

from collections.abc import Iterator

from journal.compare.points import Points
from journal.redaction import hidden
from journal.report.day import Day
from journal.report.document import Links, Text, say
from journal.tracking.addresses import charts, comparison
from journal.tracking.entries import compared_engines


def of_comparison(points: Points, day: Day) -> Links | None:
    """Links to the last run of each point on MLflow's page for comparing, and to the charts of
    their engines; None where no tracking server is known, or it does not have them all."""
    if day.tracking is None:
        return None
    places = {begun.id: begun.mlflow_experiment_id for begun in day.experiments}
    last = [point.good[-1] for point in points]
    ids = [run.mlflow_run_id for run in last if run.mlflow_run_id is not None]
    theirs = [place for run in last if (place := places.get(run.experiment_id)) is not None]
    if not len(ids) == len(theirs) == len(points):
        return None
    links: list[tuple[Text, str]] = [(say("links.compared"), comparison(ids, theirs))]
    links += _charts({run.experiment_id for run in last}, day)
    return Links(tuple((label, hidden(day.tracking + page)) for label, page in links))


def _charts(experiments: set[str], day: Day) -> Iterator[tuple[Text, str]]:
    for begun in day.experiments:
        if (
            begun.id in experiments
            and begun.mlflow_experiment_id
            and compared_engines(begun.experiment)
        ):
            yield (
                say("links.charts", name=begun.experiment.name),
                charts(begun.mlflow_experiment_id, begun.id),
            )
