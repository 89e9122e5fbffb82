"""Plans: cells and cost, of an experiment by any of its names."""

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
    planned = plan(TWO_ENGINES)
    assert planned.experiment is TWO_ENGINES
    assert planned.cells == cells(TWO_ENGINES)
    assert planned.cost == Cost(24, 6, 24 * 12, 12 * 12 * (16 + 64), 24 * 12 * 32)


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
