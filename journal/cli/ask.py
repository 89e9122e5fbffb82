"""`journal ask`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import journal
from journal import units
from journal.cli.options import (
    Body,
    Header,
    Home,
    Json,
    Server,
    access,
    body_fields,
    key_variable,
)
from journal.cli.render import echo

if TYPE_CHECKING:
    from journal.chat.ask import Question
    from journal.records.notebook import Interaction


def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; - reads stdin.")],
    endpoint: Server = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Which one, where the server has several.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat/--completions", help="With the model's chat template, or bare.")
    ] = True,
    system: Annotated[
        str | None, typer.Option("--system", help="The system prompt, in a chat.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")
    ] = 512,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0.0, help="0 is greedy; else the model's.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the server's JSON.")] = False,
    show_curl: Annotated[
        bool, typer.Option("--curl", help="Print the equal curl command, and ask nothing.")
    ] = False,
    header: Header = None,
    body: Body = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Ask a server one question; the answer is streamed, timed, and kept in the journal.

    Examples:

    - `journal ask "Explain why the sky is blue in one paragraph."`
    - `journal ask --completions "Once upon a time" --max-tokens 64 --temperature 0`
    - `journal ask "Who are you?" --endpoint http://127.0.0.1:8001/v1 --curl`
    """
    from journal.chat.ask import Question, curl
    from journal.plan.dialect import check_own
    from journal.serve.endpoint import model_at
    from journal.serve.standing import server_address

    text = sys.stdin.read() if prompt == "-" else prompt
    messages = [{"role": "user", "content": text}]
    if system is not None and chat:
        messages.insert(0, {"role": "system", "content": system})
    let_in = access(header)
    url, served = model_at(server_address(home, endpoint, let_in), model, let_in)
    own = body_fields(body)
    check_own(own)
    settings = {"max_tokens": max_tokens, "temperature": temperature, **own}
    question = Question(
        base_url=url,
        model=served,
        messages=tuple(messages),
        api="chat" if chat else "completions",
        settings={name: value for name, value in settings.items() if value is not None},
        api_key=let_in.api_key,
        headers=dict(let_in.headers),
    )
    if show_curl:
        print(curl(question, key_variable()))
        return
    _ask(question, home, raw=raw, json=json)


def _ask(question: "Question", home: Path, *, raw: bool, json: bool) -> None:
    """Ask, print, and keep what came, however it ended."""
    from journal.chat.ask import STOPPED, whole_answer
    from journal.cli.render import plain, print_json
    from journal.store.interactions import add_interaction
    from journal.store.store import open_store

    with open_store(home) as store:
        answer: dict[str, Any] = {}
        if raw:
            asked, answer = whole_answer(question)
        else:
            asked = _streamed(question, quiet=json)
        add_interaction(store, asked)
    if json:
        print_json(_as_json(asked))
    elif raw and answer:
        print_json(answer)
    elif not raw:
        echo(f"\n\n{_summary(asked)}")
    if asked.note and not json:
        echo(f"journal: {plain(asked.note)}", file=sys.stderr)
    if asked.error == STOPPED:
        raise typer.Exit(130)
    if asked.error:
        echo(f"journal: {plain(asked.error)}", file=sys.stderr)
        raise typer.Exit(1)


def _streamed(question: "Question", *, quiet: bool) -> "Interaction":
    """Ask, and print the answer as it comes; thoughts go to standard error."""
    from dataclasses import replace

    from journal.chat.ask import STOPPED
    from journal.cli.render import readable

    growing = journal.ask(question)
    asked, printed, thought = next(growing), 0, 0
    try:
        for asked in growing:
            if quiet:
                continue
            if thoughts := asked.thoughts[thought:]:
                print(readable(thoughts), end="", file=sys.stderr, flush=True)
                thought = len(asked.thoughts)
            if text := asked.answer[printed:]:
                if thought and not printed:
                    print("\n", file=sys.stderr, flush=True)
                print(readable(text), end="", flush=True)
                printed = len(asked.answer)
    except KeyboardInterrupt:
        return replace(asked, error=STOPPED)
    return asked


def _summary(asked: "Interaction") -> str:
    """What it cost, in one line."""
    return (
        f"{units.number(asked.prompt_tokens)} prompt + {units.number(asked.output_tokens)} "
        f"output tokens, TTFT {units.seconds(asked.ttft_s)}, then "
        f"{units.rate(asked.tokens_per_s)}, {units.seconds(asked.duration_s)} in all"
    )


def _as_json(asked: "Interaction") -> dict[str, Any]:
    from dataclasses import asdict

    values = {**asdict(asked), "asked_at": asked.asked_at.isoformat()}
    return values | {"tokens_per_s": asked.tokens_per_s}
