"""The options of `run` and `plan` on cells, and the experiment that they ask for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from journal.cli.asked_experiment import asked_experiment
from journal.cli.options import body_fields, integers
from journal.cli.workload_options import parts_of_mix, ramp_given, rates_given

if TYPE_CHECKING:
    from journal.records.experiment import Experiment

Url = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Measure a server that is already there, by its OpenAI base URL. A key it needs is "
        "read from JOURNAL_API_KEY or OPENAI_API_KEY.",
    ),
]

Concurrency = Annotated[
    str | None,
    typer.Option("--concurrency", "--batch", metavar="N,N", help="Requests in flight."),
]

Rate = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="R,R",
        help="Open loop instead: requests/s on a schedule, or a rate that changes, such as "
        "'10..100 in 60s' or '10,20,40 each 30s'.",
    ),
]

Burstiness = Annotated[
    float | None,
    typer.Option("--burstiness", help="Of the arrivals at --rate: 1 is Poisson, 0 constant."),
]

Convoy = Annotated[
    bool | None,
    typer.Option(
        "--convoy/--no-convoy",
        help="Begin all requests in flight together, as static batching does; by default they "
        "begin one after another, and stay so.",
        show_default=False,
    ),
]

LengthSpread = Annotated[
    float | None,
    typer.Option(
        "--length-spread",
        metavar="CV",
        help="Coefficient of variation of the lengths of prompts and outputs, such as 0.3; their "
        "means stay as given.",
    ),
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

GRID = {
    "batch": ("concurrency", "--concurrency", 1),
    "prompt_tokens": ("prompt_tokens", "--prompt-tokens", 1),
    "output_tokens": ("output_tokens", "--output-tokens", 1),
    "shared_prefix": ("shared_prefix", "--shared-prefix", 0),
}
AS_GIVEN: Mapping[str, tuple[str, ...]] = {
    "load": (
        *("requests", "warmup", "repeats", "seed", "processes", "burstiness", "max_in_flight"),
        *("convoy", "length_spread"),
    ),
    "engine": ("model", "python"),
    "slo": ("ttft_ms", "tpot_ms", "e2e_ms"),
    "workload": (
        *("prompts", "shuffle", "cycle", "prefixes", "trace", "speed", "from_s", "until_s", "api"),
        *("natural_end", "turns", "think_s"),
    ),
}


def asked_by_options(given: Mapping[str, Any]) -> "Experiment":
    """The experiment that the options of a command ask for, by the names of its parameters; one
    that the command lacks is not given. Raises SpecError as `asked_experiment` does."""
    grid = {
        name: integers(given.get(option), flag, least=least)
        for name, (option, flag, least) in GRID.items()
    }
    load = {name: given.get(name) for name in AS_GIVEN["load"]}
    rate = given.get("rate")
    return asked_experiment(
        given["experiment"],
        at_endpoint=given.get("endpoint") is not None,
        grid=grid | {"rate": rates_given(rate)},
        load=load
        | {
            "duration_s": given.get("duration"),
            "abandon_after_s": given.get("abandon_after"),
            "timeout_s": given.get("timeout"),
            "ramp": ramp_given(rate),
            "body": body_fields(given.get("body")) or None,
        },
        engine={name: given.get(name) for name in AS_GIVEN["engine"]},
        slo={name: given.get(f"slo_{name}") for name in AS_GIVEN["slo"]},
        workload={name: given.get(name) for name in AS_GIVEN["workload"]}
        | {"mix": parts_of_mix(given.get("mix"))},
        find_capacity=given.get("find_capacity"),
        needed_vram=bool(given.get("needed_vram")),
    )
