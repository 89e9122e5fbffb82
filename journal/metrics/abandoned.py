"""The rows of the table on requests whose users left, and what the server did for nobody."""

import math

from journal.metrics.row import Metric, number_only, total
from journal.metrics.view import View
from journal.metrics.window import Span
from journal.records.request import Trace

RUN = Span(-math.inf, math.inf)


def _abandoned(view: View) -> float | None:
    if view.cell.load.abandon_after_s is None:
        return None
    return float(sum(trace.outcome == "abandoned" for trace in view.measured))


def _fraction(view: View) -> float | None:
    count = _abandoned(view)
    return None if count is None or not view.measured else count / len(view.measured)


def _received(trace: Trace) -> float | None:
    """The tokens that came of an answer before its user left, or of a whole one."""
    if trace.chunk_tokens is not None:
        return float(sum(trace.chunk_tokens))
    return float(len(trace.chunk_s)) if trace.outcome == "abandoned" else trace.tokens


def _read_for_nothing(view: View) -> float | None:
    """The tokens that came to users who left."""
    if _abandoned(view) is None:
        return None
    left = [trace for trace in view.measured if trace.outcome == "abandoned"]
    return total(map(_received, left)) if left else 0.0


def _unread(view: View) -> float | None:
    """The tokens that the server wrote in the run and no user received."""
    written = view.server("output_tokens_total").increase(RUN)
    received = total(map(_received, view.samples.traces))
    if not _abandoned(view) or written is None or received is None:
        return None
    return max(0.0, written - received)


ABANDONED = (
    Metric(
        "abandoned",
        "throughput",
        "requests",
        "requests that were not over after abandon_after_s",
        "How many users left before their answer was over. They count in no latency.",
        number_only(_abandoned),
        better="lower",
    ),
    Metric(
        "abandoned_fraction",
        "throughput",
        "fraction",
        "abandoned / requests",
        "The share of users who left.",
        number_only(_fraction),
        better="lower",
    ),
    Metric(
        "abandoned_tokens",
        "throughput",
        "tokens",
        "tokens of abandoned answers that came before their users left",
        "What the server wrote to users who did not stay for the end.",
        number_only(_read_for_nothing),
        better="lower",
    ),
    Metric(
        "unread_tokens",
        "server",
        "tokens",
        "rise of the server's count of output tokens over the run - all tokens received",
        "What the server still wrote after users had left, until it saw that they had.",
        number_only(_unread),
        better="lower",
    ),
)
