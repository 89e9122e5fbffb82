"""The one table of metrics: each name with its section, unit, formula, meaning and function.

Latencies and tokens are those of the measured requests that did not fail; warm-up never counts.
A figure whose value is None means that there is no such number: it is never 0 instead.
"""

from journal.records import Figure, Samples
from journal.summarise.latency import LATENCY
from journal.summarise.metric import Metric, Section
from journal.summarise.resources import CLIENT, ENERGY, MEMORY, SERVER
from journal.summarise.throughput import THROUGHPUT
from journal.summarise.view import View

TABLE: tuple[Metric, ...] = (*LATENCY, *THROUGHPUT, *MEMORY, *SERVER, *ENERGY, *CLIENT)
_SECTIONS = {metric.name: metric.section for metric in TABLE}


def metrics(samples: Samples) -> dict[str, Figure]:
    """Every metric of TABLE, by name and in its order. The same samples give the same bits."""
    view = View(samples)
    return {metric.name: metric.figure(view) for metric in TABLE}


def section(name: str) -> Section:
    """The section of TABLE in which the metric called `name` stands; KeyError if in none."""
    return _SECTIONS[name]
