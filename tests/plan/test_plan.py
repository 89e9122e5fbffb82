"""Plans: cells and cost, of an experiment by any of its names."""

from dataclasses import replace
from pathlib import Path

import pytest

from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.experiment_file import load_experiment
from journal.plan.plan import Cost, plan
from journal.records.experiment import Engine, Experiment, Grid, Load

TWO_ENGINES = Experiment(
    name="x",
    engines=(Engine(model="a"), Engine(model="b", quantisation="awq")),
    grid=Grid(batch=(1, 8), prompt_tokens=(16, 64), output_tokens=(32,)),
    load=Load(requests=10, warmup=2, repeats=3),
)


def test_the_cost_counts_warm_up_too() -> None:
    convoys = replace(TWO_ENGINES, load=replace(TWO_ENGINES.load, convoy=True))
    planned = plan(convoys)
    assert planned.experiment is convoys
    assert planned.cells == cells(convoys)
    assert planned.cost == Cost(24, 6, 24 * 12, 12 * 12 * (16 + 64), 24 * 12 * 32)


def test_the_cost_counts_the_fillers_of_spread_streams() -> None:
    """Of 8 streams: 8 cut ones, 7 whole ones and 7 cut ones after the measured requests."""
    cost, fillers = plan(TWO_ENGINES).cost, 12 * (8 + 7 + 7)
    tokens = 12 * (4 * sum(range(1, 9)) + 7 * 32 + 4 * sum(range(1, 8)))
    assert (cost.cells, cost.requests) == (24, 24 * 12 + fillers)
    assert cost.prompt_tokens == 12 * 12 * (16 + 64) + fillers * (16 + 64) / 2
    assert cost.output_tokens == 24 * 12 * 32 + tokens


def test_an_experiment_is_named_by_a_file_or_as_it_ships(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[engine]\nmodel = "m"\n[grid]\nbatch = [2, 4]\n')
    for named in (file, str(file)):
        assert [cell.batch for cell in plan(named).cells] == [2, 4]
    assert plan("quickstart") == plan(load_experiment("quickstart"))
    with pytest.raises(SpecError, match="quickstrat"):
        plan("quickstrat")


def test_the_name_at_an_endpoint_is_that_of_an_experiment_without_engines() -> None:
    bare = Experiment(name="endpoint")
    assert {cell.model for cell in plan(bare, "served").cells} == {"served"}
    assert plan(bare, "served").cost.engine_starts == 0
    with pytest.raises(SpecError, match="names no model"):
        plan(bare)
