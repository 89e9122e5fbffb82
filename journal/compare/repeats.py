"""The tries of one cell in one experiment, and what they say together."""

from collections.abc import Iterable, Sequence
from typing import Any

from journal.compare.points import over_repeats
from journal.plan.cells import without_repeat
from journal.records.figure import Figure
from journal.records.run import Record


def repeats(record: Record, among: Iterable[Record]) -> tuple[Record, ...]:
    """The valid and flagged tries `among` the runs of the experiment of the cell of `record`: of
    each repeat the last."""
    common = without_repeat(record.cell)
    tries = {
        each.cell.repeat: each
        for each in among
        if each.experiment_id == record.experiment_id
        and each.good
        and without_repeat(each.cell) == common
    }
    return tuple(tries.values())


def together(tries: Sequence[Record]) -> dict[str, Figure]:
    """The mean of each metric that all tries have, with its 95% t interval: what another try may
    be expected to give. `count` is the number of tries."""
    names = tries[0].metrics if tries else {}
    found: dict[str, Figure] = {}
    for name in names:
        figures = [record.metrics.get(name) for record in tries]
        values = [each.value for each in figures if each is not None and each.value is not None]
        if len(values) == len(tries):
            found[name] = over_repeats(values)
    return found


def as_json(tries: Sequence[Record]) -> dict[str, Any]:
    """The repeats of a run as plain JSON values."""
    return {
        "runs": [record.id for record in tries],
        "means": {
            name: {"mean": figure.value, "low": figure.low, "high": figure.high}
            for name, figure in together(tries).items()
        },
    }
