"""The repeats of one cell in one experiment, and the means of their figures."""

from collections.abc import Iterable, Sequence

from journal.compare.points import over_repeats
from journal.plan.cells import without_repeat
from journal.records.as_json import RepeatsJson
from journal.records.figure import Figure
from journal.records.run import Record


def repeats(record: Record, among: Iterable[Record]) -> tuple[Record, ...]:
    """The good runs `among` all runs that repeat the cell of `record` in its experiment; the last
    run of each repeat."""
    common = without_repeat(record.cell)
    tries = {
        run.cell.repeat: run
        for run in among
        if run.experiment_id == record.experiment_id
        and run.good
        and without_repeat(run.cell) == common
    }
    return tuple(tries.values())


def repeat_means(tries: Sequence[Record]) -> dict[str, Figure]:
    """The mean of each metric that all `tries` have, with its 95% t interval: the value that
    another try is expected to give. `count` is the number of tries."""
    names = tries[0].metrics if tries else {}
    means: dict[str, Figure] = {}
    for name in names:
        figures = [record.metrics.get(name) for record in tries]
        values = [f.value for f in figures if f is not None and f.value is not None]
        if len(values) == len(tries):
            means[name] = over_repeats(values)
    return means


def repeats_json(tries: Sequence[Record]) -> RepeatsJson:
    """The repeats of a run as plain JSON values."""
    return {
        "runs": [record.id for record in tries],
        "means": {
            name: {"mean": figure.value, "low": figure.low, "high": figure.high}
            for name, figure in repeat_means(tries).items()
        },
    }
