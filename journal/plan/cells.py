"""The grid of an experiment as cells: their order, their identity, and what they will cost."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product

from journal.errors import SpecError
from journal.records import Cell, Engine, Experiment

# What does not change what is measured: where the interpreter is, how long to wait, and how
# often or under what name the same cell is tried.
NOT_IDENTITY_OF_ENGINE = ("python", "start_timeout_s")
NOT_IDENTITY_OF_LOAD = ("repeats", "seed", "max_error_rate", "processes", "timeout_s")


def cells(experiment: Experiment, *, model: str | None = None) -> tuple[Cell, ...]:
    """All cells in the order in which they run: by engine, so that one start serves all of its
    cells; then by repeat, so that slow drift spreads over all cells; then by prompt length,
    output length and load.

    `model` is the name at an endpoint, for an experiment without engines. Raises SpecError when
    there is neither.
    """
    engines: tuple[Engine | None, ...] = experiment.engines or (None,)
    if engines == (None,) and model is None:
        raise SpecError(
            f"experiment {experiment.name!r} names no model: add [engine] with a model, "
            "or give --endpoint and --model"
        )
    grid, load = experiment.grid, experiment.load
    loads: list[tuple[int | None, float | None]]
    loads = [(None, rate) for rate in grid.rate] or [(batch, None) for batch in grid.batch]
    return tuple(
        _identified(
            Cell(
                experiment=experiment.name,
                model=engine.model if engine else str(model),
                quantisation=engine.quantisation if engine else None,
                engine=engine,
                batch=batch,
                rate=rate,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                load=load,
                slo=experiment.slo,
                repeat=repeat,
                seed=load.seed + repeat,
            )
        )
        for engine, repeat in product(engines, range(load.repeats))
        for prompt_tokens, output_tokens in product(grid.prompt_tokens, grid.output_tokens)
        for batch, rate in loads
    )


def by_engine(planned: Iterable[Cell]) -> list[tuple[Engine | None, list[Cell]]]:
    """Neighbouring cells that share one engine start."""
    return [(engine, list(group)) for engine, group in groupby(planned, lambda cell: cell.engine)]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan asks of the server, warm-up included. Tokens are those asked for."""

    cells: int
    engine_starts: int
    requests: int
    prompt_tokens: int
    output_tokens: int


def cost(planned: Iterable[Cell]) -> Cost:
    """The whole plan's requests, tokens and engine starts."""
    planned = list(planned)
    requests = [cell.load.requests + cell.load.warmup for cell in planned]
    return Cost(
        cells=len(planned),
        engine_starts=sum(engine is not None for engine, _ in by_engine(planned)),
        requests=sum(requests),
        prompt_tokens=sum(n * c.prompt_tokens for n, c in zip(requests, planned, strict=True)),
        output_tokens=sum(n * c.output_tokens for n, c in zip(requests, planned, strict=True)),
    )


def _identified(cell: Cell) -> Cell:
    """The cell with its identity: the first 16 hex digits of the SHA-256 of what defines it."""
    parts = asdict(cell)
    del parts["experiment"], parts["identity"]
    for name in NOT_IDENTITY_OF_LOAD:
        del parts["load"][name]
    if cell.engine:
        for name in NOT_IDENTITY_OF_ENGINE:
            del parts["engine"][name]
    text = json.dumps(parts, sort_keys=True)
    return replace(cell, identity=hashlib.sha256(text.encode()).hexdigest()[:16])
