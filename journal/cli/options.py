"""Options that several commands share, and the reading of their values."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from journal.errors import SpecError
from journal.redaction import shown_url

if TYPE_CHECKING:
    from journal.records.engine import Access


def _folder(text: str) -> Path:
    """The folder of a journal. Raises SpecError for an address, of which a folder would be made."""
    if "://" in text:
        raise SpecError(
            f"{shown_url(text)!r} is an address, and --home is a folder: name a database in "
            "JOURNAL_DB"
        )
    return Path(text)


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="JOURNAL_HOME",
        metavar="PATH",
        parser=_folder,
        help="Where the journal lives: its database and logs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, and nothing else.")]

Lang = Annotated[
    str | None,
    typer.Option(
        "--lang",
        help="en, or zh for Simplified Chinese; by JOURNAL_LANG or the locale without it.",
    ),
]

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


Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'NAME: VALUE'",
        help="A header of every request, such as a key where the server wants it in another than "
        "Authorization; repeatable. Its value is not stored and not shown.",
    ),
]

Body = Annotated[
    list[str] | None,
    typer.Option(
        "--body",
        metavar="KEY=JSON",
        help="A field of every request, such as top_p=0.9; KEY= alone leaves a field out. "
        "Repeatable.",
    ),
]

SloTtft = Annotated[
    float | None,
    typer.Option("--slo-ttft-ms", metavar="MS", help="A request is good up to this TTFT."),
]

SloTpot = Annotated[
    float | None,
    typer.Option("--slo-tpot-ms", metavar="MS", help="A request is good up to this TPOT."),
]

SloE2e = Annotated[
    float | None,
    typer.Option("--slo-e2e-ms", metavar="MS", help="A request is good up to this E2E."),
]

KEYS = ("JOURNAL_API_KEY", "OPENAI_API_KEY")


def key_variable() -> str | None:
    """The name of the variable that holds the key for servers; None where none does."""
    return next((name for name in KEYS if os.environ.get(name)), None)


def api_key() -> str | None:
    """The key for servers, from the environment."""
    name = key_variable()
    return None if name is None else os.environ[name]


def headers(given: list[str] | None) -> dict[str, str]:
    """The headers in texts of the form "NAME: VALUE"; SpecError for another form, without the
    text, which may be a key."""
    named = {}
    for text in given or []:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise SpecError("--header wants 'NAME: VALUE', such as --header 'api-key: ...'")
        named[name.strip()] = value.strip()
    return named


def body_fields(given: list[str] | None) -> dict[str, Any]:
    """The fields in texts of the form KEY=JSON, None for those to leave out. Text that is not JSON
    stands for itself. SpecError for another form."""
    fields: dict[str, Any] = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise SpecError(f"--body {text!r} is not KEY=JSON, such as top_p=0.9")
        try:
            fields[key.strip()] = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            if value.lstrip()[:1] in ("{", "[", '"'):
                raise SpecError(f"--body {text!r}: what follows {key}= is not JSON") from None
            fields[key.strip()] = value
    return fields


def access(given: list[str] | None) -> "Access":
    """The key for servers, from the environment, and the headers of the options."""
    from journal.serve.endpoint import access_of

    return access_of(api_key(), headers(given))


def integers(text: str | None, option: str, least: int = 1) -> tuple[int, ...] | None:
    """The whole numbers from `least` up in "1,8,32"; SpecError names `option` and the value."""
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = (least - 1,)
    if min(values) < least:
        numbers = f"whole numbers {'above' if least else 'from'} 0{'' if least else ' up'}"
        raise SpecError(f"{option} {text[:60]!r} is not {numbers} with commas, such as 1,8")
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
