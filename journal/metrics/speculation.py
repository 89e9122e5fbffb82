"""The rows of the table on speculative decoding: drafts, acceptance, and tokens a step.

A step of the engine gives a request one token of its own, and the drafted ones that were accepted.
"""

from collections.abc import Callable

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.row import Metric, in_span, number_only
from journal.metrics.view import View
from journal.metrics.window import Span
from journal.serve.engines.vllm.metric_names import ACCEPTED_AT, MOST_POSITIONS, NEWEST

Ratio = Callable[[View, Span], float | None]


def _risen(above: str, below: str) -> Ratio:
    """The rise of one counter over that of another; None without either, or where none rose."""

    def ratio(view: View, span: Span) -> float | None:
        rises = (view.server(name).increase(span) for name in (above, below))
        over, under = rises
        return over / under if over is not None and under else None

    return ratio


def _tokens_per_step(view: View, span: Span) -> float | None:
    """All tokens over the steps that gave them: each accepted token spared one."""
    written = view.server("output_tokens_total").increase(span)
    accepted = view.server("accepted_tokens_total").increase(span)
    if not written or accepted is None or accepted >= written:
        return None
    return written / (written - accepted)


def _per_request(view: View) -> Array:
    """The tokens of each chunk of a request after the first, on average; NaN where they are not
    known, or there are none."""
    later = np.diff(view.chunk_owner, prepend=-1) == 0
    owner, tokens = view.chunk_owner[later], view.chunk_tokens[later]
    count = np.bincount(owner, minlength=len(view.done))
    summed = np.bincount(owner, weights=tokens, minlength=len(view.done))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, summed / count, np.nan)


def _quantile(share: float) -> Callable[[View], float | None]:
    def of(view: View) -> float | None:
        values = _per_request(view)
        if len(values) == 0 or np.isnan(values).any() or not _drafts(view):
            return None
        return float(np.quantile(values, share, method="inverted_cdf"))

    return of


def _drafts(view: View) -> bool:
    """Whether the server counted drafts while it was measured."""
    span = view.span
    return span is not None and bool(view.server("drafts_total").increase(span))


SPECULATION = (
    Metric(
        "draft_tokens_per_draft",
        "server",
        "tokens",
        f"rise of {NEWEST['draft_tokens_total']} / rise of {NEWEST['drafts_total']}",
        "How many tokens a draft has, on average.",
        in_span(_risen("draft_tokens_total", "drafts_total")),
    ),
    Metric(
        "draft_accepted_fraction",
        "server",
        "fraction",
        f"rise of {NEWEST['accepted_tokens_total']} / rise of {NEWEST['draft_tokens_total']}",
        "The share of drafted tokens that the model itself would have written.",
        in_span(_risen("accepted_tokens_total", "draft_tokens_total")),
        better="higher",
    ),
    *(
        Metric(
            f"draft_accepted_at.{place}",
            "server",
            "fraction",
            f"rise of {ACCEPTED_AT} at that position / rise of {NEWEST['drafts_total']}",
            "The share of drafts whose token at that position, from 1, was accepted: one that is "
            "refused ends its draft.",
            in_span(_risen(f"accepted_at_{place}_total", "drafts_total")),
            better="higher",
        )
        for place in range(1, MOST_POSITIONS + 1)
    ),
    Metric(
        "tokens_per_step",
        "server",
        "tokens",
        f"written / (written - accepted): the rises of {NEWEST['output_tokens_total']} and of "
        f"{NEWEST['accepted_tokens_total']}",
        "The tokens that a step gives a request, by the server's own counts. It is the speed-up to "
        "expect of speculation whose drafts cost nothing.",
        in_span(_tokens_per_step),
        better="higher",
    ),
    *(
        Metric(
            f"request_tokens_per_step.{name}",
            "throughput",
            "tokens",
            "tokens after the first chunk / chunks after the first, of each request",
            "The same of single requests, by their streams, where the server counts drafts.",
            number_only(_quantile(share)),
        )
        for name, share in (("min", 0.0), ("p50", 0.5), ("max", 1.0))
    ),
)
