"""The one table of metrics: each name with its section, unit, formula, meaning and function.

Latencies and tokens are those of the measured requests that did not fail; warm-up never counts.
A figure whose value is None means that there is no such number: it is never 0 instead.
"""

from journal.metrics.latency import LATENCY
from journal.metrics.predicted import MEASURED, THEORY
from journal.metrics.quality import QUALITY
from journal.metrics.resources import CLIENT, COST, ENERGY, MEMORY, SERVER
from journal.metrics.row import Metric, Section
from journal.metrics.statistics import STATISTICS
from journal.metrics.throughput import THROUGHPUT
from journal.metrics.view import View
from journal.records.figure import Figure
from journal.records.samples import Samples

TABLE: tuple[Metric, ...] = (
    *(*LATENCY, *THROUGHPUT, *MEMORY, *MEASURED, *THEORY),
    *(*SERVER, *ENERGY, *COST, *QUALITY, *CLIENT),
)
_SECTIONS = {metric.name: metric.section for metric in TABLE}


def metrics(run: Samples | View) -> dict[str, Figure]:
    """Every metric of TABLE, by name and in its order. The same samples give the same bits."""
    view = View.of(run)
    return {metric.name: metric.figure(view) for metric in TABLE}


def section(name: str) -> Section:
    """The section of TABLE in which the metric called `name` stands; KeyError if in none."""
    return _SECTIONS[name]


def predictable() -> dict[str, str]:
    """What a prediction may be of: each metric under its own name with underscores for dots
    (`ttft_s_p50`), and each latency also without a statistic, which means its median."""
    names = {metric.name.replace(".", "_"): metric.name for metric in TABLE}
    families = {name.rpartition(".") for name in names.values()}
    medians = {
        family: f"{family}.p50"
        for family, _, statistic in families
        if family and statistic in STATISTICS
    }
    return medians | names
