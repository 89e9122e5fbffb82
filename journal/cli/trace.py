"""`journal trace record`."""

from pathlib import Path
from typing import Annotated

import typer

trace = typer.Typer(
    no_args_is_help=True,
    help="Record what NVIDIA's driver says of the GPUs while a server is busy.\n\nExample:\n\n"
    "- `journal trace record --seconds 20 --out serving.trace`",
)


@trace.callback()
def _group() -> None:
    pass


@trace.command()
def record(
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=600, help="How long to look.")
    ] = 10.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to; else it is printed.")
    ] = None,
) -> None:
    """Record NVML's own answers about the GPUs of this host, call by call, while a server is
    busy: the tests give such a trace again through a stand-in for the driver.

    It holds the GPUs' UUIDs and the ids of the processes on them.

    Examples:

    - `journal trace record --seconds 20 --out serving.trace`
    """
    from journal.cli.progress import showing
    from journal.errors import UsageError
    from journal.measure import nvml_trace as traces
    from journal.private import write_private
    from journal.records.progress import Event

    with showing(quiet=out is None) as listener:
        message = f"looking at the GPUs for {seconds:g} s"
        text = traces.record_nvml(
            seconds, on_look=lambda passed_s: listener(Event("cell", message, passed_s, seconds))
        )
    if out is None:
        print(text, end="")
        return
    try:
        write_private(out, text)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}): choose another") from error
    print(f"{out}: {len(text.splitlines())} lines")
