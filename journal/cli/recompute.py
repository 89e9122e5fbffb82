"""`journal recompute`."""

from typing import Annotated

import typer

import journal
from journal.cli.options import Home, Json
from journal.cli.render import echo


def recompute(
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One run; all without it.")
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Compute every metric again from the stored raw samples, and store what changed.

    Example:

    - `journal recompute last`
    """
    from journal.cli.render import plural, print_json

    changed = journal.recompute(home, run_id)
    if json:
        print_json([journal.run_json(record) for record in changed])
    else:
        ids = ", ".join(record.id[:8] for record in changed)
        echo(f"{plural(len(changed), 'run')} changed{': ' + ids if ids else ''}")
