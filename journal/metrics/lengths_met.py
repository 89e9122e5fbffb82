"""The rows of the table on the lengths of what was sent and answered, where they vary."""

from collections.abc import Callable

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.row import Metric
from journal.metrics.view import View
from journal.records.figure import Figure

# Of all that was sent, not of a sample: a quantile is that of these requests, whatever their
# number, and has no interval.
QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "max": 1.0}
LENGTH_STATISTICS = ("mean", *QUANTILES)


def _figure(lengths: Callable[[View], Array], statistic: str) -> Callable[[View], Figure]:
    def figure(view: View) -> Figure:
        values = lengths(view)
        if not _varies(view) or len(values) == 0 or np.isnan(values).any():
            return Figure(None, count=0)
        if statistic == "mean":
            return Figure(float(values.mean()), count=len(values))
        at = np.quantile(values, QUANTILES[statistic], method="inverted_cdf")
        return Figure(float(at), count=len(values))

    return figure


def _varies(view: View) -> bool:
    """Whether the lengths are other than those of the cell, the same for each request."""
    workload = view.cell.workload
    given = workload.is_own or workload.varies
    return given or workload.natural_end or view.cell.load.length_spread > 0


def _rows(
    name: str, lengths: Callable[[View], Array], formula: str, meaning: str
) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            *(f"{name}.{statistic}", "throughput", "tokens", formula, meaning),
            _figure(lengths, statistic),
        )
        for statistic in LENGTH_STATISTICS
    )


LENGTHS_MET = (
    *_rows(
        "prompt_length",
        lambda view: view.prompt_tokens,
        "prompt tokens of a request, by the server's usage",
        "The lengths of prompts as the server counted them, where they vary: of prompts of one's "
        "own, or with length_spread.",
    ),
    *_rows(
        "output_length",
        lambda view: view.output_tokens,
        "output tokens of a request, by the server's usage",
        "The lengths of answers, where they vary: natural ends, lengths from a file, or "
        "length_spread.",
    ),
)
