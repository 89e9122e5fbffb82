"""The rows of the table of metrics with the functions that compute them, in the order of the
table. `make docs` writes from them what metrics/table.py reads: all but the functions.
"""

from journal.metrics.abandoned import ABANDONED
from journal.metrics.each_turn import BY_TURN
from journal.metrics.latency import LATENCY
from journal.metrics.lengths_met import LENGTHS_MET
from journal.metrics.predicted import MEASURED, THEORY
from journal.metrics.quality import QUALITY
from journal.metrics.resources import CLIENT, COST, ENERGY, MEMORY, SERVER
from journal.metrics.row import Metric
from journal.metrics.speculation import SPECULATION
from journal.metrics.standstill import STANDSTILL
from journal.metrics.starting import START
from journal.metrics.steady import STEADY
from journal.metrics.thinking_share import REASONING
from journal.metrics.throughput import THROUGHPUT
from journal.metrics.unloaded import ALONE

FORMULAS: tuple[Metric, ...] = (
    *(
        *LATENCY,
        *THROUGHPUT,
        *LENGTHS_MET,
        *BY_TURN,
        *STANDSTILL,
        *ABANDONED,
        *REASONING,
        *STEADY,
        *MEMORY,
        *MEASURED,
        *THEORY,
    ),
    *(*SERVER, *SPECULATION, *START, *ENERGY, *COST, *QUALITY, *CLIENT, *ALONE),
)

FIGURES = {metric.name: metric.figure for metric in FORMULAS}
