"""The rows of the table on the quality of the model, by a short check."""

from journal.metrics.row import Metric, Shown, number_only
from journal.metrics.view import View


def perplexity(view: View) -> float | None:
    """The perplexity over the passage; None without a check."""
    quality = view.samples.facts.quality
    return None if quality is None else quality.perplexity


def bits_per_byte(view: View) -> float | None:
    """The bits per byte of the passage; None without a check."""
    quality = view.samples.facts.quality
    return None if quality is None else quality.bits_per_byte


QUALITY = (
    Metric(
        "perplexity",
        "quality",
        "1",
        "exp(-sum of log p(token given those before it) / tokens), by `prompt_logprobs`",
        "How surprised the model is by each token of the passage. Comparable between builds that "
        "share a tokenizer.",
        number_only(perplexity),
        better="lower",
        exact=True,
    ),
    Metric(
        "bits_per_byte",
        "quality",
        "bits/byte",
        "-sum of log2 p(token given those before it) / bytes of the passage",
        "The same information, shared out over the text: comparable between tokenizers.",
        number_only(bits_per_byte),
        better="lower",
        exact=True,
    ),
    Metric(
        "task_score",
        "quality",
        "1",
        "as the file of lm-evaluation-harness gives it; its interval is that of the standard error",
        "How well the model did on a task. Such runs are imported; no run of the journal's own has "
        "one.",
        number_only(lambda _: None),
        better="higher",
        label="score",
        shown=Shown(headline=True, column=110, precise=True),
    ),
)
