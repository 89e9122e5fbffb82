"""`journal explain`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

import journal
from journal.cli.options import Json, Lang
from journal.language import language

if TYPE_CHECKING:
    from journal.records.explanation import Explanation


def explain(
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="A log of vLLM; - reads it from standard input.")
    ],
    lang: Lang = None,
    json: Json = False,
) -> None:
    """Explain a log of vLLM, whoever started it: where the memory of each GPU went, how many tokens
    and requests that is, how long each phase of the start took, or why it failed and which setting
    to change.

    Logs of vLLM 0.6 and newer are read, also behind the prefixes of Docker, Kubernetes, systemd
    and Ray. Of several starts in one file the last one counts.

    Examples:

    - `journal explain vllm.log`
    - `docker logs vllm 2>&1 | journal explain - --lang zh`
    - `journal explain vllm.log --json`
    """
    from journal.cli.render import plain, print_json, put
    from journal.report.explain_words import explanation_text

    if log == "-":
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    known = journal.explain(sys.stdin if log == "-" else log)
    if json:
        print_json(_as_json(known))
        return
    text = explanation_text(known, language(lang), ascii_only=not _draws_blocks())
    put("\n".join(plain(line) for line in text.split("\n")))


def _draws_blocks() -> bool:
    try:
        "█▓▒▚░·".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _as_json(known: "Explanation") -> dict[str, Any]:
    from dataclasses import asdict

    names = (
        "engine_version weights_bytes kv_pool_bytes kv_pool_tokens activation_bytes graph_bytes "
        "context_bytes"
    ).split()
    return {
        **{name: getattr(known, name) for name in names},
        "phases": None if known.phases is None else asdict(known.phases),
        "ranks": {name: asdict(rank) for name, rank in known.ranks.items()} or None,
        "cause": known.cause,
        "remedy": known.remedy,
    }
