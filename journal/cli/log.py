"""`journal log`, `journal note` and `journal checklist`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal.cli.options import Home, Json, Lang
from journal.cli.render import echo
from journal.language import language

if TYPE_CHECKING:
    from datetime import date


def log(
    day: Annotated[
        str | None, typer.Argument(metavar="DATE", help="YYYY-MM-DD; today without it.")
    ] = None,
    week: Annotated[bool, typer.Option("--week", help="The whole week of that day.")] = False,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME|ID", help="All runs of one experiment instead."),
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    lang: Lang = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve all logs of this home on a loopback port, read-only."),
    ] = False,
    port: Annotated[
        int, typer.Option("--port", help="The port for --serve; 0 takes a free one.")
    ] = 8080,
    json: Json = False,
) -> None:
    """Write the learning log of a day, a week or an experiment, as Markdown and as one HTML file.

    Examples:

    - `journal log --open`
    - `journal log 2026-11-23 --lang zh`
    - `journal log --week`
    - `journal log --serve`
    - `journal log --experiment mistral-vs-llama3`
    """
    from journal.cli.render import open_page, print_json, warn_of_edits

    files = journal.log(home, date_of(day), week=week, experiment=experiment, lang=lang)
    if json:
        edited = str(files.edited) if files.edited else None
        print_json({"markdown": str(files.markdown), "html": str(files.html), "edited": edited})
    else:
        print(f"{files.markdown}\n{files.html}")
    warn_of_edits(files)
    if open_it:
        open_page(files.html)
    if serve:
        from journal.monitor.log_server import serve_logs

        serve_logs(home, port, on_ready=_tell_address)


def _tell_address(url: str) -> None:
    """Print where the logs are served, and the tunnel that brings them to another computer."""
    import platform
    from urllib.parse import urlsplit

    port = urlsplit(url).port
    print(url)
    host = platform.node()
    echo(f"from another computer: ssh -L {port}:127.0.0.1:{port} {host}, then {url}", flush=True)


def note(
    text: Annotated[str, typer.Argument(help="Your own words; - reads them from standard input.")],
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="The run that they are about.")
    ] = None,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DATE", help="YYYY-MM-DD; today without it.")
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Keep your own words in the journal; the log of the day shows them.

    They stay as they are, byte for byte, however often the log is written. In the log's Markdown
    they can be changed, and new ones added, between the marks for words.

    Examples:

    - `journal note "Batch 16 is where TPOT begins to grow."`
    - `journal note "The GPU was hot." --run last`
    """
    from dataclasses import asdict

    from journal.cli.render import print_json

    words = text
    if text == "-":
        words = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    written = journal.note(words, home, run=run_id, day=date_of(day))
    if json:
        shown = written.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        print_json(asdict(written) | {"text": shown})
    else:
        echo(f"{written.id[:8]} kept; `journal log {written.day}` shows it")


def checklist(
    home: Home = "lab",  # type: ignore[assignment]
    lang: Lang = None,
    json: Json = False,
) -> None:
    """Show which steps of the two weeks are done, by what the journal recorded.

    Example:

    - `journal checklist`
    """
    from journal.cli.render import plain, print_json, put

    steps = [step.as_json(language(lang)) for step in journal.checklist(home)]
    if json:
        print_json(steps)
        return
    for step in steps:
        recorded = f" ({step['kind']} {step['id'][:8]})" if step["id"] else ""
        evidence = f": {step['evidence']}" if step["evidence"] else ""
        put(plain(f"[{'x' if step['done'] else ' '}] {step['title']}{evidence}{recorded}"))


def date_of(text: str | None) -> "date | None":
    """The date in an option; UsageError for other text."""
    from datetime import date

    from journal.errors import UsageError

    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date: write it as YYYY-MM-DD") from error
