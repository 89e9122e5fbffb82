"""The time and the money that an experiment will take, before anything runs: from the journal's own
runs of its engines, else from the floors of theory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np

from journal.compare.least_pool import MOST_TRIES
from journal.measure.environment import environment
from journal.plan.cells import by_engine
from journal.plan.plan import Plan
from journal.plan.sequence import sequence
from journal.plan.trace_file import arrivals_of
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment
from journal.records.money import USD, Money
from journal.records.run import Record
from journal.run.capacity_search import price_of
from journal.run.pool_search import most_starts
from journal.serve import gpu_memory
from journal.serve.describe import undescribed
from journal.store.database import file_of, store_address
from journal.store.store import open_store
from journal.theory.predictions import ServedModel, served_model

# How the parts of a run's work share its time where its runs do not tell: a prompt token, a decode
# step, a token of that step, and a wave of requests, in decode steps. Few runs leave parts open.
USUAL_PARTS = np.array([0.02, 1.0, 0.02, 1.0])
HOLD = 0.05  # the weight of USUAL_PARTS against one run
MOST_RUNS = 500  # the newest, which tell enough

ServedAs: TypeAlias = tuple[str, str | None, str | None, int | None]


@dataclass(frozen=True, slots=True)
class RunTime:
    """The time of a plan in s and its `price`, in the currency of the host's; `usd` is that in USD.
    `load_s` is the time under load, `start_s` that of all engine starts; None where nothing here
    tells it. `runs` is the number of the journal's own runs behind the load (0: it is a floor,
    which no server is faster than). `at_most` marks the time of a search, which ends sooner
    where its runs decide."""

    load_s: float | None
    start_s: float | None
    runs: int
    at_most: bool
    usd: float | None
    price: Money | None = None

    @property
    def total_s(self) -> float | None:
        """The load and the starts together, in s; None where the load is not known."""
        return None if self.load_s is None else self.load_s + (self.start_s or 0.0)


def run_time(planned: Plan, home: Path | str = "lab") -> RunTime:
    """The time that `planned` will take on this host. Runs of the same model and build that the
    journal in `home` holds of this host come first; else, where the kind of GPU is known, theory's
    floors. Fetching a model and the quality check are not in it. Raises StoreError."""
    asked, cells = planned.experiment, planned.cells
    here = _runs_here(Path(home))
    times, behind = [], 0
    for served_as in dict.fromkeys(map(_served_as, cells)):
        own = [run for run in here if _served_as(run.cell) == served_as and _is_plain(run.cell)]
        behind += len(own)
        parts = _parts(own) if own else None
        times += [_cell_s(cell, asked, parts) for cell in cells if _served_as(cell) == served_as]
    known = [time for time in times if time is not None]
    load_s = sum(known) if len(known) == len(times) else None
    start_s = _starts_s(asked, cells, here)
    if load_s is not None and asked.needed_vram:
        load_s *= 1 + MOST_TRIES
    total_s = None if load_s is None else load_s + (start_s or 0.0)
    price = _times(asked.price, total_s)
    return RunTime(
        load_s=load_s,
        start_s=start_s,
        runs=behind,
        at_most=asked.needed_vram or asked.find_capacity is not None,
        usd=price.amount if price is not None and price.currency == USD else None,
        price=price,
    )


def _times(per_hour: Money | None, length_s: float | None) -> Money | None:
    if per_hour is None or length_s is None:
        return None
    return replace(per_hour, amount=per_hour.amount * length_s / 3600)


def _runs_here(home: Path) -> list[Record]:
    """The good runs of this host, without their metrics; none where there is no journal, which is
    not made for a question."""
    path = file_of(store_address(home))
    if path is not None and not path.is_file():
        return []
    host = environment()["host"]
    with open_store(home) as store:
        runs = store.runs(metrics=(), limit=MOST_RUNS)
    return [run for run in runs if run.good and run.environment.get("host") == host]


def _served_as(cell: Cell) -> ServedAs:
    """What the speed of a server depends on most: its model, its build and its GPUs."""
    engine = cell.engine
    of_engine = (None, None) if engine is None else (engine.dtype, engine.gpu_count)
    return cell.model, cell.quantisation, *of_engine


def _work(cell: Cell) -> np.ndarray:
    """The work of a closed loop: prompt tokens, decode steps, output tokens, waves of requests."""
    slots, lanes = sequence(cell), cell.batch or 1
    alone = [slot for slot in slots if slot.warmup and not slot.filler]
    waves = len(alone) + (len(slots) - len(alone)) / lanes
    first = sum(slot.output_tokens for slot in alone)
    outputs = sum(slot.output_tokens for slot in slots)
    prompts = sum(slot.prompt_tokens for slot in slots)
    return np.array([prompts, first + (outputs - first) / lanes, outputs, waves], dtype=float)


def _parts(runs: Sequence[Record]) -> np.ndarray:
    """The time in s of each part of `_work`, by least squares of the relative errors of `runs`,
    held near USUAL_PARTS."""
    work = np.array([_work(run.cell) * USUAL_PARTS for run in runs])
    took = np.array([run.duration_s for run in runs])
    step_s = median(took / work.sum(axis=1))
    rows = np.vstack([work * step_s / took[:, None], HOLD**0.5 * np.eye(len(USUAL_PARTS))])
    right = np.concatenate([np.ones(len(runs)), HOLD**0.5 * np.ones(len(USUAL_PARTS))])
    factors = np.linalg.lstsq(rows, right, rcond=None)[0]
    parts: np.ndarray = np.maximum(factors, 0.0) * step_s * USUAL_PARTS
    return parts


def _is_plain(cell: Cell) -> bool:
    """Whether the length of a run of `cell` is that of its work alone, which is known."""
    known = cell.prompt_tokens is not None and cell.output_tokens is not None
    timed = cell.shape.is_open or cell.workload.trace or cell.lasts_s or cell.workload.think_s
    return known and not timed


def _cell_s(cell: Cell, asked: Experiment, parts: np.ndarray | None) -> float | None:
    """The time of one run of `cell`: what its clock sets, and what its work takes by `parts`, else
    by the floors of its model on the GPU that is here."""
    if asked.find_capacity is not None:
        return price_of(cell, asked.find_capacity).load_s
    if cell.lasts_s is not None:
        return cell.lasts_s
    if cell.workload.trace is not None:
        return arrivals_of(cell.workload)[-1].at_s
    if cell.shape.is_open:
        return cell.load.requests / cell.shape.value
    think_s = cell.workload.think_s * cell.load.requests / cell.shape.value
    if parts is not None:
        return float(_work(cell) @ parts) + think_s
    served = _served(cell, asked)
    if served is None:
        return None
    prompts, steps, _, _ = _work(cell)
    prompt, output = cell.planned_lengths
    read_s = served.ttft_floor_s(prompt)
    step_s = served.tpot_floor_s(cell.batch or 1, prompt + output // 2)
    if read_s is None or step_s is None:
        return None
    return float(prompts / prompt * read_s + steps * step_s) + think_s


def _served(cell: Cell, asked: Experiment) -> ServedModel | None:
    """The model of `cell` on the GPUs of this host, or at the rates that the experiment gives."""
    gpus = {gpu.name for gpu in gpu_memory.here()}
    kind = gpus.pop() if len(gpus) == 1 else None
    if cell.engine is None or (kind is None and asked.card_rates is None):
        return None
    facts = EngineFacts(card=kind, card_rates=asked.card_rates)
    return served_model(undescribed(cell.engine, facts), cell.engine, cell.engine.gpu_count)


def _starts_s(asked: Experiment, cells: Sequence[Cell], runs: Sequence[Record]) -> float | None:
    """The time of all engine starts: each takes as long as those of its model in `runs`, else as
    those of any; 0 without an engine, None where `runs` has no start."""
    began = {
        (run.facts.start_s, _served_as(run.cell)) for run in runs if run.facts.start_s is not None
    }
    engines = [_served_as(group[0]) for engine, group in by_engine(cells) if engine is not None]
    if not engines:
        return 0.0
    if not began:
        return None
    each = [
        median([s for s, of in began if of == model] or [s for s, _ in began]) for model in engines
    ]
    return sum(each) * most_starts(asked, cells) / len(engines)
