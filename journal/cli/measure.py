"""`journal run` and `journal plan`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from journal.cli.options import Home, Json, api_key, integers, rates

if TYPE_CHECKING:
    from journal.records import Endpoint, Experiment

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A .toml file, or the name of an experiment that ships with journal. Without it: "
        "quickstart, or mistral where there is an NVIDIA GPU.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Measure a server that is already there, by its OpenAI base URL. A key it needs is "
        "read from JOURNAL_API_KEY or OPENAI_API_KEY.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="The model to serve, or the name of the one at the endpoint."),
]
Concurrency = Annotated[
    str | None,
    typer.Option("--concurrency", "--batch", metavar="N,N", help="Requests in flight."),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="R,R", help="Open loop instead: requests/s on a schedule."),
]
Burstiness = Annotated[
    float | None,
    typer.Option("--burstiness", help="Of the arrivals at --rate: 1 is Poisson, 0 constant."),
]
PromptTokens = Annotated[
    str | None, typer.Option("--prompt-tokens", metavar="N,N", help="Length of prompts.")
]
OutputTokens = Annotated[
    str | None, typer.Option("--output-tokens", metavar="N,N", help="Length of outputs.")
]
Requests = Annotated[int | None, typer.Option("--requests", help="Requests per cell.")]
Warmup = Annotated[int | None, typer.Option("--warmup", help="Requests before those that count.")]
Repeats = Annotated[int | None, typer.Option("--repeats", help="Times that each cell is tried.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of prompts and arrivals.")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="S", help="For one request.")]
Processes = Annotated[
    int | None, typer.Option("--processes", help="Of the client; chosen from the load by default.")
]
Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PATH", help="The interpreter that has vLLM installed."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the last try of this experiment: only the cells it lacks."
    ),
]


def run(
    experiment: Name = None,
    endpoint: Url = None,
    model: Model = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    burstiness: Burstiness = None,
    prompt_tokens: PromptTokens = None,
    output_tokens: OutputTokens = None,
    requests: Requests = None,
    warmup: Warmup = None,
    repeats: Repeats = None,
    seed: Seed = None,
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse a disturbed machine, and exit with 1 when a cell is flagged."
    ),
]
    timeout: Timeout = None,
    processes: Processes = None,
    python: Python = None,
    resume: Resume = False,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Measure every cell of an experiment, record it, and write today's log.

    Options go over what the experiment's file says.

    Ctrl-C stores what was measured, writes the log and ends the engine; a second one stops at
    once. After it, or after a power cut, the same command with `--resume` goes on.

    Exit code: 0 all cells measured, 1 some cell failed, 2 nothing was started, 130 stopped.

    Examples:

    - `journal run`
    - `journal run experiments/batch-size.toml --home ~/lab`
    - `journal run quickstart --model mistralai/Mistral-7B-Instruct-v0.2 --concurrency 1,8,32`
    - `journal run experiments/batch-size.toml --home ~/lab --resume`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --model NAME --prompt-tokens 64,1024`
    """
    from journal.cli.progress import showing
    from journal.cli.render import print_json, print_result
    from journal.cli.signals import like_ctrl_c
    from journal.report.rows import as_json
    from journal.runner import run as run_experiment
    strict: Strict = False,

    server = _attached(endpoint, model) if endpoint else None
    grid = {
        "batch": integers(concurrency, "--concurrency"),
        "rate": rates(rate, "--rate"),
        "prompt_tokens": integers(prompt_tokens, "--prompt-tokens"),
        "output_tokens": integers(output_tokens, "--output-tokens"),
    }
    load = {
        "requests": requests,
    `--strict` refuses to measure while other programs use the cards or processors, or the host
    swaps, and calls a cell with a doubt a failure.

        "warmup": warmup,
        "repeats": repeats,
        "seed": seed,
        "timeout_s": timeout,
        "processes": processes,
        "burstiness": burstiness,
    }
    asked = _asked(experiment, server, grid, load, {"model": model, "python": python})
    with like_ctrl_c() as signals:
        try:
            with showing(quiet=json) as listener:
                result = run_experiment(
                    asked, home, endpoint=server, listener=listener, resume=resume, strict=strict
                )
        except KeyboardInterrupt:
            _say_how_to_resume()
            raise typer.Exit(signals.exit_code) from None
    if json:
        print_json([as_json(record) for record in result.records])
    else:
        print_result(result)
    raise typer.Exit(0 if result.ok else 1)


def _say_how_to_resume() -> None:
    import shlex
    import sys

    words = [word for word in sys.argv[1:] if word != "--resume"]
    again = shlex.join(["journal", *words, "--resume"])
    print(f"journal: stopped; what was measured is stored. Go on with: {again}", file=sys.stderr)


def plan(
    experiment: Name = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Print the cells of an experiment and what they cost, without running anything.

    Example:

    - `journal plan experiments/mistral-vs-llama3.toml`
    """
    from journal.cli.render import print_json, print_plan
    from journal.plan.cells import cells, cost

    planned = cells(_asked(experiment, None, {}, {}, {"model": model}), model=model)
    if json:
        from dataclasses import asdict

        parts = [asdict(cell) for cell in planned]
        print_json({"cost": asdict(cost(planned)), "cells": parts})
    else:
        print_plan(planned)


def _attached(url: str, model: str | None) -> "Endpoint":
    import os

    from journal.serve.endpoint import attach

    return attach(url, model, api_key())


def _asked(
    name: str | None,
    server: "Endpoint | None",
    grid: dict[str, Any],
    load: dict[str, Any],
    engine: dict[str, Any],
) -> "Experiment":
    """The experiment that was named, with the options that were given laid over it."""
    from journal.plan.spec import load_experiment, validated
    from journal.records import Experiment
    from journal.serve.models import default_experiment

    given = [{k: v for k, v in part.items() if v is not None} for part in (grid, load, engine)]
    if name is None and server is not None:
        asked = Experiment(name="endpoint")
    else:
        asked = load_experiment(name or default_experiment())
    if "batch" in given[0]:
        given[0].setdefault("rate", ())  # the load that was asked for now, not the file's
    engines = () if server else tuple(replace(each, **given[2]) for each in asked.engines)
    return validated(
        replace(
            asked,
            engines=engines,
            grid=replace(asked.grid, **given[0]),
            load=replace(asked.load, **given[1]),
            usd_per_hour=asked.usd_per_hour if asked.usd_per_hour else _usd_per_hour(),
        )
    )


def _usd_per_hour() -> float | None:
    """What this machine costs, by the setting JOURNAL_USD_PER_HOUR."""
    import os

    from journal.errors import SpecError

    text = os.environ.get("JOURNAL_USD_PER_HOUR", "").strip()
    try:
        price = float(text) if text else None
    except ValueError:
        price = 0.0
    if price is not None and not 0 < price < float("inf"):
        raise SpecError(f"JOURNAL_USD_PER_HOUR = {text!r} is not a number above 0, such as 1.20")
    return price
