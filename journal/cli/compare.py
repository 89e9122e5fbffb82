"""`journal compare`."""

from pathlib import Path
from typing import Annotated

import typer

import journal
from journal.cli.options import Home, Json, Lang
from journal.language import language

SideOption = Annotated[
    str,
    typer.Argument(
        help="A run's id (or several, with commas), an experiment's name or id, a model, a day "
        "or a tag."
    ),
]


def compare(
    a: SideOption,
    b: SideOption,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="FIELD,FIELD", help="One row for each of these, not cell."),
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML file too.")
    ] = None,
    lang: Lang = None,
    json: Json = False,
) -> None:
    """Compare B with A, cell by cell: ratios with intervals, and what can be said of them.

    A and B are runs, experiments, models, days or tags; `run:`, `experiment:`, `model:`, `day:` or
    `tag:` before a name says which. Runs that failed or cannot be believed are never used.

    Examples:

    - `journal compare Mistral-7B-Instruct-v0.2 Meta-Llama-3-8B-Instruct`
    - `journal compare yesterday today --by batch,prompt_tokens`
    - `journal compare 3f9a 81c2 --json`
    """
    from journal.cli.page_text import print_page
    from journal.cli.render import print_json
    from journal.report.log import as_html, write_text
    from journal.report.phrases import words
    from journal.report.versus import comparison_page

    speak = words(language(lang))
    comparison = journal.compare(
        a, b, home, by=[name.strip() for name in by.split(",")] if by else ()
    )
    if html:
        write_text(html, as_html(comparison_page(comparison), speak, {}))
    if json:
        print_json(comparison.as_json())
    else:
        print_page(comparison_page(comparison, whole_rows=True), speak)
