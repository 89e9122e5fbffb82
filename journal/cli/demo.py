"""`journal demo`."""

from pathlib import Path
from typing import Annotated

import typer

import journal
from journal.cli.options import Json, Lang
from journal.cli.render import echo


def demo(
    home: Annotated[
        Path, typer.Option("--home", metavar="DIR", help="Where to copy the journal to.")
    ] = Path("demo"),
    lang: Lang = None,
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the log in the browser.")
    ] = True,
    json: Json = False,
) -> None:
    """Copy a recorded journal, write its log, and open it: no engine, no GPU, ten seconds.

    The figures are real; the log says on which hardware they were measured. Every command that
    reads a journal works on the copy.

    Examples:

    - `journal demo`
    - `journal demo --lang zh --no-open`
    - `journal runs --home demo`
    """
    from journal.cli.render import open_page, print_json

    files = journal.demo(home, lang)
    if json:
        print_json({"home": str(home), "markdown": str(files.markdown), "html": str(files.html)})
        return
    echo(f"{files.html}\nlook around with --home {home}: journal runs, show last, log, ui")
    if open_it:
        open_page(files.html)
