"""Text, JSON and tables as the commands print them: safe for a terminal and for scripts."""

import json
import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal.cli.prose import at_width, in_lines
from journal.language import catalogue, label, language, translated
from journal.redaction import hidden, hidden_in

if TYPE_CHECKING:
    from rich.console import Console

    from journal.report.log import LogFiles

WIDE = 160  # columns of a console that is no terminal


def plain(text: str) -> str:
    """`text` without secrets, and with control characters made visible, so that none reaches the
    terminal."""
    return "".join(
        f"\\x{ord(char):02x}" if unicodedata.category(char) in ("Cc", "Cf") else char
        for char in hidden(text)
    )


def readable(text: str) -> str:
    """A model's words for a terminal: as `plain`, but with their lines, tabs and joined letters."""
    return "".join(char if char in "\n\t\u200c\u200d" else plain(char) for char in hidden(text))


def echo(text: str, **how: Any) -> None:
    """Print `text` in the user's language, in lines that fit the terminal; `how` are the options of
    print."""
    put(translated(text), **how)


def put(text: str, **how: Any) -> None:
    """Print `text`, which is in the user's language already, in lines that fit the terminal."""
    print(in_lines(text, how.get("file")), **how)


def put_styled(console: "Console", text: str, style: str = "") -> None:
    """Print `text`, which is in the user's language already, on `console`, in lines that fit it."""
    lines = at_width(text, console.width)
    console.print(lines, style=style, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """`value` as indented JSON on stdout, without secrets, and with control characters escaped."""
    print(as_json_text(value, indent=2))


def as_json_text(value: Any, indent: int | None = None) -> str:
    text = json.dumps(
        hidden_in(value), indent=indent, ensure_ascii=False, default=str, allow_nan=False
    )
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        json.dumps(char)[1:-1]
        if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"
        else char
        for char in text
    )


def warn_of_edits(log: "LogFiles") -> None:
    """Say on stderr where the user's edits of a log are that its new text has not."""
    if log.edited:
        echo(
            f"{log.markdown.name} was changed outside the places for your own words and is "
            f"written anew; as it was, it is kept in {log.edited}",
            file=sys.stderr,
        )


def open_page(page: Path) -> None:
    """Show a page in the browser, or say on stderr that none, or no display, is here."""
    import typer

    seen = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not seen:
        echo(
            "there is no display here to open it on: copy the file home, or serve it from here "
            "with journal log --serve",
            file=sys.stderr,
        )
    elif typer.launch(str(page.resolve())) != 0:
        echo("there is no browser here to open it with (xdg-open)", file=sys.stderr)


def plural(count: int, what: str) -> str:
    if counted := language() == "zh" and catalogue().get(f"{{0}} {what}"):
        return counted.format(f"{count:,}")
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def word(text: str) -> str:
    """A heading or a label in the user's language; as it is where it is a name."""
    return translated(text) if " " in text else label(text)


def wide_console() -> "Console":
    """A console of the terminal's width; elsewhere of COLUMNS, and without that wide enough for
    most tables."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(width=None if known else WIDE)
