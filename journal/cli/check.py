"""`journal check`."""

from pathlib import Path
from typing import Annotated

import typer

import journal
from journal.cli.options import Home, Json
from journal.cli.render import echo
from journal.errors import SpecError

EXIT_CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


def check(
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", metavar="A", help="Runs, an experiment, a model, a day or a tag."
        ),
    ],
    candidate: Annotated[
        str, typer.Option("--candidate", metavar="B", help="The side that may be worse.")
    ],
    max_regression: Annotated[
        list[str] | None,
        typer.Option(
            "--max-regression",
            metavar="METRIC=PERCENT",
            help="The change for the worse that is allowed, such as ttft_s.p50=5%; may be repeated."
            " Without it 5% each for throughput, TTFT and TPOT.",
        ),
    ] = None,
    across: Annotated[
        str | None,
        typer.Option(
            "--across",
            metavar="NAME,NAME",
            help="Surroundings that may differ, such as engine_version.",
        ),
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit's XML too.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown too.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether a candidate is worse than a baseline by more than is allowed: a gate for CI.

    PASS where the whole 95% interval lies within the limit, FAIL where it lies beyond, and
    INCONCLUSIVE else, with how many repeats would decide. Flagged or failed runs and surroundings
    that differ are never a PASS.

    Exit code: 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 a wrong request.

    Examples:

    - `journal check --baseline day:2026-11-20 --candidate day:2026-11-27`
    - `journal tag baseline`, later `journal check --baseline baseline --candidate today`
    - `journal check --baseline before --candidate after --max-regression output_tokens_per_s=3%`
    - `journal check --baseline before --candidate after --across engine_version --junit gate.xml`
    """
    from journal.cli.render import plain, print_json
    from journal.report.gate_page import gate_junit, gate_markdown, gate_sentences
    from journal.report.log import write_text

    gate = journal.check(
        baseline,
        candidate,
        home,
        limits=dict(map(_limit, max_regression)) if max_regression else None,
        across=tuple(name.strip() for name in across.split(",")) if across else (),
    )
    for path, text in ((junit, gate_junit), (markdown, gate_markdown)):
        if path is not None:
            write_text(path, text(gate))
    if json:
        print_json(gate.as_json())
    else:
        for line in gate_sentences(gate):
            echo(plain(line))
    raise typer.Exit(EXIT_CODES[gate.outcome])


def _limit(text: str) -> tuple[str, float]:
    """A metric and the relative change that is allowed, of METRIC=PERCENT."""
    name, _, value = text.partition("=")
    try:
        limit = float(value.strip().removesuffix("%")) / 100
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 10:
        raise SpecError(f"--max-regression {text}: write METRIC=PERCENT, such as ttft_s.p50=5%")
    return name.strip(), limit
