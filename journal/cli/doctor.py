"""`journal doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal.cli.options import Home, Json, Python

if TYPE_CHECKING:
    from journal.records.notebook import Checkup

MARK = {"ok": ("ok", "green"), "note": ("note", "yellow"), "missing": ("MISSING", "red")}


def doctor(
    python: Python = None,
    port: Annotated[int, typer.Option("--port", help="The port to serve on.")] = 8000,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Check whether serving can work on this host, and say what to do.

    What it finds is kept, and stands in the environment of later runs.

    Exit code: 0 serving can work here (with or without a GPU), 1 something needed is missing.

    Examples:

    - `journal doctor`
    - `journal doctor --python ~/vllm/bin/python --json`
    """
    from dataclasses import asdict

    from journal.cli.progress import showing
    from journal.cli.render import print_json

    with showing(quiet=json) as listener:
        checkup = journal.doctor(home, python=python, port=port, listener=listener)
    verdict = journal.checkup_verdict(checkup)
    if json:
        made_at = checkup.made_at.isoformat()
        print_json({"ok": checkup.ok, "verdict": verdict, **asdict(checkup), "made_at": made_at})
    else:
        _print(checkup, verdict)
    raise typer.Exit(0 if checkup.ok else 1)


def _print(checkup: "Checkup", verdict: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from journal.cli.render import plain, put_styled, word
    from journal.language import translated

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(word("check"), no_wrap=True)
    table.add_column("")
    table.add_column(word("found, and what to do"), overflow="fold")
    for check in checkup.checks:
        finding = Text("\n".join(plain(line) for line in translated(check.found).splitlines()))
        if check.advice:
            finding.append(f"\n-> {plain(translated(check.advice))}", style="cyan")
        mark, colour = MARK[check.state]
        table.add_row(word(check.name), Text(word(mark), colour), finding)
    console = Console()
    console.print(table)
    put_styled(console, plain(translated(verdict)), "bold" if checkup.ok else "bold red")
