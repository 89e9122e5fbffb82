"""docs/commands.md shows every command with its help, an example and its options, as the code has
them. `make docs` writes it again."""

import inspect
import re
from pathlib import Path
from typing import Any

import typer

from journal.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD = """# Commands

Written by `make docs` from the commands themselves; do not edit. `--help` of each says the same.
"""


def commands() -> list[tuple[str, str, Any]]:
    """The panel, the name and the command, for each command, those of a group included."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        panel = command.rich_help_panel
        for inner, nested in getattr(command, "commands", {}).items():
            found.append((panel, f"{name} {inner}", nested))
        if not hasattr(command, "commands"):
            found.append((panel, name, command))
    return found


def page() -> str:
    """The page in Markdown, one section for each panel of `journal --help`."""
    lines, last = [HEAD], None
    for panel, name, command in commands():
        if panel != last:
            lines += [f"## {panel}", ""]
            last = panel
        lines += [f"### journal {name}", "", inspect.cleandoc(command.help or ""), ""]
        lines += [*options_table(command), ""]
    return "\n".join(lines).rstrip() + "\n"


def options_table(command: Any) -> list[str]:
    """A row for each argument and option: its spelling, and what it does with its default."""
    context = typer.Context(command)
    records = [each.get_help_record(context) for each in command.params if each.name != "help"]
    rows = [f"| `{_cell(record[0])}` | {_cell(record[1])} |" for record in records if record]
    return ["| argument or option | what it does |", "| :--- | :--- |", *rows] if rows else []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == page(), "make docs writes it again"


def test_every_command_has_an_example_and_every_option_a_sentence() -> None:
    for _, name, command in commands():
        assert re.search(rf"`journal {name}", command.help or ""), f"journal {name} has no example"
        for parameter in command.params:
            assert parameter.help or parameter.name == "help", f"journal {name}: {parameter.name}"


if __name__ == "__main__":
    PAGE.write_text(page())
