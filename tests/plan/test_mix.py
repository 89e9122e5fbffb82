"""Mixes have the lengths that were asked for, by their distributions."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
from builders import a_cell
from hypothesis import given
from hypothesis import strategies as st

from journal.cli.workload_options import parts_of_mix
from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.experiment_file import load_experiment
from journal.plan.mix import means, mixed, quantile, shares
from journal.plan.own_prompts import with_workload
from journal.plan.prompts import check_context, requests
from journal.plan.sequence import lengths
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.workload import Part, Workload
from journal.store.plain import from_json, to_json

SHORT = Part(weight=3.0, prompt_tokens=100, output_tokens="10..20")
LONG = Part(prompt_tokens="2000~0.5", output_tokens=5)
ONE = Part(prompt_tokens=1, output_tokens=1)


def drawn(length: int | str, count: int = 400) -> list[int]:
    mix = (replace(ONE, prompt_tokens=length),)
    return [prompt for prompt, _ in mixed(mix, count, 0)]


@given(st.integers(1, 5000), st.integers(0, 5000), st.integers(1, 300))
def test_uniform_lengths_are_uniform(low: int, more: int, count: int) -> None:
    got = sorted(drawn(f"{low}..{low + more}", count))
    assert low <= got[0] and got[-1] <= low + more
    for number, length in enumerate(got):  # the distance to the distribution asked
        below = (length - low + 1) / (more + 1)
        assert abs((number + 1) / count - below) <= 1 / count + 1 / (more + 1)


@given(st.integers(50, 20_000), st.floats(0.05, 1.5))
def test_log_normal_lengths_have_mean_and_spread(mean: int, spread: float) -> None:
    got = drawn(f"{mean}~{spread:.3f}", 1000)
    sigma = math.sqrt(math.log1p(spread**2))
    assert fmean(got) == pytest.approx(mean, rel=0.03)
    assert sorted(got)[500] == pytest.approx(mean / math.exp(sigma**2 / 2), rel=0.03, abs=1)
    assert pstdev(got) <= 1.05 * spread * mean + 1  # quantiles cut the far tail
    assert pstdev(got) >= 0.7 * spread * mean - 1


def test_lengths_from_a_file_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text("10\n10\n\n10\n400\n")
    assert Counter(drawn(f"@{path}", 40)) == {10: 30, 400: 10}


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6), st.integers(0, 500))
def test_each_part_has_its_share_to_the_nearest_request(weights: list[float], count: int) -> None:
    mix = [replace(ONE, weight=weight) for weight in weights]
    got = shares(mix, count)
    assert sum(got) == count
    for part, share in zip(mix, got, strict=True):
        assert abs(share - count * part.weight / sum(weights)) < 1


def test_parts_come_mixed_and_alike_in_each_repeat() -> None:
    mix = (SHORT, LONG)
    first, again, other = mixed(mix, 40, 0), mixed(mix, 40, 0), mixed(mix, 40, 1)
    assert first == again != other
    assert sorted(first) != first and sum(prompt == 100 for prompt, _ in first) == 30
    assert sorted(output for _, output in first) == sorted(output for _, output in other)


def test_a_cell_has_the_means_and_sends_the_mix() -> None:
    asked = Experiment(
        name="m", load=Load(requests=20, warmup=0), workload=Workload(mix=(SHORT, LONG))
    )
    (cell,) = cells(with_workload(asked), model="here")
    assert (cell.prompt_tokens, cell.output_tokens) == means((SHORT, LONG))
    assert cell.prompt_tokens == pytest.approx((3 * 100 + 2000) / 4, rel=0.02)
    here = Endpoint(base_url="http://127.0.0.1:1/v1", model="here")
    sent = [one for one in requests(cell, here, "run") if not one.warmup]
    asked_for = sorted((len(json.loads(r.content)["prompt"]), r.output_tokens) for r in sent)
    assert asked_for == sorted(lengths(cell))
    longest = max(sum(pair) for pair in lengths(cell))
    check_context(cell, longest)
    with pytest.raises(SpecError):
        check_context(cell, longest - 1)
    assert from_json(type(cell), to_json(cell)) == cell


def test_a_file_of_an_experiment_has_a_mix(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("7\n9\n")
    path = tmp_path / "x.toml"
    path.write_text(
        '[engine]\nmodel = "m"\n'
        '[[workload.mix]]\nweight = 3\nprompt_tokens = 64\noutput_tokens = "@l.txt"\n'
        '[[workload.mix]]\nprompt_tokens = "64..128"\noutput_tokens = 4\n'
    )
    settled = with_workload(load_experiment(path))
    assert settled.grid.output_tokens == (7,)
    before = settled.workload.content
    assert before is not None and len(settled.workload.mix) == 2
    (cell,) = cells(settled, model="m")
    assert {output for _, output in lengths(cell)} == {4, 7, 9}


def test_options_give_the_parts() -> None:
    assert parts_of_mix(["3:100:10..20", "1:2000~0.5:5"]) == (SHORT, LONG)
    assert parts_of_mix(None) is None
    for bad in ("3:100", "x:1:1", ""):
        with pytest.raises(SpecError, match="WEIGHT:PROMPT:OUTPUT"):
            parts_of_mix([bad])


@pytest.mark.parametrize("length", ["0..4", "9..4", "x", "100~0", "0~1", "@nowhere.txt", "1..2..3"])
def test_a_length_of_no_known_form_is_refused(length: str) -> None:
    with pytest.raises(SpecError, match=r"no length of a mix|cannot be read"):
        quantile(length)


@pytest.mark.parametrize(
    "changes",
    [
        {"load": Load(length_spread=0.2)},
        {"grid": Grid(prompt_tokens=(64,), shared_prefix=(16,))},
        {"workload": Workload(mix=(ONE,), prompts="x.jsonl")},
    ],
)
def test_a_mix_with_other_lengths_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="lengths of its own"):
        with_workload(Experiment(**{"name": "m", "workload": Workload(mix=(ONE,)), **changes}))


def test_a_mix_is_another_workload() -> None:
    one, two = (a_cell(workload=Workload(mix=mix)).workload.label for mix in ((SHORT,), ()))
    assert one != two
