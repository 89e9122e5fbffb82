"""`journal plan`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal import units
from journal.cli.cell_options import (
    Burstiness,
    Concurrency,
    Convoy,
    FindCapacity,
    LengthSpread,
    NeededVram,
    OutputTokens,
    PromptTokens,
    Rate,
    Repeats,
    Requests,
    Seed,
    Url,
    Warmup,
    asked_by_options,
)
from journal.cli.options import Body, Home, Json, Model, Name, SloE2e, SloTpot, SloTtft
from journal.cli.render import echo, print_json, put, readable
from journal.cli.workload_options import (
    AbandonAfter,
    Api,
    Cycle,
    DurationS,
    From,
    MaxInFlight,
    Mix,
    NaturalEnd,
    Prefixes,
    Prompts,
    SharedPrefix,
    Shuffle,
    Speed,
    ThinkS,
    TraceFile,
    Turns,
    Until,
)

if TYPE_CHECKING:
    from journal.plan.plan import Plan
    from journal.records.cell import Cell
    from journal.records.experiment import Experiment
    from journal.run.run_time import RunTime

Toml = Annotated[
    bool,
    typer.Option("--toml", help="Print the experiment as a file to start from, and nothing else."),
]


def plan(
    experiment: Name = None,
    endpoint: Url = None,
    model: Model = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    burstiness: Burstiness = None,
    max_in_flight: MaxInFlight = None,
    prompt_tokens: PromptTokens = None,
    output_tokens: OutputTokens = None,
    length_spread: LengthSpread = None,
    prompts: Prompts = None,
    shuffle: Shuffle = None,
    cycle: Cycle = None,
    shared_prefix: SharedPrefix = None,
    prefixes: Prefixes = None,
    trace: TraceFile = None,
    speed: Speed = None,
    from_s: From = None,
    until_s: Until = None,
    mix: Mix = None,
    api: Api = None,
    natural_end: NaturalEnd = None,
    turns: Turns = None,
    think_s: ThinkS = None,
    convoy: Convoy = None,
    requests: Requests = None,
    duration: DurationS = None,
    abandon_after: AbandonAfter = None,
    warmup: Warmup = None,
    repeats: Repeats = None,
    seed: Seed = None,
    slo_ttft_ms: SloTtft = None,
    slo_tpot_ms: SloTpot = None,
    slo_e2e_ms: SloE2e = None,
    find_capacity: FindCapacity = None,
    needed_vram: NeededVram = False,
    body: Body = None,
    toml: Toml = False,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Print the cells of an experiment and what they cost in requests, time and money, without
    running anything.

    Time comes from this host's own runs of the same model, which the journal holds, else from the
    floors of theory, which no server is faster than. Money is that at the host's price
    (`price_per_hour`, or JOURNAL_PRICE_PER_HOUR).

    Options go over what the experiment's file says, as those of `journal run` do. `--toml` prints
    the file of the experiment instead, with its comments and the options in it: one to start from.

    Examples:

    - `journal plan experiments/mistral-vs-llama3.toml`
    - `journal plan batch-size --concurrency 1,8,64 --repeats 5`
    - `journal plan prompt-length --toml > mine.toml`
    """
    asked = asked_by_options(locals())
    if toml:
        _print_toml(asked)
        return
    planned = journal.plan(asked, model)
    time = journal.run_time(planned, home)
    if json:
        from dataclasses import asdict

        parts = [asdict(cell) for cell in planned.cells]
        time_parts = asdict(time) | {"total_s": time.total_s}
        print_json({"cost": asdict(planned.cost), "time": time_parts, "cells": parts})
        return
    _print(planned)
    _print_searches(planned)
    _print_time(planned, time)


def _print_toml(asked: "Experiment") -> None:
    """The file of the experiment, without secrets."""
    from journal.plan.toml_text import toml_text

    print(readable(toml_text(asked)), end="")


def _print(plan: "Plan") -> None:
    """The cells in the order in which they would run, and their cost."""
    from rich.text import Text

    from journal.cli.render import plain, plural
    from journal.cli.run_tables import insert_apart
    from journal.cli.tables import print_table

    models, legend = _model_names(plan.cells)
    columns = ["cell", "model", "quantisation", "batch", "prompt", "output", "repeat", "requests"]
    rows: list[list[str | Text]] = [
        [
            cell.identity[:8],
            Text(model),
            Text(plain(cell.quantisation or units.ABSENT)),
            cell.shape.amount,
            str(cell.prompt_tokens),
            str(cell.output_tokens),
            str(cell.repeat + 1),
            str(cell.load.requests) if cell.lasts_s is None else units.seconds(cell.lasts_s),
        ]
        for cell, model in zip(plan.cells, models, strict=True)
    ]
    insert_apart(columns, rows, plan.cells)
    print_table(columns, rows, left=("cell", "model", "quantisation", "variant"), kept=("cell",))
    for line in legend:
        put(line)
    total = plan.cost
    anew = " (one for each repeat)" if any(cell.load.interleave for cell in plan.cells) else ""
    echo(
        f"{plural(total.cells, 'cell')}, {plural(total.engine_starts, 'engine start')}{anew}, "
        f"{plural(total.requests, 'request')} "
        f"(warm-up and fillers included), {total.prompt_tokens:,} prompt and "
        f"{total.output_tokens:,} output tokens"
    )
    if total.load_s:
        echo(f"and as many requests as are answered in {units.seconds(total.load_s)} of load")


def _model_names(cells: "Sequence[Cell]") -> tuple[list[str], list[str]]:
    """The model of each cell, with what sets its engine apart where several serve one model; and
    lines that explain the letters in those names."""
    from journal.cli.render import plain
    from journal.cli.run_tables import setup_names
    from journal.compare.setups import planned_setup

    setups = [planned_setup(cell) for cell in cells]
    if len(set(setups)) == len({(setup.model, setup.quantisation) for setup in setups}):
        return [plain(setup.model) for setup in setups], []
    return setup_names(setups)


def _print_searches(planned: "Plan") -> None:
    """What searches add to the cells."""
    asked = planned.experiment
    if asked.find_capacity is not None:
        from journal.run.capacity_search import long_request_s, price_of

        prices = [price_of(cell, asked.find_capacity) for cell in planned.cells]
        dearest = max(prices, key=lambda price: price.load_s)
        assert asked.slo is not None
        long_s = long_request_s(asked.slo, asked.find_capacity)
        echo(
            f"each of these is the first of a search for the highest {asked.find_capacity} that "
            f"holds the SLO, which takes {dearest.label}, or more where a request takes longer "
            f"than {units.seconds(long_s)}"
        )
    if asked.needed_vram:
        from journal.run.pool_search import most_starts

        starts = most_starts(asked, planned.cells)
        echo(
            f"the search for the least memory takes {starts} engine starts at most, these included"
        )


def _print_time(planned: "Plan", time: "RunTime") -> None:
    """How long the plan takes, by what that is known, and what it costs."""
    if time.load_s is None:
        models = ", ".join(dict.fromkeys(cell.model for cell in planned.cells))
        echo(
            f"how long it takes is not known: this journal has no run of {models} on this host, "
            "and no GPU here gives a floor"
        )
        return
    total, load, starts = map(units.seconds, (time.total_s, time.load_s, time.start_s))
    if time.at_most:
        echo(f"at most {total}: {load} under load, and {starts} of engine starts")
    elif time.runs:
        echo(
            f"about {total}: {load} under load, by {time.runs} of this host's own runs, and "
            f"{units.seconds(time.start_s)} of engine starts"
        )
    else:
        echo(f"at least {total}: {load} under load by the floors of theory or the load's own time")
    if time.start_s is None:
        echo("engine starts come on top: no run here tells how long they take")
    if time.price is not None:
        echo(f"that is {time.price} at {planned.experiment.price} an hour")
