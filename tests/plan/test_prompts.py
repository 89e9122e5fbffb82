"""Prompts: their lengths, no two of one beginning, and arrivals that keep their rate."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.prompts import OPENING, arrivals, requests
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.request import Request

ENDPOINT = Endpoint(base_url="http://127.0.0.1:1/v1", model="served")


def cell(**grid: tuple[float, ...]) -> Cell:
    grid = {"prompt_tokens": (64,), "output_tokens": (32,)} | grid
    experiment = Experiment(name="x", grid=Grid(**grid), load=Load(requests=10, warmup=2))
    return cells(experiment, model="m")[0]


def prompts(of: tuple[Request, ...]) -> list[list[int]]:
    return [json.loads(request.body)["prompt"] for request in of]


@given(st.integers(1, 600), st.integers(0, 2**32))
def test_token_prompts_are_exactly_as_long_as_asked(length: int, seed: int) -> None:
    made = requests(replace(cell(prompt_tokens=(length,)), seed=seed), ENDPOINT, "run")
    low, high = ENDPOINT.vocabulary
    for ids in prompts(made):
        assert len(ids) == length
        assert all(low <= token < high for token in ids)


def test_no_two_prompts_of_a_run_or_of_two_runs_begin_alike() -> None:
    openings = [
        tuple(ids[:OPENING])
        for run in ("one", "two")
        for ids in prompts(requests(cell(), ENDPOINT, run))
    ]
    assert len(set(openings)) == len(openings)


def test_a_run_can_be_drawn_again_and_two_runs_differ_only_in_their_openings() -> None:
    first, again, other = (requests(cell(), ENDPOINT, run) for run in ("one", "one", "two"))
    assert first == again
    for mine, theirs in zip(prompts(first), prompts(other), strict=True):
        assert mine[OPENING:] == theirs[OPENING:]


def test_warm_up_comes_first_and_is_marked() -> None:
    marks = [request.warmup for request in requests(cell(), ENDPOINT, "r")]
    assert marks == [True] * 2 + [False] * 10


def test_the_output_is_held_and_greedy_where_the_server_can() -> None:
    body = json.loads(requests(cell(), ENDPOINT, "r")[0].body)
    assert (body["max_tokens"], body["ignore_eos"], body["temperature"]) == (32, True, 0.0)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    plain = replace(ENDPOINT, extensions=False)
    body = json.loads(requests(cell(), plain, "r")[0].body)
    assert "ignore_eos" not in body
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_text_prompts_follow_the_servers_own_count(api: str) -> None:
    endpoint = replace(
        ENDPOINT, api=api, prompt_form="text", tokens_per_word=2.0, overhead_tokens=10
    )
    body = json.loads(requests(cell(), endpoint, "r")[0].body)
    text = body["prompt"] if api == "completions" else body["messages"][0]["content"]
    assert len(text.split()) == (64 - 10) / 2


def test_a_prompt_past_the_context_is_refused_with_the_sizes() -> None:
    with pytest.raises(SpecError, match=r"64 prompt \+ 32 output tokens = 96 pass .* of 95"):
        requests(cell(), replace(ENDPOINT, max_model_len=95), "r")
    assert requests(cell(), replace(ENDPOINT, max_model_len=96), "r")


@given(
    st.floats(0.001, 10_000),
    st.one_of(st.just(0.0), st.floats(0.0001, 100)),
    st.integers(2, 400),
    st.integers(0, 2**32),
)
def test_arrivals_come_to_the_rate_whatever_the_seed(
    rate: float, burstiness: float, count: int, seed: int
) -> None:
    open_loop = replace(
        cell(rate=(rate,)), load=Load(requests=count, burstiness=burstiness), seed=seed
    )
    due = arrivals(open_loop)
    assert due[0] == 0.0
    assert len(due) == count
    assert due == sorted(due)
    assert (count - 1) / due[-1] == pytest.approx(rate, rel=1e-9)
    assert due == arrivals(open_loop)


def test_a_single_arrival_is_due_at_once() -> None:
    assert arrivals(replace(cell(rate=(4.0,)), load=Load(requests=1))) == [0.0]


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_arrivals_keep_their_rate_and_their_spread(burstiness: float) -> None:
    open_loop = replace(cell(rate=(10.0,)), load=Load(requests=20_001, burstiness=burstiness))
    due = arrivals(open_loop)
    gaps = [later - earlier for earlier, later in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.05)
    assert variance == pytest.approx(0.01 / burstiness, rel=0.15)
