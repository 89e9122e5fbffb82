"""The one table of metrics: each with its unit, formula and meaning, the function that computes
it, the better direction, and the views that show it. Every list of metrics is a filter of it.

The rows stand in the modules of this room, with their functions; all but the functions is read
from table.json, which `make docs` writes, so that what only names and shows metrics starts without
numpy.

Latencies and tokens are those of the measured requests that did not fail; warm-up never counts.
A figure whose value is None means that there is no such number: it is never 0 instead.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal.metrics.row import Family, Metric, Section, Shown
from journal.metrics.statistics import STATISTICS
from journal.records.figure import Figure
from journal.records.load_shape import AXIS_NAMES

if TYPE_CHECKING:
    from journal.metrics.view import View
    from journal.records.samples import Samples

_PATH = Path(__file__).with_name("table.json")


def _row(words: dict[str, Any]) -> Metric:
    """A row as table.json has it, whose figure is computed by its function in formulas.py."""
    shown: dict[str, Any] = words.pop("shown", {})
    if "family" in shown:
        shown["family"] = Family(*shown["family"])
    return Metric(**words, figure=partial(_computed, words["name"]), shown=Shown(**shown))


def _computed(name: str, view: "View") -> Figure:
    """The figure of the metric called `name`."""
    from journal.metrics.formulas import FIGURES  # numpy, and only needed here

    return FIGURES[name](view)


TABLE = tuple(map(_row, json.loads(_PATH.read_bytes())))


def metrics(run: "Samples | View") -> dict[str, Figure]:
    """The figures of a run by the names of their metrics, in the order of TABLE. The same samples
    give the same bits."""
    from journal.metrics.view import View

    view = View.of(run)
    return {metric.name: metric.figure(view) for metric in TABLE}


def rows(where: Callable[[Shown], object] = lambda _: True) -> tuple[Metric, ...]:
    """The rows for which `where` is true, in the order of TABLE: those that a view shows."""
    return tuple(metric for metric in TABLE if where(metric.shown))


def named(name: str) -> Metric:
    """The row of the metric called `name`; KeyError where TABLE has none."""
    row = next((metric for metric in TABLE if metric.name == name), None)
    if row is None:
        raise KeyError(name)
    return row


def is_exact(name: str) -> bool:
    """Whether the values of a metric are read or counted, not sampled."""
    return any(metric.exact for metric in TABLE if metric.name == name)


def section(name: str) -> Section:
    """The section of the metric called `name`; KeyError where TABLE has none."""
    return named(name).section


def columns() -> tuple[Metric, ...]:
    """The rows that are columns of the log's table, from left to right."""
    placed = [(metric.shown.column, metric) for metric in TABLE if metric.shown.column is not None]
    return tuple(metric for _, metric in sorted(placed, key=lambda pair: pair[0]))


def standing_in(name: str) -> tuple[str, ...]:
    """The name of a metric, then the names of those that stand in where it has no value."""
    others = (metric.name for metric in TABLE if metric.shown.instead_of == name)
    return (name, *others)


def latencies() -> dict[str, str]:
    """The labels of the latencies whose statistics `show` gives in a table, by family."""
    return {metric.family: metric.label for metric in TABLE if metric.family and metric.label}


def predictable() -> dict[str, str]:
    """The keys of predictions and the metrics that they mean: each metric under its own name with
    underscores for dots (`ttft_s_p50`), and each latency also without a statistic, which means its
    median."""
    names = {metric.name.replace(".", "_"): metric.name for metric in TABLE}
    families = {name.rpartition(".") for name in names.values()}
    medians = {
        family: f"{family}.p50"
        for family, _, statistic in families
        if family and statistic in STATISTICS
    }
    return medians | names


def metric_of_key(key: str) -> str:
    """The name of the metric that the key of a prediction or of a claim means: `ttft_s_p50` is
    ttft_s.p50; a latency without a statistic means its median; what follows an @ says where. Any
    other key is its own name."""
    name = key.partition("@")[0]
    return predictable().get(name, name)


def place_of_key(key: str) -> dict[str, float]:
    """The cells that the key of a prediction is about, by their fields: those of batch 8 for
    `tpot_s@batch=8`; {} for a key that is about all. Raises ValueError for another form."""
    _, at, text = key.partition("@")
    place = {}
    for part in text.split(",") if at else ():
        name, _, value = part.partition("=")
        if name not in AXIS_NAMES:
            raise ValueError(f"{part!r} does not give one of {', '.join(AXIS_NAMES)}")
        place[name] = float(value)
    return place
