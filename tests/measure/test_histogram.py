"""Histograms of /metrics."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.measure.histogram import Histogram, histogram
from journal.simulator.prometheus import TTFT
from journal.simulator.prometheus import BucketCounts as Kept
from journal.simulator.prometheus import _histogram as written

TEXT = b"""
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="1.0"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 5.0
vllm:time_to_first_token_seconds_count{engine="0"} 5.0
vllm:time_to_first_token_seconds_sum{engine="0"} 6.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="1.0"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf"} 1.0
vllm:time_to_first_token_seconds_sum{engine="1"} 0.05
"""
NAME = "vllm:time_to_first_token_seconds"


def test_it_is_summed_over_engines() -> None:
    measured = histogram(TEXT, NAME)
    assert measured == Histogram((0.1, 1.0, math.inf), (3.0, 5.0, 6.0), 6.05)
    assert measured is not None and measured.mean == pytest.approx(6.05 / 6)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        TEXT.replace(b'engine="1",le="1.0"', b'engine="1",le="2.0"'),
        TEXT.replace(b"+Inf", b"5.0"),
    ],
    ids=["absent", "unequal bounds", "no end"],
)
def test_a_page_without_the_histogram_gives_none(text: bytes) -> None:
    assert histogram(text, NAME) is None


@pytest.mark.parametrize(
    ("fraction", "value"), [(0.25, 0.05), (0.5, 0.1), (0.875, 0.775), (1.0, 1.0), (0.0, 0.0)]
)
def test_quantiles_are_drawn_straight_between_the_bounds(fraction: float, value: float) -> None:
    kept = Histogram((0.1, 1.0, math.inf), (2.0, 4.0, 4.0), 1.0)
    assert kept.quantile(fraction) == pytest.approx(value)


def test_quantiles_of_nothing_and_above_the_last_bound() -> None:
    assert Histogram((0.1, math.inf), (0.0, 0.0), 0.0).quantile(0.5) is None
    assert Histogram((0.1, math.inf), (0.0, 0.0), 0.0).mean is None
    assert Histogram((0.1, math.inf), (1.0, 9.0), 90.0).quantile(0.9) == 0.1
    assert Histogram((math.inf,), (3.0,), 1.0).quantile(0.5) is None


def test_what_came_since() -> None:
    now, then = (
        Histogram((1.0, math.inf), (5.0, 8.0), 9.0),
        Histogram((1.0, math.inf), (4.0, 6.0), 5),
    )
    assert now.since(then) == Histogram((1.0, math.inf), (1.0, 2.0), 4.0)
    assert now.since(None) == now
    assert then.since(now) == then  # the server began anew


times = st.lists(st.floats(1e-4, 3000.0), min_size=1, max_size=80)


@given(times, st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(
    values: Sequence[float], fraction: float
) -> None:
    kept = Kept(TTFT)
    for value in values:
        kept.observe(value)
    text = "\n".join(written(NAME, 'engine="0"', kept)).encode()
    measured = histogram(text, NAME)
    assert measured is not None and measured.count == len(values)
    assert measured.sum == pytest.approx(sum(values))
    true = sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]
    quantile = measured.quantile(fraction)
    assert quantile is not None
    above = next((bound for bound in TTFT if true <= bound), math.inf)
    below = max((bound for bound in TTFT if bound < true), default=0.0)
    assert below <= quantile <= min(above, TTFT[-1])
