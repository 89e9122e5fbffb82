"""The slope, against an engine that is known to the token."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.records.engine import EngineFacts
from journal.records.request import Trace
from journal.records.samples import ServerReading
from journal.theory.slope import kv_slope

BLOCK, TOKEN_BYTES, BLOCKS = 16, 23_040, 5824
FACTS = EngineFacts(kv_pool_bytes=BLOCKS * BLOCK * TOKEN_BYTES, block_size=BLOCK)


def trace(index: int, start_s: float, prompt: int, output: int) -> Trace:
    """First token after 1 s, then one each 0.1 s."""
    chunks = tuple(start_s + 1 + 0.1 * number for number in range(output))
    return Trace(
        index=index,
        warmup=False,
        scheduled_s=start_s,
        start_s=start_s,
        end_s=chunks[-1] + 0.1,
        outcome="ok",
        prompt_tokens_asked=prompt,
        output_tokens_asked=output,
        chunk_s=chunks,
        prompt_tokens=prompt,
        output_tokens=output,
    )


def held(traces: list[Trace], at_s: float) -> float:
    """The fraction of the pool that such an engine has handed out at `at_s`."""
    blocks = 0
    for one in traces:
        if one.start_s <= at_s < one.end_s:
            made = sum(chunk <= at_s for chunk in one.chunk_s)
            share = min(1.0, at_s - one.start_s)  # of the prompt, while it is being read
            prompt = (one.prompt_tokens or 0) * (1 if made else share)
            blocks += ceil((prompt + made) / BLOCK)
    return blocks / BLOCKS


def readings(traces: list[Trace], every_s: float = 0.23) -> list[ServerReading]:
    last = max(one.end_s for one in traces) + 1
    times = [every_s * number for number in range(int(last / every_s))]
    return [ServerReading(at_s=at_s, kv_cache_fraction=held(traces, at_s)) for at_s in times]


def test_a_known_engine_is_measured_to_the_byte() -> None:
    traces = [trace(0, 0.0, 500, 80), trace(1, 0.3, 33, 120), trace(2, 4.0, 900, 60)]
    slope = kv_slope(readings(traces), traces, FACTS)
    assert slope is not None
    assert slope.bytes_per_token == pytest.approx(TOKEN_BYTES, rel=1e-9)
    assert slope.low <= slope.bytes_per_token <= slope.high
    assert slope.tokens[0] < slope.tokens[1]


loads = st.lists(
    st.tuples(st.floats(0, 5), st.integers(1, 2000), st.integers(2, 80)), min_size=1, max_size=6
)


@given(loads)
def test_any_load_gives_the_same_slope_or_none(load: list[tuple[float, int, int]]) -> None:
    traces = [trace(index, *one) for index, one in enumerate(load)]
    slope = kv_slope(readings(traces), traces, FACTS)
    if slope is not None:
        assert slope.bytes_per_token == pytest.approx(TOKEN_BYTES, rel=1e-6)
        assert slope.points >= 5


def test_the_block_that_vllm_keeps_back_is_not_counted_as_in_use() -> None:
    blocks = 80  # a small pool, in which one block is more than 1%
    facts = EngineFacts(
        kv_pool_bytes=blocks * BLOCK * TOKEN_BYTES,
        kv_pool_tokens=blocks * BLOCK,
        block_size=BLOCK,
    )
    traces = [trace(0, 0.0, 500, 80), trace(1, 0.3, 33, 120)]
    seen = [
        replace(reading, kv_cache_fraction=(reading.kv_cache_fraction or 0) * BLOCKS / (blocks - 1))
        for reading in readings(traces)
    ]
    slope = kv_slope(seen, traces, facts)
    assert slope is not None
    assert slope.bytes_per_token == pytest.approx(TOKEN_BYTES, rel=1e-9)


def test_readings_at_which_the_server_ran_others_do_not_count() -> None:
    traces = [trace(0, 0.0, 500, 80)]
    alone = [replace(reading, running=1.0) for reading in readings(traces)]
    slope = kv_slope(alone, traces, FACTS)
    assert slope is not None
    late = [  # half of the gauges are those of a time at which the request had gone
        replace(reading, running=0.0, kv_cache_fraction=0.0) if number % 2 else reading
        for number, reading in enumerate(alone)
    ]
    again = kv_slope(late, traces, FACTS)
    assert again is not None
    assert again.bytes_per_token == slope.bytes_per_token
    assert again.points < slope.points
    strangers = [replace(reading, running=2.0) for reading in alone]
    assert kv_slope(strangers, traces, FACTS) is None


def test_several_tokens_in_one_chunk_are_counted() -> None:
    one = trace(0, 0.0, 100, 40)
    packed = Trace(**{**_fields(one), "chunk_tokens": (4,) * 40})
    plain, several = (
        kv_slope(readings([one]), [one], FACTS),
        kv_slope(readings([one]), [packed], FACTS),
    )
    assert plain is not None
    assert several is not None
    assert several.tokens[1] > plain.tokens[1]


def test_no_slope_without_a_pool_without_readings_or_where_nothing_is_sure() -> None:
    traces = [trace(0, 0.0, 100, 40)]
    assert kv_slope(readings(traces), traces, EngineFacts()) is None
    assert kv_slope(readings(traces)[:4], traces, FACTS) is None
    assert kv_slope([ServerReading(at_s=at / 9) for at in range(90)], traces, FACTS) is None
    unknown = [Trace(**{**_fields(traces[0]), "prompt_tokens": None})]
    assert kv_slope(readings(traces), unknown, FACTS) is None


def _fields(one: Trace) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def test_no_reading_within_two_steps_of_a_first_token_or_an_end_counts() -> None:
    """Steps of 0.1 s: from 0.2 s after the first token at 1 s to 0.2 s before the end at 5 s."""
    one = trace(0, 0.0, 500, 40)
    right = held([one], 1.5) * BLOCKS * BLOCK
    at_s = [1.05, 1.15, 1.18, 1.25, 2.0, 3.0, 4.0, 4.75, 4.85, 4.95]
    seen = [ServerReading(at_s=at, kv_cache_fraction=held([one], at)) for at in at_s]
    slope = kv_slope(seen, [one], FACTS)
    assert slope is not None
    assert slope.points == 5
    assert slope.tokens[0] == right
    short = trace(1, 50.0, 5, 1)  # one chunk has no step, and takes no part in the usual one
    again = kv_slope(seen, [short, one, trace(2, 60.0, 5, 1), trace(3, 70.0, 5, 1)], FACTS)
    assert again == slope


def test_requests_of_one_chunk_have_no_step_that_sets_readings_apart() -> None:
    """The only chunk is at 1 s, the end at 1.5 s: readings count from 1.05 to 1.45 s."""
    one = replace(trace(0, 0.0, 500, 1), end_s=1.5)
    right = (1.06, 1.15, 1.25, 1.35, 1.44)
    seen = [
        ServerReading(at_s=at, kv_cache_fraction=held([one], at)) for at in (1.04, *right, 1.46)
    ]
    slope = kv_slope(seen, [one], FACTS)
    assert slope is not None
    assert slope.points == len(right)


def test_five_readings_make_a_slope_and_four_do_not() -> None:
    one = trace(0, 0.0, 500, 40)
    seen = [ServerReading(at_s=at, kv_cache_fraction=held([one], at)) for at in (2, 2.5, 3, 3.5, 4)]
    slope = kv_slope(seen, [one], FACTS)
    assert slope is not None
    assert slope.bytes_per_token == pytest.approx(TOKEN_BYTES, rel=1e-9)
    assert kv_slope(seen[1:], [one], FACTS) is None


def test_the_interval_of_a_slope_is_of_1_96_standard_errors() -> None:
    one = trace(0, 0.0, 16, 200)  # 32 tokens in 2 blocks at first, then one more block each 1.6 s
    at_s = (2.0, 4.0, 8.0, 12.0, 16.0, 20.0)
    off = (0.001, -0.001, 0.002, -0.002, 0.001, -0.001)
    seen = [
        ServerReading(at_s=at, kv_cache_fraction=held([one], at) + more)
        for at, more in zip(at_s, off, strict=True)
    ]
    slope = kv_slope(seen, [one], FACTS)
    assert slope is not None
    pool = BLOCKS * BLOCK * TOKEN_BYTES
    x = [held([one], at) * BLOCKS * BLOCK for at in at_s]
    y = [pool * (held([one], at) + more) for at, more in zip(at_s, off, strict=True)]
    best = sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)
    rest = sum((b - best * a) ** 2 for a, b in zip(x, y, strict=True))
    error = (rest / 5 / sum(a * a for a in x)) ** 0.5
    assert slope.bytes_per_token == pytest.approx(best)
    assert (slope.low, slope.high) == pytest.approx((best - 1.96 * error, best + 1.96 * error))
