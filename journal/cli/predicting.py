"""Predictions of the user, taken before anything is measured: by option, or asked in a terminal."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from journal.cli.render import echo
from journal.errors import SpecError
from journal.language import translated

if TYPE_CHECKING:
    from journal.records.experiment import Experiment

MOST = 60

Predict = Annotated[
    list[str] | None,
    typer.Option(
        "--predict",
        metavar="KEY=VALUE",
        help="What you expect, kept before the first request and judged in the log: a metric with "
        "underscores for dots, in SI units, such as ttft_s_p50=0.05, or of some cells, such as "
        "tpot_s@batch=8=0.02. Repeatable; in a terminal it is asked.",
    ),
]


def predicted(
    experiment: "Experiment", texts: list[str] | None, model: str | None, *, ask: bool
) -> "Experiment":
    """`experiment` with the predictions of the options, or of the answers where there are none and
    somebody may be asked. Raises SpecError for one that cannot be judged."""
    from journal.cli.asked_experiment import with_expected

    given = predictions_given(texts)
    if ask and not given:
        given = ask_predictions(experiment, model)
    return with_expected(experiment, given)


def predictions_given(texts: list[str] | None) -> dict[str, float]:
    """The predictions in texts of the form KEY=VALUE, in SI units; SpecError for another form."""
    found = {}
    for text in texts or []:
        key, _, value = text.rpartition("=")
        number = _number(value, 1.0)
        if not key.strip() or number is None:
            raise SpecError(
                f"--predict {text[:MOST]!r} is not KEY=VALUE, such as ttft_s_p50=0.05 or "
                "output_tokens_per_s@batch=8=400"
            )
        found[key.strip()] = number
    return found


def ask_predictions(experiment: "Experiment", model: str | None) -> dict[str, float]:
    """Ask the numbers that `experiment` poses, where somebody sits at a terminal; those that were
    answered, in SI units. Enter leaves one out."""
    from journal.metrics.table import metric_of_key, named, place_of_key
    from journal.plan.cells import cells
    from journal.plan.posed import posed

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return {}
    keys = posed(cells(experiment, model=model or "served"))
    if keys:
        echo("Predict before you measure; Enter leaves a question out.", file=sys.stderr)
    answers = {}
    for key in keys:
        metric, place = named(metric_of_key(key)), place_of_key(key)
        unit, factor = ("ms", 1e-3) if metric.unit == "s" else (metric.unit, 1.0)
        where = f"batch {place['batch']:g}, prompt {place['prompt_tokens']:g}"
        print(translated(f"{metric.name}, {where}, in {unit}: "), end="", file=sys.stderr)
        sys.stderr.flush()
        value = _number(sys.stdin.readline(), factor)
        if value is not None:
            answers[key] = value
    return answers


def _number(text: str, factor: float) -> float | None:
    """The positive number in `text`, times `factor`; None for any other text."""
    try:
        value = float(text.strip().replace(",", "")) * factor
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
