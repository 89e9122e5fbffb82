"""`journal runs`, `journal show` and `journal log`."""

from typing import Annotated

import typer

from journal.cli.options import Home, Json


def runs(
    home: Home = "lab",  # type: ignore[assignment]
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="Only the newest N.")] = None,
    json: Json = False,
) -> None:
    """List the runs of this journal, the newest last.

    Examples:

    - `journal runs -n 20`
    - `journal runs --json | jq '.[].ttft_s.p50'`
    """
    from journal.cli.render import print_json, print_records
    from journal.record.store import open_store
    from journal.report.rows import as_json

    with open_store(home) as store:
        records = store.runs(limit=limit)
    if json:
        print_json([as_json(record) for record in records])
    elif records:
        print_records(records)
    else:
        print(f"no runs in {home} yet: `journal run` makes the first")


def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, its start, or last.")],
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Show one run in full, its doubts first.

    Examples:

    - `journal show last`
    - `journal show 3f9a --json`
    """
    from journal.cli.render import print_json, print_record
    from journal.record.store import open_store
    from journal.report.rows import as_json

    with open_store(home) as store:
        record = store.run(run_id)
    if json:
        print_json(as_json(record))
    else:
        print_record(record)


def log(
    day: Annotated[
        str | None, typer.Argument(metavar="DATE", help="YYYY-MM-DD; today without it.")
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    lang: Annotated[str, typer.Option("--lang", help="en, or zh for Simplified Chinese.")] = "en",
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    json: Json = False,
) -> None:
    """Write the learning log of a day, as Markdown and as one HTML file.

    Examples:

    - `journal log --open`
    - `journal log 2026-11-23 --lang zh`
    """
    from datetime import date

    from journal.cli.render import print_json
    from journal.errors import UsageError
    from journal.record.store import open_store
    from journal.report.log import write_log

    try:
        wanted = date.fromisoformat(day) if day else None
    except ValueError as error:
        raise UsageError(f"{day!r} is not a date: write it as YYYY-MM-DD") from error
    with open_store(home) as store:
        files = write_log(store, home, wanted, lang=lang)
    if json:
        print_json({"markdown": str(files.markdown), "html": str(files.html)})
    else:
        print(f"{files.markdown}\n{files.html}")
    if open_it:
        typer.launch(str(files.html.resolve()))
