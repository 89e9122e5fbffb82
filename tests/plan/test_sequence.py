"""The sequence of a cell's requests: fillers keep streams apart, and lengths have their mean."""

import json
from dataclasses import replace
from itertools import accumulate, pairwise
from statistics import fmean, median, pstdev

import pytest
from builders import a_cell, a_trace, samples_of
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.metrics.table import metrics
from journal.plan.prompts import check_context, requests
from journal.plan.sequence import Slot, fillers, lengths, sequence, spread_around
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Load
from journal.records.request import Trace


def closed(batch: int, **load: object) -> Cell:
    return a_cell(batch=batch, load=Load(**{"requests": 24, **load}))  # type: ignore[arg-type]


def test_fillers_go_around_the_measured_requests_of_spread_streams() -> None:
    made = sequence(closed(4))
    assert [slot.warmup for slot in made] == [True] * (2 + 4 + 3) + [False] * 24 + [True] * 3
    assert [slot.filler for slot in made] == [False] * 2 + [True] * 7 + [False] * 24 + [True] * 3
    assert [slot.output_tokens for slot in made] == [
        *[32, 32, 8, 16, 24, 32, 32, 32, 32],
        *[32] * 24,
        *[24, 16, 8],
    ]
    assert [slot.phase for slot in made if slot.phase] == [0.25, 0.5, 0.75, 1.0]
    assert {slot.prompt_tokens for slot in made} == {64}


@pytest.mark.parametrize(
    "cell", [closed(1), closed(8, convoy=True), a_cell(batch=None, rate=2.0)], ids=str
)
def test_one_stream_a_convoy_and_an_open_loop_have_no_fillers(cell: Cell) -> None:
    assert fillers(cell) == ((), ())
    assert len(sequence(cell)) == cell.load.warmup + 24


def test_a_filler_has_a_token_at_least() -> None:
    before, after = fillers(replace(closed(64), output_tokens=1))
    assert {slot.output_tokens for slot in (*before, *after)} == {1}


def test_fillers_after_the_measured_requests_last_for_the_longest_of_them() -> None:
    cell = closed(4, length_spread=0.5)
    longest = max(output for _, output in lengths(cell))
    assert fillers(cell)[1][0].output_tokens >= 0.75 * longest > 32


def test_requests_carry_their_slots() -> None:
    cell = closed(4, length_spread=0.5)
    made = requests(cell, Endpoint(base_url="http://127.0.0.1:1/v1", model="m"), "run")
    for request, slot in zip(made, sequence(cell), strict=True):
        body = json.loads(request.body)
        assert len(body["prompt"]) == request.prompt_tokens == slot.prompt_tokens
        assert body["max_tokens"] == request.output_tokens == slot.output_tokens
        assert (request.warmup, request.filler) == (slot.warmup, slot.filler)
        assert request.phase == slot.phase


@given(st.integers(1, 5000), st.floats(0.01, 1), st.integers(2, 300))
def test_lengths_that_are_spread_keep_their_mean(mean: int, spread: float, count: int) -> None:
    made = spread_around(mean, spread, count)
    assert len(made) == count
    assert sum(made) == mean * count
    assert min(made) >= 1
    assert made == sorted(made)


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("count", [24, 1000])
def test_lengths_have_the_coefficient_of_variation_that_is_given(spread: float, count: int) -> None:
    made = spread_around(512, spread, count)
    assert pstdev(made) / fmean(made) == pytest.approx(spread, rel=0.02)


def test_each_repeat_has_the_same_lengths_in_an_order_of_its_own() -> None:
    cell = closed(4, length_spread=0.3)
    first, again, other = (lengths(replace(cell, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    for one, two in zip(zip(*first, strict=True), zip(*other, strict=True), strict=True):
        assert sorted(one) == sorted(two)
    assert first != sorted(first)
    assert lengths(closed(4)) == [(64, 32)] * 24


def test_the_longest_of_spread_lengths_must_fit_the_context() -> None:
    cell = closed(4, length_spread=0.3)
    longest = max(prompt + output for prompt, output in lengths(cell))
    check_context(cell, longest)
    with pytest.raises(SpecError, match=rf"= {longest} \(the longest by length_spread\) pass"):
        check_context(cell, longest - 1)


# ---- an engine whose prompts and decodes share its steps -----------------------------------------

STEP_S, PREFILL_S = 0.02, 0.01  # a decoding step, and what a prompt adds to it


def served(cell: Cell, at_once: int = 10**6) -> tuple[Trace, ...]:
    """The traces of `cell` on an engine that makes one token of every stream in a step, and reads
    up to `at_once` waiting prompts in it, each of which makes the step longer."""
    left = iter(enumerate(sequence(cell)))
    begun = {index: (slot, 0.0) for index, slot in [next(left) for _ in range(cell.batch or 1)]}
    waiting, chunks, now_s = list(begun), dict[int, list[float]](), 0.0
    traces = []
    while waiting or chunks:
        reading, waiting = waiting[:at_once], waiting[at_once:]
        now_s += STEP_S * bool(chunks) + PREFILL_S * len(reading)
        for index in [*chunks, *reading]:
            chunks.setdefault(index, []).append(now_s)
            slot, start_s = begun[index]
            if len(chunks[index]) < slot.output_tokens:
                continue
            traces.append(_trace(index, slot, start_s, tuple(chunks.pop(index))))
            if (following := next(left, None)) is not None:
                begun[following[0]] = following[1], now_s
                waiting.append(following[0])
    return tuple(traces)


def _trace(index: int, slot: Slot, start_s: float, chunk_s: tuple[float, ...]) -> Trace:
    return a_trace(
        index,
        warmup=slot.warmup,
        scheduled_s=start_s,
        start_s=start_s,
        end_s=chunk_s[-1],
        chunk_s=chunk_s,
        chunk_tokens=(1,) * slot.output_tokens,
        prompt_tokens=slot.prompt_tokens,
        output_tokens=slot.output_tokens,
        prompt_tokens_asked=slot.prompt_tokens,
        output_tokens_asked=slot.output_tokens,
    )


def figures(cell: Cell, at_once: int = 10**6) -> dict[str, float]:
    found = metrics(samples_of(cell, *served(cell, at_once)))
    return {name: figure.value for name, figure in found.items() if figure.value is not None}


def test_streams_in_convoy_meet_another_engine_than_streams_that_are_spread() -> None:
    """In an engine model at batch 64: the prompts of a convoy are read together and no decode is
    disturbed. Spread streams meet what requests of mixed lengths meet, whatever their lengths."""
    of = {"requests": 256, "warmup": 0}
    convoy, spread = figures(closed(64, convoy=True, **of)), figures(closed(64, **of))
    mixed = figures(closed(64, length_spread=0.5, **of))
    assert convoy["ttft_s.p50"] == pytest.approx(0.64)
    assert convoy["tpot_s.mean"] == pytest.approx(0.02)
    assert spread["ttft_s.p50"] == pytest.approx(0.05, abs=0.012)
    assert spread["tpot_s.mean"] == pytest.approx(0.04, rel=0.02)
    assert mixed["ttft_s.p50"] == pytest.approx(0.05, abs=0.012)
    assert mixed["tpot_s.mean"] == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize("at_once", [4, 10**6])
@pytest.mark.parametrize("turns", [1, 3, 20])
def test_figures_of_spread_streams_are_those_of_a_long_run_from_the_first_request_on(
    at_once: int, turns: int
) -> None:
    """Neither ramp-up nor drain is in them: 32 tokens of 64 streams take 31 steps, of which the 64
    prompts of a turn make 640 ms more."""
    found = figures(closed(64, requests=64 * turns, warmup=0), at_once)
    turn_s = 32 * STEP_S + 64 * PREFILL_S
    assert found["output_tokens_per_s"] == pytest.approx(64 * 32 / turn_s, rel=0.02)
    assert found["steady_output_tokens_per_s"] == pytest.approx(64 * 32 / turn_s, rel=0.03)
    assert found["requests_per_s"] == pytest.approx(64 / turn_s, rel=0.02)
    assert found["duration_s"] == pytest.approx(turns * turn_s, rel=0.02)
    assert found["concurrency_mean"] == pytest.approx(64, rel=0.02)
    assert found["concurrency_peak"] == 64
    assert found["ttft_s.p99" if turns == 20 else "ttft_s.p50"] <= 0.08


def test_a_first_turn_of_whole_fillers_keeps_the_prompts_of_the_start_apart() -> None:
    """All streams begin together. Where an engine reads few prompts at once, the requests that
    follow the shortest fillers wait behind all of them: these are not measured."""
    traces = served(closed(64, requests=64, warmup=0), at_once=4)
    waits = {trace.index: trace.chunk_s[0] - trace.start_s for trace in traces}
    assert max(waits[index] for index in range(64, 127)) > 0.5
    assert max(waits[index] for index in range(127, 191)) < 0.1


def test_streams_stay_spread() -> None:
    traces = [t for t in served(closed(16, requests=160, warmup=0)) if not t.warmup]
    starts = sorted(trace.start_s for trace in traces)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    turn_s = median(trace.end_s - trace.start_s for trace in traces)
    assert max(gaps) <= 2.5 * turn_s / 16
    assert list(accumulate(gaps))[-1] == pytest.approx(10 * turn_s, rel=0.1)
