"""The rows of the table on requests that were alone, and on those that waited: what a bottleneck is
read from."""

import math

from journal.metrics.row import Metric, in_span, number_only
from journal.metrics.view import View
from journal.metrics.window import Span
from journal.serve.engines.vllm.metric_names import NEWEST


def _waiting(view: View, span: Span) -> float | None:
    return view.server("waiting").mean(span)


def _ttft_alone(view: View) -> float | None:
    """The least TTFT of the warm-up in s, which is over before the load; None without one."""
    begin_s = min((trace.start_s for trace in view.measured), default=-math.inf)
    return min(
        (
            trace.chunk_s[0] - trace.start_s
            for trace in view.samples.traces
            if trace.warmup and trace.answered and trace.chunk_s and trace.end_s <= begin_s
        ),
        default=None,
    )


def _tpot_alone(view: View) -> float | None:
    """The least time per token of a request of the warm-up in s; None without one of which the
    tokens are known."""
    begin_s = min((trace.start_s for trace in view.measured), default=-math.inf)
    paces = [
        (trace.chunk_s[-1] - trace.chunk_s[0]) / tokens
        for trace in view.samples.traces
        if trace.warmup and trace.answered and trace.chunk_s and trace.end_s <= begin_s
        if (tokens := sum((trace.chunk_tokens or ())[1:]))
    ]
    return min(paces) if paces and not view.holding.is_held else None


ALONE = (
    Metric(
        "server_waiting_mean",
        "server",
        "requests",
        f"mean of the readings of {NEWEST['waiting']}",
        "The queue inside the server, on average.",
        in_span(_waiting),
        better="lower",
    ),
    Metric(
        "ttft_alone_s",
        "latency",
        "s",
        "least TTFT of a request of the warm-up",
        "The time to first token while nothing else is served.",
        number_only(_ttft_alone),
        better="lower",
    ),
    Metric(
        "tpot_alone_s",
        "latency",
        "s",
        "least (last chunk - first chunk) / output tokens after the first chunk, in the warm-up",
        "The time per output token while nothing else is served.",
        number_only(_tpot_alone),
        better="lower",
    ),
)
