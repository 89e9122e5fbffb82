"""`journal plan`."""

from typing import TYPE_CHECKING

import journal
from journal import units
from journal.cli.options import Json, Model, Name
from journal.cli.render import echo

if TYPE_CHECKING:
    from journal.plan.plan import Plan


def plan(
    experiment: Name = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Print the cells of an experiment and what they cost, without running anything.

    Example:

    - `journal plan experiments/mistral-vs-llama3.toml`
    """
    from journal.cli.asked_experiment import asked_experiment
    from journal.cli.render import print_json

    asked = asked_experiment(experiment, engine={"model": model})
    planned = journal.plan(asked, model)
    if json:
        from dataclasses import asdict

        parts = [asdict(cell) for cell in planned.cells]
        print_json({"cost": asdict(planned.cost), "cells": parts})
        return
    _print(planned)
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


def _print(plan: "Plan") -> None:
    """The cells in the order in which they would run, and their cost."""
    from rich.text import Text

    from journal.cli.render import plain, plural
    from journal.cli.tables import print_table

    columns = ["cell", "model", "quantisation", "batch", "prompt", "output", "repeat", "requests"]
    rows: list[list[str | Text]] = [
        [
            cell.identity[:8],
            Text(plain(cell.model)),
            Text(plain(cell.quantisation or units.ABSENT)),
            cell.shape.amount,
            str(cell.prompt_tokens),
            str(cell.output_tokens),
            str(cell.repeat + 1),
            str(cell.load.requests) if cell.lasts_s is None else units.seconds(cell.lasts_s),
        ]
        for cell in plan.cells
    ]
    print_table(columns, rows, left=("cell", "model", "quantisation"), kept=("cell",))
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
