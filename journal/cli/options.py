"""Options that several commands share, and the reading of their values."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from journal.errors import SpecError

Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="JOURNAL_HOME", help="Where the journal lives: its database and logs."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, and nothing else.")]

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A .toml file, or the name of an experiment that ships with journal. Without it: "
        "quickstart, or mistral where there is an NVIDIA GPU.",
    ),
]

Model = Annotated[
    str | None,
    typer.Option("--model", help="The model to serve, or the name of the one at the endpoint."),
]

Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PATH", help="The interpreter that has vLLM installed."),
]

Server = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="The server's OpenAI base URL. Without it: the one that `journal serve` keeps up "
        "here, else http://127.0.0.1:8000/v1.",
    ),
]


KEYS = ("JOURNAL_API_KEY", "OPENAI_API_KEY")


def key_variable() -> str | None:
    """The name of the variable that holds the key for servers; None where none does."""
    return next((name for name in KEYS if os.environ.get(name)), None)


def api_key() -> str | None:
    """The key for servers, from the environment."""
    name = key_variable()
    return None if name is None else os.environ[name]


def integers(text: str | None, option: str) -> tuple[int, ...] | None:
    """The whole numbers above 0 in "1,8,32"; SpecError names `option` and the value."""
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = (0,)
    if min(values) < 1:
        raise SpecError(
            f"{option} {text[:60]!r} is not whole numbers above 0 with commas, such as 1,8"
        )
    return values


def rates(text: str | None, option: str) -> tuple[float, ...] | None:
    """The positive numbers in "0.5,2"; SpecError names `option` and the value."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (0.0,)
    if not all(0 < value < float("inf") for value in values):
        raise SpecError(f"{option} {text[:60]!r} is not numbers above 0 with commas, such as 0.5,2")
    return values


def size(text: str, option: str) -> int:
    """The bytes in "24GiB" (binary), "24GB" (decimal) or "24" (GiB); SpecError names `option`
    and the value."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgt])(i?)b)?", text.strip().lower())
    if match is None or not 0 < float(match[1]) < 1e15:
        raise SpecError(f"{option} {text[:60]!r} is not a size above 0, such as 24GiB, 24GB or 24")
    number, prefix, binary = match.groups()
    power = "kmgt".index(prefix or "g") + 1
    base = 1024.0 if binary or not prefix else 1000.0
    return round(float(number) * base**power)
