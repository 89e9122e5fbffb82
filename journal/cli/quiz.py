"""`journal quiz` and `journal answer`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal.cli.log import date_of
from journal.cli.options import Home, Json, Lang
from journal.cli.render import echo, put
from journal.language import language

if TYPE_CHECKING:
    from journal.report.quiz import QuizQuestion


def quiz(
    day: Annotated[
        str | None,
        typer.Argument(metavar="DATE", help="YYYY-MM-DD; the last day with runs without it."),
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    lang: Lang = None,
    json: Json = False,
) -> None:
    """Ask questions from your own runs, to be worked out with pencil and paper.

    In a terminal each open question waits for an answer; Enter leaves it out. Elsewhere they are
    printed, and `journal answer` takes the answers. Those that are right before the worked answer
    was shown earn "Structure understood" on the checklist.

    Examples:

    - `journal quiz`
    - `journal quiz 2026-11-23 --json`
    """
    from journal.cli.render import plain, print_json

    questions, lang = journal.quiz(home, date_of(day)), language(lang)
    if json:
        print_json([question.as_json(lang) for question in questions])
        return
    if not questions:
        echo("these runs pose no question yet: `journal run quickstart` measures what it takes")
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    for question in questions:
        mark = "x" if question.solved else "-" if question.shown else " "
        put(plain(f"[{mark}] {question.name}: {question.text(lang)}"))
        if asked and not (question.solved or question.shown):
            _ask(question, home, lang)
    if questions and not asked:
        echo("answer with `journal answer NAME VALUE`, such as 93,184 or '12 GiB'")


def _ask(question: "QuizQuestion", home: Home, lang: str) -> None:
    """Wait for answers until one is right or a line is empty."""
    from journal.cli.render import plain
    from journal.errors import UsageError

    while True:
        print("> ", end="", flush=True)
        text = sys.stdin.readline().strip()
        if not text:
            return
        try:
            judged = journal.answer_quiz(question.name, text, home, question.day)
        except UsageError as error:
            echo(str(error))
            continue
        put(plain(judged.text(lang)))
        if judged.right:
            return


def answer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The question, by `journal quiz`.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="A number and its unit, such as '12 GiB' or '3 ms'."),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(
            "--day", metavar="DATE", help="YYYY-MM-DD; the last day with runs without it."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the worked answer; the question earns nothing.")
    ] = False,
    home: Home = "lab",  # type: ignore[assignment]
    lang: Lang = None,
    json: Json = False,
) -> None:
    """Answer a question of `journal quiz`: a right answer is kept and worked out, any other gets a
    hint.

    Exit code: 0 right or shown, 1 not right.

    Examples:

    - `journal answer kv_room 93,184`
    - `journal answer step_floor '3 ms'`
    - `journal answer weights --show`
    """
    from journal.cli.render import plain, print_json
    from journal.errors import UsageError

    if (value is None) != show:
        raise UsageError("give a VALUE, or --show for the worked answer")
    judged, lang = journal.answer_quiz(name, value, home, date_of(day)), language(lang)
    if json:
        print_json(judged.as_json(lang))
    else:
        put(plain(judged.text(lang)))
    if not (judged.right or show):
        raise typer.Exit(1)
