"""The time of a plan: right within a factor of 2 of what a server of known speed takes, for every
experiment that ships, from the runs of another experiment alone."""

import heapq
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import BEGAN, HOST, a_record, an_experiment

from journal.errors import SpecError
from journal.plan.experiment_file import load_experiment, shipped
from journal.plan.plan import Plan, cost, plan
from journal.plan.sequence import sequence
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.records.money import Money
from journal.report import demo
from journal.run import run_time as module
from journal.run.run_time import run_time
from journal.store.store import new_id, open_store

START_S = 40.0


def truth_s(cell: Cell) -> float:
    """How long a server takes that reads a prompt token in 0.1 ms while all others wait, and whose
    decode step of 12 ms grows by 0.4 ms with each further sequence."""
    lanes, now = [0.0] * (cell.batch or 1), 0.0
    step_s = 0.012 + 0.0004 * (len(lanes) - 1)
    for slot in sequence(cell):
        disturbed_s = 0.0001 * slot.prompt_tokens * len(lanes)
        begins = now if slot.warmup and not slot.filler else max(now, heapq.heappop(lanes))
        ends = begins + 0.01 + disturbed_s + slot.output_tokens * step_s
        if slot.warmup and not slot.filler:
            now, lanes = ends, [ends] * len(lanes)
        else:
            heapq.heappush(lanes, ends)
    return max(lanes)


def measured(home: Path, cells: tuple[Cell, ...]) -> None:
    """A journal in `home` with a run of each cell on such a server, on this host."""
    with open_store(home) as store:
        begun = store.begin_experiment(an_experiment().experiment, BEGAN, HOST)
        for number, cell in enumerate(cells):
            run = a_record(
                id=new_id(),
                experiment_id=begun.id,
                environment=HOST,
                duration_s=truth_s(cell),
                facts=EngineFacts(start_s=START_S),
                started_at=BEGAN + timedelta(minutes=number),
            )
            store.add_run(replace(run, cell=cell), None)


YUAN = Money(amount=3.6, currency="CNY")


@pytest.fixture
def _on_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "environment", lambda: HOST)


@pytest.mark.usefixtures("_on_bench")
@pytest.mark.parametrize("name", shipped())
def test_the_time_of_each_experiment_that_ships_is_right_within_a_factor_of_2(
    name: str, tmp_path: Path
) -> None:
    planned = plan(replace(load_experiment(name), find_capacity=None, usd_per_hour=3.6))
    other = Experiment(
        name="other",
        engines=planned.experiment.engines,
        grid=Grid(batch=(1, 4), prompt_tokens=(64, 512), output_tokens=(16,)),
        load=Load(requests=10),
    )
    measured(tmp_path, plan(other).cells)
    time = run_time(planned, tmp_path)
    think_s = sum(
        cell.workload.think_s * cell.load.requests / cell.shape.value for cell in planned.cells
    )
    took_s = sum(map(truth_s, planned.cells)) + think_s
    assert time.load_s is not None
    if planned.experiment.grid.rate:
        return  # the clock sets its time
    assert took_s / 2 < time.load_s < took_s * 2, (time.load_s, took_s)
    assert time.start_s == START_S * planned.cost.engine_starts
    assert time.usd == pytest.approx((time.total_s or 0) / 1000)
    yuan = replace(planned.experiment, usd_per_hour=None, price_per_hour=YUAN)
    price = run_time(replace(planned, experiment=yuan), tmp_path)
    assert price.usd is None and price.price is not None
    assert (price.price.amount, price.price.currency) == (pytest.approx(time.usd), "CNY")


def test_the_recorded_journal_gives_the_time_of_its_own_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its runs at batch 1 and 4, those at batch 16, whose times are known."""
    demo.demo(tmp_path)
    with open_store(tmp_path) as store:
        runs = [run for run in store.runs(metrics=()) if run.good]
        asked = store.experiments()[0].experiment
    monkeypatch.setattr(module, "_runs_here", lambda _: [r for r in runs if r.cell.batch != 16])
    last = tuple(run for run in runs if run.cell.batch == 16)
    cells = tuple(run.cell for run in last)
    time = run_time(Plan(asked, cells, cost(cells)), tmp_path)
    took_s = sum(run.duration_s for run in last)
    assert time.load_s == pytest.approx(took_s, rel=0.25)


@pytest.mark.usefixtures("_on_bench")
def test_without_runs_it_is_a_floor_or_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.gpu_memory, "here", lambda: ())
    engine = Engine(model="mistralai/Mistral-7B-Instruct-v0.2")
    planned = plan(Experiment(name="x", engines=(engine,), load=Load(requests=10, warmup=2)))
    unknown = run_time(planned, tmp_path / "none")
    assert (unknown.load_s, unknown.start_s, unknown.usd, unknown.runs) == (None, None, None, 0)
    assert not (tmp_path / "none").exists(), "a question makes no journal"
    monkeypatch.setattr(module.gpu_memory, "here", lambda: (SimpleNamespace(name="NVIDIA L40S"),))
    floor = run_time(planned, tmp_path / "none")
    readings_of_the_weights = 12 * (1 + 64)  # by a prompt, and by each token of 64
    assert floor.runs == 0
    assert floor.load_s == pytest.approx(readings_of_the_weights * 14.48e9 / 864e9, rel=0.05)


@pytest.mark.usefixtures("_on_bench")
def test_runs_of_another_host_build_or_model_tell_nothing(tmp_path: Path) -> None:
    engine = Engine(model="m", dtype="float32")
    asked = Experiment(name="x", engines=(engine,), load=Load(requests=10))
    for other in (
        replace(asked, engines=(replace(engine, dtype="float16"),)),
        replace(asked, engines=(replace(engine, model="n"),)),
    ):
        measured(tmp_path, plan(other).cells)
    assert run_time(plan(asked), tmp_path).runs == 0
    measured(tmp_path, plan(asked).cells)
    assert run_time(plan(asked), tmp_path).runs == 1
    module_host = HOST | {"host": "elsewhere"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "environment", lambda: module_host)
        assert run_time(plan(asked), tmp_path).runs == 0


def test_the_clock_sets_the_time_of_open_loops_and_durations(tmp_path: Path) -> None:
    at_rate = Experiment(name="x", grid=Grid(rate=(2.0, 4.0)), load=Load(requests=40))
    assert run_time(plan(at_rate, "m"), tmp_path).load_s == 40 / 2 + 40 / 4
    for_time = Experiment(name="x", grid=Grid(batch=(1, 2)), load=Load(duration_s=30))
    assert run_time(plan(for_time, "m"), tmp_path).total_s == 60
    search = replace(at_rate, grid=Grid(), find_capacity="rate", slo=Slo(ttft_ms=200))
    assert run_time(plan(search, "m"), tmp_path).at_most
    with pytest.raises(SpecError):
        plan(replace(search, slo=None), "m")
