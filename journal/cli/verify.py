"""`journal verify`."""

import sys

import typer

from journal.cli.options import Home, Json
from journal.cli.render import echo


def verify(
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Read every row of the journal, and all samples against their checksums.

    Nothing is changed. A flipped bit, a damaged row and a missing file are each named; the exit
    code is 1 then.

    Example:

    - `journal verify --home lab`
    """
    from dataclasses import asdict

    from journal.cli.render import plain, plural, print_json
    from journal.store.verify import verify as verify_store

    found = verify_store(home)
    if json:
        print_json({**asdict(found), "ok": found.ok})
    else:
        read = f"{plural(found.rows, 'row')} and the samples of {plural(found.samples, 'run')} read"
        old = f"; {plural(found.without_checksum, 'request')} of before checksums"
        echo(read + (old if found.without_checksum else ""))
        for fault in found.faults:
            echo(f"journal: {plain(fault)}", file=sys.stderr)
        echo("nothing is damaged" if found.ok else f"{plural(len(found.faults), 'fault')} found")
    if not found.ok:
        raise typer.Exit(1)
