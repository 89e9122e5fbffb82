"""Progress on stderr: a live bar with the time left in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from journal.cli.prose import at_width
from journal.cli.render import echo, plain, put_styled, word
from journal.language import translated
from journal.records.progress import Event, Listener, ignore
from journal.units import seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, ProgressColumn, TaskID


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
    """One line for each new message, without the share that is done."""
    last: dict[str | None, str] = {}

    def listener(event: Event) -> None:
        if event.message != last.get(event.where):
            last[event.where] = event.message
            echo(plain(_placed(event)), file=sys.stderr, flush=True)

    return listener


def _placed(event: Event) -> str:
    return event.message if event.where is None else f"{event.where}: {event.message}"


def _place(event: Event) -> tuple[str, str]:
    """What sets two bars apart: the stage, with a cell by its name, a phase of a start by its
    number."""
    return event.stage, {"cell": event.message, "engine": f"{event.done:g}"}.get(event.stage, "")


def time_left() -> "ProgressColumn":
    """A column with the time left, empty where that is not known."""
    from rich.progress import Task, TimeRemainingColumn
    from rich.text import Text

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            known = task.time_remaining is not None
            return Text.assemble(word("left "), super().render(task)) if known else Text()

    return Left()


def bars(console: "Console") -> "Progress":
    """Bars with their times, each below a text of as many lines as it takes on `console`."""
    from rich import progress as parts
    from rich.text import Text

    class Bars(parts.Progress):
        def get_renderables(self) -> "Iterator[RenderableType]":
            for task in self.tasks:
                yield Text(at_width(task.description, self.console.width))
                yield self.make_tasks_table([task])

    times = parts.TimeElapsedColumn(), time_left()
    columns = parts.SpinnerColumn(), parts.BarColumn(bar_width=24), *times
    return Bars(*columns, console=console, transient=True)


@contextmanager
def _bar() -> Iterator[Listener]:
    """One bar for what is happening now, or for each engine where several are measured at a time;
    what was recorded, what disturbs, and each phase of a start with the time that it took, stays
    on the screen above."""
    from rich.console import Console

    with bars(Console(stderr=True)) as progress:
        shown: dict[str | None, tuple[TaskID, tuple[str, str]]] = {
            None: (progress.add_task(word("starting"), total=None), ("", ""))
        }

        def stay(text: str) -> None:
            put_styled(progress.console, plain(text))

        def listener(event: Event) -> None:
            if event.stage in ("record", "tracking", "warning"):
                stay(translated(event.message))
                return
            bar, now = shown.get(event.where, (None, None))
            place = _place(event)
            if bar is None or place != now:
                if bar is not None:
                    if now and now[0] == "engine":
                        task = next(task for task in progress.tasks if task.id == bar)
                        stay(f"{task.description}  {seconds(task.elapsed)}")
                    progress.remove_task(bar)
                bar = progress.add_task("", total=event.total)
                shown[event.where] = bar, place
            progress.update(
                bar,
                completed=event.done,
                total=event.total,
                description=plain(translated(_placed(event))),
            )

        yield listener
