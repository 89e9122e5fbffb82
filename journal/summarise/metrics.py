"""The one table of metrics: each name with its section, unit, formula, meaning and function.

Latencies and tokens are those of the measured requests that did not fail; warm-up never counts.
A figure whose value is None means that there is no such number: it is never 0 instead.
"""

from journal.records import Figure, Samples
from journal.summarise.latency import LATENCY
from journal.summarise.metric import Metric, Section
from journal.summarise.quality import QUALITY
from journal.summarise.resources import CLIENT, COST, ENERGY, MEMORY, SERVER
from journal.summarise.stats import STATISTICS
from journal.summarise.theory import MEASURED, THEORY
from journal.summarise.throughput import THROUGHPUT
from journal.summarise.view import View

TABLE: tuple[Metric, ...] = (
    *(*LATENCY, *THROUGHPUT, *MEMORY, *MEASURED, *THEORY),
    *(*SERVER, *ENERGY, *COST, *QUALITY, *CLIENT),
)
_SECTIONS = {metric.name: metric.section for metric in TABLE}


def metrics(samples: Samples) -> dict[str, Figure]:
    """Every metric of TABLE, by name and in its order. The same samples give the same bits."""
    view = View(samples)
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
