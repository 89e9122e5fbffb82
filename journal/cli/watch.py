"""`journal watch`: a live view of a server, for a terminal of 80 x 24."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal.cli.options import Header, Home, Json, Server, api_key, headers

if TYPE_CHECKING:
    from journal.monitor.watch import Look, Watch
    from journal.records.engine import Endpoint

KEPT = 240  # looks: the widest sparkline


def watch(
    endpoint: Server = None,
    interval: Annotated[
        float, typer.Option("--interval", "-n", metavar="S", min=0.2, help="Between two looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    header: Header = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Watch a server: its memory, its load and its latency, as `watch nvidia-smi` shows a GPU.

    With `--json` each look is one line of JSON; times are in s, memory in bytes.

    Examples:

    - `journal watch`
    - `journal watch --endpoint http://127.0.0.1:8000/v1 --interval 2`
    - `journal watch --once --json`
    """
    with journal.watch(endpoint, home, api_key=api_key(), headers=headers(header)) as watched:
        if once:
            watched.look()
            time.sleep(interval)
            look = watched.look()
            _print_json(look) if json else _print(watched.endpoint, look, interval)
            raise typer.Exit(0 if look.answers else 1)
        try:
            _go_on(watched, interval, json)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _go_on(watched: "Watch", interval_s: float, json: bool) -> None:
    """Look until a KeyboardInterrupt, on an absolute rhythm."""
    from journal.monitor.watch import WINDOW_S

    if json:
        _repeat(interval_s, lambda: _print_json(watched.look()))
    elif not sys.stdout.isatty():
        _repeat(interval_s, lambda: _print(watched.endpoint, watched.look(), WINDOW_S))
    else:
        from rich.live import Live

        from journal.cli.watch_view import screen

        looks: deque[Look] = deque(maxlen=KEPT)
        with Live(screen=True, auto_refresh=False) as live:

            def show() -> None:
                looks.append(watched.look())
                size = live.console.size
                view = screen(watched.endpoint, looks, interval_s, size.width, size.height)
                live.update(view, refresh=True)

            _repeat(interval_s, show)


def _repeat(interval_s: float, do: Callable[[], None]) -> None:
    due_s = time.monotonic()
    while True:
        do()
        due_s = max(due_s + interval_s, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))


def _print_json(look: "Look") -> None:
    from dataclasses import asdict

    from journal.cli.render import as_json_text

    print(as_json_text({**asdict(look), "at": look.at.isoformat()}), flush=True)


def _print(endpoint: "Endpoint", look: "Look", window_s: float) -> None:
    """One look by itself, whose latencies are those of `window_s`."""
    from rich.console import Console

    from journal.cli.watch_view import screen

    console = Console()
    console.print(screen(endpoint, [look], None, console.width, None, window_s=window_s))
