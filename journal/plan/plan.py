"""The plan of an experiment: its cells and their cost, before anything runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from journal.plan.cells import by_engine, cells
from journal.plan.experiment_file import load_experiment
from journal.plan.own_prompts import with_workload
from journal.plan.sequence import conversations, fillers, primes
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.sameness import asked_requests


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of a plan for the server, warm-up and fillers included. Tokens are the requested
    ones; those of loads that last for `load_s` in all, whose number the server decides, are not
    among them."""

    cells: int
    engine_starts: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    load_s: float = 0.0


def cost(planned: Iterable[Cell]) -> Cost:
    """The cells, engine starts, requests and tokens of the whole plan."""
    planned = list(planned)
    sizes = [_size(cell) for cell in planned]
    return Cost(
        cells=len(planned),
        engine_starts=sum(engine is not None for engine, _ in by_engine(planned)),
        requests=sum(requests for requests, _, _ in sizes),
        prompt_tokens=sum(prompts for _, prompts, _ in sizes),
        output_tokens=sum(outputs for _, _, outputs in sizes),
        load_s=sum(cell.lasts_s or 0.0 for cell in planned),
    )


def _size(cell: Cell) -> tuple[int, int, int]:
    """The requests of one run of `cell`, their prompt tokens and their output tokens."""
    if cell.workload.is_conversation and not cell.workload.is_own:
        return _size_of_turns(cell)
    whole, (prompt, output) = cell.load.warmup + asked_requests(cell), cell.planned_lengths
    others = [slot for part in (primes(cell), *fillers(cell)) for slot in part]
    return (
        whole + len(others),
        whole * prompt + sum(slot.prompt_tokens for slot in others),
        whole * output + sum(slot.output_tokens for slot in others),
    )


def _size_of_turns(cell: Cell) -> tuple[int, int, int]:
    """The same of conversations, in which each turn repeats what was said before it."""
    warmup, turns = cell.load.warmup, conversations(cell) if cell.lasts_s is None else ()
    prompt, output = cell.planned_lengths
    return (
        warmup + len(turns),
        warmup * prompt + sum(one.said_tokens + one.prompt_tokens for one in turns),
        warmup * output + sum(one.output_tokens for one in turns),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment, its cells in the order in which they run, and their cost."""

    experiment: Experiment
    cells: tuple[Cell, ...]
    cost: Cost


def plan(experiment: Experiment | str | Path, model: str | None = None) -> Plan:
    """The plan of `experiment`: a record, a TOML file, or the name of one that ships. `model` is
    the name at an endpoint, for an experiment without engines. Raises SpecError where there is no
    such experiment, where it has no model, where a search has no SLO, or for a file of prompts of
    which a line cannot be sent."""
    asked = with_workload(load_experiment(experiment))
    planned = cells(asked, model=model)
    return Plan(asked, planned, cost(planned))
