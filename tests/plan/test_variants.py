"""Variants of a load: the same requests with other fields, each a cell of its own."""

import json

import pytest

from journal.errors import SpecError
from journal.plan.cells import cells, check_count
from journal.plan.experiment_file import load_experiment, parse
from journal.plan.own_prompts import with_workload
from journal.plan.plan import plan
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load, Variant

HERE = Endpoint(base_url="http://127.0.0.1:1/v1", model="here", prompt_form="token_ids")
FREE, JSON = Variant(name="free"), Variant(name="JSON", body={"response_format": {"type": "x"}})


def asked(*variants: Variant, **load: object) -> Experiment:
    own = Load(warmup=0, requests=2, variants=variants, **load)  # type: ignore[arg-type]
    return Experiment(name="mine", grid=Grid(batch=(1, 2)), load=own)


def test_each_variant_is_a_cell_with_its_own_fields_and_the_same_prompts() -> None:
    made = cells(asked(FREE, JSON, body={"top_p": 0.5}, repeats=2), model="here")
    assert [one.load.variant for one in made] == ["free", "JSON"] * 4
    assert len({one.identity for one in made}) == len(made)
    free, constrained = (
        [json.loads(one.content) for one in requests(cell, HERE, "run")] for cell in made[:2]
    )
    assert [one["prompt"] for one in free] == [one["prompt"] for one in constrained]
    assert all(one["top_p"] == 0.5 and "response_format" not in one for one in free)
    assert all(one["response_format"] == {"type": "x"} for one in constrained)


def test_a_variant_without_fields_is_the_cell_that_it_would_be_without_variants() -> None:
    (plain, *_), (alone, *_) = (cells(asked(*v), model="here") for v in ((FREE, JSON), ()))
    assert plain.identity == alone.identity


def test_a_variant_may_name_an_adapter() -> None:
    adapter = Variant(name="adapter", body={"model": "sql"})
    made = cells(asked(FREE, adapter), model="here")
    models = [json.loads(requests(cell, HERE, "run")[0].content)["model"] for cell in made[:2]]
    assert models == ["here", "sql"]
    assert {cell.model for cell in made} == {"here"}


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ((FREE, FREE), "have the name 'free' or the same fields"),
        ((FREE, Variant(name="also free")), "have the name 'also free' or the same fields"),
        ((Variant(name="x", body={"prompt": "mine"}),), "the field 'prompt' .* is not free"),
    ],
)
def test_variants_that_cannot_be_told_apart_are_refused(
    variants: tuple[Variant, ...], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        cells(asked(*variants), model="here")


@pytest.mark.parametrize("field", ["model", "prompt", "messages", "stream"])
def test_fields_that_the_program_sets_are_refused_in_a_file_as_in_options(field: str) -> None:
    source = f'[engine]\nmodel = "here"\n[load.body]\n{field} = "mine"'
    experiment = parse(source, default_name="mine", where="mine.toml")
    with pytest.raises(SpecError, match=f"the field '{field}' of a request is not free"):
        cells(experiment)


def test_variants_are_counted_before_they_are_laid_out() -> None:
    many = tuple(Variant(name=f"v{n}", body={"n": n}) for n in range(100))
    with pytest.raises(SpecError, match="has 20,200 cells"):
        check_count(asked(*many, repeats=101))


@pytest.mark.parametrize("name", ["lora", "structured"])
def test_what_ships_asks_each_cell_with_and_without(name: str) -> None:
    experiment = with_workload(load_experiment(name))
    planned = plan(experiment).cells
    assert len(planned) == 2 * len(experiment.load.variants) * experiment.load.repeats == 12
    plain, other = (planned[n].load for n in (0, 1))
    assert plain.body == {}
    assert set(other.body) == {"lora": {"model"}, "structured": {"response_format"}}[name]
