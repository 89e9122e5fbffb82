"""`journal tag`."""

from typing import Annotated, Any

import typer

import journal
from journal.cli.options import Home, Json
from journal.errors import UsageError


def tag(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The tag; without it all are listed.")
    ] = None,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Ids of runs, or `last`.")
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME|ID", help="All runs of an experiment."),
    ] = None,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DATE", help="All runs of a day: YYYY-MM-DD.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it; its runs stay.")] = False,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Name runs, such as a baseline: `compare` and `check` take the tag as a side.

    Without RUN, --experiment and --day it names the runs of the last experiment. A name that is
    there already moves to the new runs.

    Examples:

    - `journal tag baseline`
    - `journal tag v0.32 --experiment nightly`
    - `journal check --baseline baseline --candidate today`
    - `journal tag baseline --remove`
    """
    from journal.cli.render import echo, plain, plural, print_json

    sides = [f"run:{','.join(runs)}"] if runs else []
    sides += [f"experiment:{experiment}"] if experiment else []
    sides += [f"day:{day}"] if day else []
    if (name is None or remove) and sides:
        if name is None:
            raise UsageError("give a NAME for these runs")
        raise UsageError("--remove takes no runs")
    if name is None:
        if remove:
            raise UsageError("--remove needs the NAME of a tag")
        made: Any = journal.tags(home)
    elif remove:
        journal.untag(name, home)
        made = ()
    else:
        made = (journal.tag(name, *sides, home=home),)
    if json:
        print_json([each.as_json() for each in made])
        return
    if name is not None and remove:
        echo(plain(f"the tag {name} is removed; its runs stay"))
    for each in made:
        at = each.tagged_at.astimezone().strftime("%Y-%m-%d %H:%M")
        echo(plain(f"{each.name}: {plural(len(each.run_ids), 'run')}, tagged {at}"))
