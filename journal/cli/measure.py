"""`journal run` and `journal plan`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from journal.cli.options import Home, Json, api_key, integers, rates

if TYPE_CHECKING:
    from journal.records.engine import Endpoint
    from journal.records.experiment import Experiment
    from journal.run.stages import Result

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
FindCapacity = Annotated[
    Literal["rate", "concurrency"] | None,
    typer.Option(
        "--find-capacity",
        help="Search for the highest rate or concurrency that holds the SLO (--slo-...), from "
        "the least of --rate or --concurrency up.",
    ),
]
NeededVram = Annotated[
    bool,
    typer.Option(
        "--needed-vram",
        help="Search, over engine starts, for the smallest KV cache that serves each cell.",
    ),
]
Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PATH", help="The interpreter that has vLLM installed."),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse a disturbed machine, and exit with 1 when a cell is flagged."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the last try of this experiment: only the cells it lacks."
    ),
]
ParallelGpus = Annotated[
    int | None,
    typer.Option(
        "--parallel-gpus",
        metavar="N",
        help="Measure N engines at a time, each on GPUs of its own. They disturb each other: every "
        "run says what was beside it.",
    ),
]
On = Annotated[
    Literal["ray"] | None,
    typer.Option(
        "--on",
        help="Measure each engine on a host of the Ray cluster at RAY_ADDRESS (of this host alone "
        "without it), with as many GPUs as it needs.",
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
    timeout: Timeout = None,
    processes: Processes = None,
    slo_ttft_ms: SloTtft = None,
    slo_tpot_ms: SloTpot = None,
    slo_e2e_ms: SloE2e = None,
    find_capacity: FindCapacity = None,
    needed_vram: NeededVram = False,
    python: Python = None,
    resume: Resume = False,
    strict: Strict = False,
    parallel_gpus: ParallelGpus = None,
    on: On = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Measure every cell of an experiment, record it, and write today's log.

    Options go over what the experiment's file says.

    Ctrl-C stores what was measured, writes the log and ends the engine; a second one stops at
    once. After it, or after a power cut, the same command with `--resume` goes on.

    `--strict` refuses to measure while other programs use the cards or processors, or the host
    swaps, and calls a cell with a doubt a failure.

    Exit code: 0 all cells measured, 1 some cell failed, 2 nothing was started, 130 stopped.

    Examples:

    - `journal run`
    - `journal run experiments/batch-size.toml --home ~/lab`
    - `journal run quickstart --model mistralai/Mistral-7B-Instruct-v0.2 --concurrency 1,8,32`
    - `journal run experiments/batch-size.toml --home ~/lab --resume`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --model NAME --prompt-tokens 64,1024`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --rate 2,4,8 --slo-ttft-ms 200`
    - `journal run quickstart --slo-tpot-ms 50 --find-capacity concurrency`
    - `journal run quickstart --concurrency 4 --prompt-tokens 128,1024 --needed-vram`
    - `journal run experiments/quantisation.toml --parallel-gpus 2`
    - `RAY_ADDRESS=10.0.0.1:6379 journal run experiments/quantisation.toml --on ray`
    """
    from journal.cli.progress import showing
    from journal.cli.signals import like_ctrl_c
    from journal.errors import StoreError
    from journal.run.stages import run as run_experiment

    server = _attached(endpoint, model) if endpoint else None
    grid = {
        "batch": integers(concurrency, "--concurrency"),
        "rate": rates(rate, "--rate"),
        "prompt_tokens": integers(prompt_tokens, "--prompt-tokens"),
        "output_tokens": integers(output_tokens, "--output-tokens"),
    }
    load = {
        "requests": requests,
        "warmup": warmup,
        "repeats": repeats,
        "seed": seed,
        "timeout_s": timeout,
        "processes": processes,
        "burstiness": burstiness,
    }
    slo = {"ttft_ms": slo_ttft_ms, "tpot_ms": slo_tpot_ms, "e2e_ms": slo_e2e_ms}
    engine = {"model": model, "python": python}
    asked = _asked(experiment, server, grid, load, engine, slo, find_capacity, needed_vram)
    how: dict[str, Any] = {"resume": resume, "strict": strict, "on": on}
    how["parallel_gpus"] = parallel_gpus
    with like_ctrl_c() as signals:
        try:
            with showing(quiet=json) as listener:
                result = run_experiment(asked, home, endpoint=server, listener=listener, **how)
        except KeyboardInterrupt:
            _say_how_to_resume()
            raise typer.Exit(signals.exit_code) from None
        except StoreError:
            _say_how_to_resume()
            raise
    _tell(result, json)
    raise typer.Exit(0 if result.ok else 1)


def _tell(result: "Result", json: bool) -> None:
    from journal.cli.render import print_json, print_result
    from journal.report.run_json import run_json
    from journal.report.sections import needed
    from journal.report.sections import searches as capacity

    if not json:
        print_result(result)
        return
    asked, found = result.experiment.experiment, dict[str, Any]()
    if asked.find_capacity is not None:
        found["capacity"] = [capacity.as_json(each) for each in result.capacities]
    if asked.needed_vram:
        found["needed_vram"] = [needed.as_json(each) for each in result.needed]
    runs = [run_json(record) for record in result.records]
    print_json({**found, "runs": runs} if found else runs)


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
    from journal.plan.plan import plan as plan_experiment

    asked = _asked(experiment, None, {}, {}, {"model": model})
    planned = plan_experiment(asked, model)
    if json:
        from dataclasses import asdict

        parts = [asdict(cell) for cell in planned.cells]
        print_json({"cost": asdict(planned.cost), "cells": parts})
        return
    print_plan(planned)
    if asked.find_capacity is not None:
        from journal.run.capacity_search import most_runs

        print(
            f"each of these is the first of a search for the highest {asked.find_capacity} that "
            f"holds the SLO, which takes {most_runs()} runs at most"
        )
    if asked.needed_vram:
        from journal.run.pool_search import most_starts

        starts = most_starts(asked, planned.cells)
        print(
            f"the search for the least memory takes {starts} engine starts at most, these included"
        )


def _attached(url: str, model: str | None) -> "Endpoint":
    from journal.serve.endpoint import attach

    return attach(url, model, api_key())


def _asked(
    name: str | None,
    server: "Endpoint | None",
    grid: dict[str, Any],
    load: dict[str, Any],
    engine: dict[str, Any],
    slo: dict[str, Any] | None = None,
    find_capacity: Literal["rate", "concurrency"] | None = None,
    needed_vram: bool = False,
) -> "Experiment":
    """The experiment that was named, with the options that were given laid over it."""
    from journal.plan.experiment_file import load_experiment, validated
    from journal.records.experiment import Experiment, Slo
    from journal.serve.models import default_experiment

    parts = (grid, load, engine, slo or {})
    given = [{k: v for k, v in part.items() if v is not None} for part in parts]
    if name is None and server is not None:
        asked = Experiment(name="endpoint")
    else:
        asked = load_experiment(name or default_experiment())
    if find_capacity is not None:
        _check_search(find_capacity, given[0], given[1])
    if "batch" in given[0]:
        given[0].setdefault("rate", ())  # the load that was asked for now, not the file's
    engines = () if server else tuple(replace(each, **given[2]) for each in asked.engines)
    return validated(
        replace(
            asked,
            engines=engines,
            grid=replace(asked.grid, **given[0]),
            load=replace(asked.load, **given[1]),
            slo=replace(asked.slo or Slo(), **given[3]) if given[3] else asked.slo,
            find_capacity=find_capacity or asked.find_capacity,
            needed_vram=needed_vram or asked.needed_vram,
            usd_per_hour=asked.usd_per_hour if asked.usd_per_hour else _usd_per_hour(),
        )
    )


def _check_search(of: str, grid: dict[str, Any], load: dict[str, Any]) -> None:
    """Refuse (SpecError) options that a search for capacity has no use for."""
    from journal.errors import SpecError

    named = {"batch": "--concurrency", "rate": "--rate"}
    own = "rate" if of == "rate" else "batch"
    for other in (named.keys() - {own}) & grid.keys():
        raise SpecError(
            f"{named[other]} has no place in a search for a {of}: leave it out, or say with "
            f"{named[own]} where to begin"
        )
    if "repeats" in load:
        raise SpecError(
            "--repeats has no place in a search for capacity, which tries each load as often as "
            "it needs: leave it out"
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
