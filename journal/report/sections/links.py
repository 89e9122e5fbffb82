"""Where the reader can look further: MLflow's own pages on what the log tells of."""

from collections.abc import Iterator

from journal.compare.points import Points
from journal.report.day import Day
from journal.report.document import Links, Text, say
from journal.tracking.addresses import charts, comparison
from journal.tracking.entries import compared


def of_comparison(told: Points, day: Day) -> Links | None:
    """The same runs on MLflow's page for comparing, and the charts of the engines they are of;
    None where no tracking server is known, or it was not told of them."""
    if day.tracking is None:
        return None
    places = {each.id: each.mlflow_experiment_id for each in day.experiments}
    last = [point.good[-1] for point in told]
    ids = [run.mlflow_run_id for run in last if run.mlflow_run_id is not None]
    theirs = [place for run in last if (place := places.get(run.experiment_id)) is not None]
    if not len(ids) == len(theirs) == len(told):
        return None
    links: list[tuple[Text, str]] = [(say("links.compared"), comparison(ids, theirs))]
    links += _charts({run.experiment_id for run in last}, day)
    return Links(tuple((label, day.tracking + page) for label, page in links))


def _charts(experiments: set[str], day: Day) -> Iterator[tuple[Text, str]]:
    for each in day.experiments:
        if each.id in experiments and each.mlflow_experiment_id and compared(each.experiment):
            yield (
                say("links.charts", name=each.experiment.name),
                charts(each.mlflow_experiment_id, each.id),
            )
