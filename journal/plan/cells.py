"""The grid of an experiment as cells: their order and their identity."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby, product
from typing import Any

from journal.errors import SpecError
from journal.plan.dialect import check_own
from journal.plan.ramp import mean_rate, requests_of, stretches
from journal.plan.sequence import ROUND
from journal.records.cell import Cell
from journal.records.experiment import Engine, Experiment, Load
from journal.records.load_shape import Closed, LoadShape, Open, Users
from journal.records.sameness import definition
from journal.records.workload import Workload

MOST_CELLS = 20_000


def cells(experiment: Experiment, *, model: str | None = None) -> tuple[Cell, ...]:
    """All cells in the order in which they run: by engine, so that one start serves all of its
    cells; then by repeat, so that slow drift spreads over all cells; then by prompt length,
    output length and load. With `load.interleave`, the default of several engines, the engines
    take turns at every repeat. A search for capacity is one cell here, the first that it measures.

    `model` is the name at an endpoint, for an experiment without engines. Raises SpecError where
    neither names a model, where a search for capacity has no SLO, for a search for the needed VRAM
    that cannot work, and for more than MOST_CELLS.
    """
    engines: tuple[Engine | None, ...] = experiment.engines or (None,)
    if engines == (None,) and model is None:
        raise SpecError(
            f"experiment {experiment.name!r} names no model: add [engine] with a model, "
            "or give --endpoint and --model"
        )
    check_count(experiment)
    grid, load = experiment.grid, experiment.load
    loads, workloads = load_shapes(experiment), _workloads(experiment)
    if experiment.needed_vram:
        _check_needed_vram(experiment)
        load = replace(load, repeats=1, convoy=True)  # all at their full length at once
    if experiment.find_capacity is not None:
        loads, load = (_first_load(experiment),), replace(load, repeats=1)
    if load.interleave is None:
        load = replace(load, interleave=len(engines) > 1 and load.repeats > 1)
    return tuple(
        identified(
            Cell(
                experiment=experiment.name,
                model=engine.model if engine else str(model),
                quantisation=engine.quantisation if engine else None,
                engine=engine,
                batch=shape.batch,
                rate=shape.rate,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                load=_load(own, shape, workload),
                slo=experiment.slo,
                repeat=repeat,
                seed=load.seed + repeat,
                workload=workload,
            )
        )
        for engine, repeat in _turns(engines, load)
        for prompt_tokens, output_tokens in product(grid.prompt_tokens, grid.output_tokens)
        for workload in workloads
        for shape in loads
        for own in _variants(experiment, load)
    )


def check_count(experiment: Experiment, where: str = "") -> None:
    """Refuse (SpecError) a grid of more than MOST_CELLS cells, which are counted before they
    are laid out; `where` begins the message."""
    grid, repeats = experiment.grid, experiment.load.repeats
    axes = [len(grid.prompt_tokens), len(grid.output_tokens), len(grid.shared_prefix) or 1]
    axes.append(len(experiment.load.variants) or 1)
    if experiment.find_capacity is not None:
        repeats = 1
    else:
        axes.append(len(grid.rate or grid.batch))
    count = max(1, len(experiment.engines)) * math.prod(axes) * repeats
    if count > MOST_CELLS:
        raise SpecError(
            f"{where}experiment {experiment.name[:60]!r} has {count:,} cells, which is more than "
            f"the {MOST_CELLS:,} that one may have: give fewer values in [grid], or fewer repeats"
        )


def load_shapes(experiment: Experiment) -> tuple[LoadShape, ...]:
    """The load shapes of the grid: open loops where it has rates, else closed loops."""
    grid, burstiness = experiment.grid, experiment.load.burstiness
    if experiment.load.ramp is not None:
        _check_ramp(experiment)
        return (Open(mean_rate(experiment.load.ramp), burstiness, experiment.load.ramp),)
    if grid.rate:
        return tuple(Open(rate, burstiness) for rate in grid.rate)
    if experiment.workload.is_conversation:
        return tuple(Users(batch) for batch in grid.batch)
    return tuple(Closed(batch) for batch in grid.batch)


def _workloads(experiment: Experiment) -> tuple[Workload, ...]:
    """The workloads of the grid: one for each shared prefix, of which 0 is none at all. Raises
    SpecError where a prompt would be all prefix, for prefixes of prompts of one's own, and where
    users cannot hold conversations."""
    _check_conversation(experiment)
    _check_duration(experiment)
    workload, sizes = experiment.workload, experiment.grid.shared_prefix or (0,)
    shortest = min(experiment.grid.prompt_tokens)
    if max(sizes) and workload.is_own:
        raise SpecError(
            "a shared prefix goes before random tokens: leave it out, or the prompts of your own"
        )
    if max(sizes) >= shortest:
        raise SpecError(
            f"a shared prefix of {max(sizes)} tokens leaves nothing of a prompt of {shortest}: "
            "share fewer, or ask for longer prompts"
        )
    return tuple(
        replace(workload, shared_prefix=size, prefixes=workload.prefixes if size else 1)
        for size in sizes
    )


def _variants(experiment: Experiment, load: Load) -> tuple[Load, ...]:
    """`load` once for each of its variants, with their fields over its own; once as it is without.
    Raises SpecError for a field that the program sets itself, and for two variants of one name or
    of the same fields."""
    check_own(load.body)
    if not load.variants:
        return (load,)
    if experiment.find_capacity is not None or experiment.needed_vram:
        raise SpecError("a search sends one kind of request: leave variants out")
    made: dict[str, Load] = {}
    for one in load.variants:
        check_own(one.body, free=("model",))
        body = {**load.body, **one.body}
        if one.name in made or any(body == other.body for other in made.values()):
            raise SpecError(
                f"two variants of the load have the name {one.name!r} or the same fields: leave "
                "one out"
            )
        made[one.name] = replace(load, body=body, variant=one.name, variants=())
    return tuple(made.values())


def _load(load: Load, shape: LoadShape, workload: Workload) -> Load:
    """The load of a cell whose ramp or time is given: in open loop with as many requests as are due
    in it, else with a round of lengths, which begin again when it is over."""
    if shape.profile is not None:
        return replace(load, requests=requests_of(stretches(shape.profile)))
    if load.duration_s is None or workload.is_own or workload.trace is not None:
        return load
    if isinstance(shape, Open):
        return replace(load, requests=max(1, round(shape.rate * load.duration_s)))
    return replace(load, requests=ROUND * workload.turns)


def _turns(engines: tuple[Engine | None, ...], load: Load) -> list[tuple[Engine | None, int]]:
    """Pairs of an engine and a repeat, in the order in which they run.

    Interleaved, every second repeat goes through the engines backwards (A B, B A, A B): a steady
    drift (heat, other tenants) then falls on all of them alike, where A A A, B B B would count it
    as a difference.
    """
    repeats = range(load.repeats)
    if not load.interleave:
        return list(product(engines, repeats))
    return [(engine, n) for n in repeats for engine in (engines[::-1] if n % 2 else engines)]


def by_engine(planned: Iterable[Cell]) -> list[tuple[Engine | None, list[Cell]]]:
    """The planned cells in groups of neighbours that share one engine start, in order: those of one
    engine, and of one repeat where the cells interleave."""
    return [(key[0], list(group)) for key, group in groupby(planned, _start)]


def _start(cell: Cell) -> tuple[Engine | None, int]:
    """The key of the engine start that serves a cell: two starts of one engine differ by repeat."""
    anew = cell.engine is not None and cell.load.interleave
    return cell.engine, cell.repeat if anew else 0


def without_turns(planned: Iterable[Cell]) -> tuple[Cell, ...]:
    """The cells of each engine together, on one start, for engines that are measured at the same
    time."""
    planned = tuple(replace(c, load=replace(c.load, interleave=False)) for c in planned)
    engines = [engine for engine, _ in by_engine(planned)]
    return tuple(sorted(planned, key=lambda cell: engines.index(cell.engine)))


def identified(cell: Cell) -> Cell:
    """The cell with its identity: the first 16 hex digits of the SHA-256 of its definition."""
    return replace(cell, identity=_digest(definition(cell)))


def without_repeat(cell: Cell) -> str:
    """The identity that the repeats of one cell share: that of all but repeat and seed."""
    return _digest(definition(cell, "repeats"))


def _digest(parts: dict[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_needed_vram(experiment: Experiment) -> None:
    """Refuse (SpecError) a search for the needed VRAM of an experiment in which it cannot work."""
    needs = {
        "an engine that can be started again: name a model, not an endpoint": experiment.engines,
        "batches: leave rate out": not experiment.grid.rate,
        "to be alone: leave find_capacity out": experiment.find_capacity is None,
    }
    for need, met in needs.items():
        if not met:
            raise SpecError(
                f"experiment {experiment.name!r} is to find the needed VRAM, and that search "
                f"needs {need}"
            )


def _check_ramp(experiment: Experiment) -> None:
    """Refuse (SpecError) a ramp for a load that has its own course."""
    others = {
        "a trace": experiment.workload.trace,
        "conversations": experiment.workload.is_conversation,
        "prompts of your own": experiment.workload.is_own,
        "a duration": experiment.load.duration_s,
        "a search for capacity": experiment.find_capacity,
    }
    for name, given in others.items():
        if given:
            raise SpecError(f"a ramp says how many requests come, and when: leave {name} out")


def _check_duration(experiment: Experiment) -> None:
    """Refuse (SpecError) a time for a load whose requests something else decides."""
    if experiment.load.duration_s is None:
        return
    others = {
        "a trace, of which until_s takes a part": experiment.workload.trace,
        "prompts of your own at a rate": experiment.workload.is_own and experiment.grid.rate,
        "a search for capacity": experiment.find_capacity,
        "a search for the needed VRAM": experiment.needed_vram,
    }
    for name, given in others.items():
        if given:
            raise SpecError(f"a duration takes the place of a count, and cannot limit {name}")


def _check_conversation(experiment: Experiment) -> None:
    """Refuse (SpecError) a load in which users cannot hold conversations."""
    workload = experiment.workload
    if not workload.is_conversation:
        if workload.think_s:
            raise SpecError("users think between turns: give turns with think_s, or leave it out")
        return
    others = {
        "rate": experiment.grid.rate,
        "a trace": workload.trace,
        "a shared prefix": any(experiment.grid.shared_prefix),
        "a search for capacity": experiment.find_capacity,
        "a search for the needed VRAM": experiment.needed_vram,
    }
    for name, given in others.items():
        if given:
            raise SpecError(
                f"users in conversation wait for an answer before the next turn: leave {name} out, "
                "or turns"
            )


def _first_load(experiment: Experiment) -> LoadShape:
    """The load at which a search for capacity begins: one request at a time for a rate, which
    shows the best latency of the server; the least batch of the grid for a concurrency. Raises
    SpecError without an SLO."""
    slo = experiment.slo
    if slo is None or (slo.ttft_ms, slo.tpot_ms, slo.e2e_ms) == (None, None, None):
        raise SpecError(
            f"experiment {experiment.name!r} is to find the highest {experiment.find_capacity} "
            "that holds its SLO and has none: give limits under [slo], or --slo-ttft-ms, "
            "--slo-tpot-ms, --slo-e2e-ms"
        )
    return Closed(1 if experiment.find_capacity == "rate" else min(experiment.grid.batch))
