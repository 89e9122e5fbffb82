"""Progress on stderr: a live bar with the time left in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from journal.cli.render import plain
from journal.records import Event, Listener, ignore


@contextmanager
def showing(*, quiet: bool = False) -> Iterator[Listener]:
    """A listener that shows events while the block runs. `quiet` shows nothing unless stderr is
    a terminal, so that scripts that read JSON get nothing else."""
    if sys.stderr.isatty():
        with _bar() as listener:
            yield listener
    elif quiet:
        yield ignore
    else:
        yield _lines()


def _lines() -> Listener:
    """One line for each new message; how far it is, is not told."""
    last = ""

    def listener(event: Event) -> None:
        nonlocal last
        if event.message != last:
            last = event.message
            print(plain(event.message), file=sys.stderr, flush=True)

    return listener


@contextmanager
def _bar() -> Iterator[Listener]:
    """One bar for what is happening now; what was recorded stays on the screen above it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        now: tuple[str, str] = ("", "")

        def listener(event: Event) -> None:
            nonlocal now, task
            if event.stage == "record":
                progress.console.print(plain(event.message), markup=False, highlight=False)
                return
            place = (event.stage, event.message if event.stage == "cell" else "")
            if place != now:
                now = place
                progress.remove_task(task)
                task = progress.add_task("", total=event.total)
            progress.update(
                task,
                completed=event.done,
                total=event.total,
                description=plain(event.message),
            )

        yield listener
