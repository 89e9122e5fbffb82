"""The rows of the table on reasoning: the share of thoughts, and the pace of both phases."""

from collections.abc import Callable

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.row import Metric, number_only
from journal.metrics.view import View, column
from journal.records.figure import Figure


def _thoughts(view: View) -> Array:
    """The reasoning tokens of each request by usage; NaN where it has none that are known."""
    return column(trace.reasoning_tokens or None for trace in view.done)


def _share(view: View) -> float | None:
    thoughts = _thoughts(view)
    known = ~np.isnan(thoughts) & ~np.isnan(view.output_tokens)
    if not known.any():
        return None
    return float(thoughts[known].sum() / view.output_tokens[known].sum())


def _median(pace: Callable[[View], Array]) -> Callable[[View], Figure]:
    """The median over requests whose thoughts were streamed and counted."""

    def figure(view: View) -> Figure:
        values = pace(view)
        values = values[np.isfinite(values)]
        return Figure(float(np.median(values)) if len(values) else None, count=len(values))

    return figure


def _answer_begins_s(view: View) -> Array:
    """The time of the first chunk of each answer itself, where its thoughts were streamed."""
    streamed = np.array([bool(trace.reasoning_chunks) for trace in view.done], dtype=bool)
    return np.where(streamed, view.scheduled_s + view.ttfo_s, np.nan)


def _thinking_pace(view: View) -> Array:
    """Reasoning tokens after the first over the time from first token to first of the answer."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _thoughts(view) / (_answer_begins_s(view) - view.first_s)


def _answering_pace(view: View) -> Array:
    """Tokens of the answer but one over the time from its first to its last."""
    left = view.output_tokens - _thoughts(view) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 0, left / (view.last_s - _answer_begins_s(view)), np.nan)


REASONING = (
    Metric(
        "reasoning_fraction",
        "throughput",
        "fraction",
        "reasoning tokens / output tokens, of requests with any",
        "The share of what the model wrote that were thoughts, by the server's usage.",
        number_only(_share),
    ),
    Metric(
        "thinking_tokens_per_s",
        "throughput",
        "tok/s",
        "median of reasoning tokens / (first chunk of the answer - first chunk)",
        "How fast one request thinks, where thoughts are streamed and counted.",
        _median(_thinking_pace),
        better="higher",
    ),
    Metric(
        "answering_tokens_per_s",
        "throughput",
        "tok/s",
        "median of (tokens of the answer - 1) / (last chunk - first chunk of the answer)",
        "How fast one request answers once it has thought.",
        _median(_answering_pace),
        better="higher",
    ),
)
