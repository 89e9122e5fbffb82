"""`journal rent`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from journal.cli.options import Json
from journal.cli.render import echo


def rent(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A .toml file, or one that ships.")
    ],
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="NAME[:N]",
            help="The GPU, and how many. By default the smallest on which the largest cell fits.",
        ),
    ] = None,
    cloud: Annotated[
        str | None,
        typer.Option("--cloud", help="vast, runpod, lambda or paperspace; any by default."),
    ] = None,
    hours: Annotated[
        float, typer.Option("--hours", help="The longest that the experiment may run.")
    ] = 4.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="Where to write the task file.")
    ] = None,
    launch: Annotated[
        bool,
        typer.Option("--launch", help="Hand it to SkyPilot, fetch the journal, end the machine."),
    ] = False,
    json: Json = False,
) -> None:
    """Write a SkyPilot task that runs an experiment on a rented GPU, and ends the machine.

    Nothing is rented without `--launch`, which needs SkyPilot and an account at the cloud.

    Examples:

    - `journal rent mistral --gpu A100-80GB --cloud runpod`
    - `journal rent experiments/batch-size.toml --hours 2 --out task.yaml`
    - `journal rent mistral --gpu L40S --cloud vast --launch`
    """
    from dataclasses import asdict

    from journal.cli.render import print_json
    from journal.host.rent import launch as launch_it
    from journal.host.rent import rental, write_task

    rented = rental(experiment, gpu=gpu, cloud=cloud, hours=hours)
    path = out or Path(f"{rented.name}.yaml")
    write_task(rented, path)
    if json:
        print_json(asdict(rented) | {"path": str(path)})
    else:
        for hint in rented.hints:
            echo(hint)
        echo(f"{path}: {rented.count} x {rented.gpu}, for {rented.hours:g} h at most")
    folder = Path(rented.name)
    if launch:
        ended_well = launch_it(rented, path, folder, say=lambda step: echo(step, file=sys.stderr))
        echo(f"next: journal merge {folder / 'journal.db'}", file=sys.stderr)
        raise typer.Exit(0 if ended_well else 1)
    if not json:
        echo(f"next: sky launch -c {rented.name} {path}, or the same with --launch")
