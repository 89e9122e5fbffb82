"""`journal try`."""

from typing import Annotated

import typer

import journal
from journal.cli.options import Home, Json
from journal.language import language, translated


def try_(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its start, or last.")
    ] = "last",
    setting: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="engine.NAME=VALUE",
            help="The change to try. Without it the one that the run's bottleneck calls for.",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=100, help="Changes to try, one after the other.")
    ] = 1,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="MIN", min=0.0, help="Begin nothing beyond this time."),
    ] = None,
    starts: Annotated[
        int, typer.Option("--starts", min=2, max=100, help="Engine starts of each side.")
    ] = 4,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Try a change of an engine: measured in turn with what it replaces, then kept or reverted.

    The run's cell is measured with and without the change, each side with engine starts of its
    own, and once more where that leaves it open. Hypothesis, change, prediction and verdict are in
    the log. With --steps it goes on from what was kept until nothing is left to try.

    Exit code: 0 kept, 1 reverted, 3 undecided (of the last change).

    Examples:

    - `journal try`
    - `journal try 3f9a --set engine.max_num_seqs=64`
    - `journal try --steps 5 --budget 60`
    """
    from journal.cli.progress import showing
    from journal.cli.render import plain, print_json, put
    from journal.plan.settings import engine_difference
    from journal.report.change_words import trial_sentences, tried_json, verdict_sentences
    from journal.report.phrases import words

    with showing(quiet=json) as listener:
        results = journal.try_change(
            run_id,
            home,
            setting=setting,
            steps=steps,
            budget_s=None if budget is None else budget * 60,
            starts=starts,
            listener=listener,
        )
    if json:
        print_json([tried_json(result) for result in results])
    speak = words(language())
    for result in () if json else results:
        put(speak.paragraph(tuple(trial_sentences(result.trial)), plain))
        print("\n".join(map(plain, engine_difference(result.before, result.after))))
        put(speak.paragraph(tuple(verdict_sentences(result)), plain))
        if result.failed:
            put(plain(translated(result.failed)))
    raise typer.Exit({"kept": 0, "reverted": 1, "undecided": 3}[results[-1].verdict])
