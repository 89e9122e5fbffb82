"""Experiments as files to start from: the same experiment again, comments kept."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.cli.cell_options import asked_by_options
from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.experiment_file import load_experiment, parse, shipped
from journal.plan.own_prompts import with_workload
from journal.plan.toml_text import toml_text
from journal.records.experiment import Experiment

OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "concurrency": st.sampled_from(["1", "1,3,9"]),
    "prompt_tokens": st.sampled_from(["3000", "2900,3100"]),
    "output_tokens": st.sampled_from(["8", "16,32"]),
    "requests": st.integers(1, 10),
    "warmup": st.integers(0, 3),
    "repeats": st.integers(1, 3),
    "seed": st.integers(0, 9),
    "burstiness": st.sampled_from([0.0, 2.5]),
    "convoy": st.booleans(),
    "body": st.just(["top_p=0.5"]),
    "slo_ttft_ms": st.sampled_from([120.0, 0.5]),
    "natural_end": st.booleans(),
    "shuffle": st.booleans(),
    "abandon_after": st.just(2.5),
    "model": st.just('a "model"'),
}


def again(experiment: Experiment) -> Experiment:
    text = toml_text(experiment)
    read = parse(text, default_name=experiment.name, where="mine.toml")
    assert read.source == text
    return replace(read, source=experiment.source)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_experiment_is_its_file(name: str) -> None:
    experiment = load_experiment(name)
    assert toml_text(experiment) == shipped()[name].read_text()
    assert again(experiment) == experiment


@settings(max_examples=25)
@given(st.sampled_from(sorted(shipped())), st.fixed_dictionaries({}, optional=OPTIONS))
def test_options_are_in_the_file_and_comments_stay(name: str, options: dict[str, Any]) -> None:
    asked = asked_by_options({"experiment": str(shipped()[name]), **options})
    assert again(asked) == asked
    comments = [line for line in asked.source.splitlines() if line.startswith("#")]
    assert [line for line in toml_text(asked).splitlines() if line.startswith("#")] == comments


@pytest.mark.parametrize(
    "options",
    [
        {"prompts": "text:zh", "natural_end": True},
        {"prompts": "text:zh", "natural_end": True, "output_tokens": "256"},
        {"prompts": "text:en", "requests": 3},
        {"rate": "2,4"},
        {"rate": "10..100 in 60s"},
        {"rate": "2", "find_capacity": "rate", "slo_ttft_ms": 200.0},
        {"needed_vram": True},
        {"mix": ["3:128:32..96", "1:1024~0.5:16"]},
        {"turns": 6, "think_s": 2.0, "concurrency": "4"},
        {"shared_prefix": "0,16", "prefixes": 4},
        {"duration": 60.0},
    ],
    ids=lambda options: " ".join(options),
)
def test_the_file_of_another_workload_or_load_has_the_same_cells(options: dict[str, Any]) -> None:
    asked = asked_by_options({"experiment": "quickstart", **options})
    assert cells(with_workload(again(asked))) == cells(with_workload(asked))


def test_lengths_of_the_lines_in_place_of_those_of_the_file_and_back() -> None:
    for options in ({"prompts": "text:en"}, {"prompts": "text:en", "output_tokens": "64"}):
        asked = asked_by_options({"experiment": "reasoning", **options})
        assert again(asked).workload == asked.workload
        assert cells(with_workload(again(asked))) == cells(with_workload(asked))


def test_an_endpoint_is_no_file() -> None:
    with pytest.raises(SpecError, match="names a model to serve"):
        toml_text(Experiment(name="endpoint"))
