"""Statistics against known answers; intervals against the truth of the distribution drawn from."""

import math
import time
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.metrics.statistics import (
    PERCENTILES,
    STATISTICS,
    bootstrap_ratio,
    describe,
    needed_samples,
    outliers,
    proportion,
    t_interval,
    t_quantile,
)
from journal.metrics.table import metrics
from journal.records.figure import Figure

Draw = Callable[[np.random.Generator], np.ndarray]


def describe_each(values: np.ndarray) -> dict[str, Figure]:
    return describe(values, np.arange(len(values)))


@pytest.mark.parametrize(
    ("fraction", "needed"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)]
)
def test_needed_samples_are_those_of_mlperf(fraction: float, needed: int) -> None:
    assert needed_samples(fraction) == needed


@pytest.mark.parametrize("name", PERCENTILES)
def test_a_percentile_is_given_from_the_needed_number_on(name: str) -> None:
    needed = needed_samples(PERCENTILES[name])
    assert describe_each(np.arange(needed - 1.0))[name] == Figure(None, count=needed - 1)
    assert describe_each(np.arange(float(needed)))[name].value is not None


def test_percentiles_interpolate_linearly() -> None:
    found = describe_each(np.arange(1001.0)[::-1])
    assert [found[name].value for name in STATISTICS] == [500, 500, 900, 950, 990]
    assert describe_each(np.arange(12.0))["p50"].value == 5.5


def test_nothing_is_described_as_absent() -> None:
    found = describe(np.array([]), np.array([], dtype=np.int64))
    assert found == {name: Figure(None, count=0) for name in STATISTICS}


def test_few_requests_give_no_interval_however_many_gaps() -> None:
    found = describe(np.random.default_rng(0).exponential(size=700), np.repeat(np.arange(7), 100))
    assert found["mean"].value is not None
    assert found["p99"].value is not None
    assert {figure.low for figure in found.values()} == {None}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=200), st.integers(1, 7))
def test_intervals_hold_their_figures_and_move_with_the_unit(values, per_request: int) -> None:
    array = np.array(values, dtype=float)
    owner = np.arange(len(values)) // per_request
    found, doubled = describe(array, owner), describe(2 * array, owner)
    for name, figure in found.items():
        assert repr(figure) == repr(describe(array, owner)[name])
        if figure.low is not None:
            assert array.min() <= figure.low <= figure.value <= figure.high <= array.max()
        if figure.value is not None:
            assert doubled[name].value == 2 * figure.value
            assert doubled[name].low == (None if figure.low is None else 2 * figure.low)


def coverage(draw: Draw, truth: dict[str, float], per_request: int = 1) -> dict[str, float]:
    """How often, in 300 trials, each interval held the truth."""
    trials, hits = 300, dict.fromkeys(truth, 0)
    for seed in range(trials):
        values = draw(np.random.default_rng(seed))
        found = describe(values, np.arange(len(values)) // per_request)
        for name, value in truth.items():
            figure = found[name]
            assert figure.low is not None
            hits[name] += figure.low <= value <= figure.high
    return {name: count / trials for name, count in hits.items()}


@pytest.mark.parametrize(
    ("count", "names"),
    [(8, ["mean"]), (24, ["mean", "p50"]), (130, ["mean", "p50", "p90", "p95"]), (700, STATISTICS)],
)
def test_intervals_of_independent_samples_hold_the_truth(count: int, names: list[str]) -> None:
    exponential = {"mean": 1.0} | {name: -math.log(1 - at) for name, at in PERCENTILES.items()}
    truth = {name: exponential[name] for name in names}
    for name, share in coverage(lambda random: random.exponential(size=count), truth).items():
        assert 0.90 <= share <= 0.985, name


def test_gaps_of_one_request_do_not_pass_for_independent() -> None:
    requests, gaps = 60, 30

    def draw(random: np.random.Generator) -> np.ndarray:
        kind = np.repeat(random.normal(0, 0.3, requests), gaps)
        return np.exp(kind + random.normal(0, 0.3, requests * gaps))

    z = NormalDist(0, math.sqrt(0.18)).inv_cdf
    truth = {"mean": math.exp(0.09), "p50": 1.0, "p90": math.exp(z(0.9))}
    assert min(coverage(draw, truth, per_request=gaps).values()) >= 0.88
    assert max(coverage(draw, truth).values()) <= 0.6


def test_a_bootstrap_of_many_requests_is_as_wide_as_of_all_of_them() -> None:
    values = np.random.default_rng(5).exponential(size=20_000)
    low, high = bootstrap_ratio(values[None, :], np.ones(len(values)))
    expected = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert high[0] - low[0] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (500, 1.9647)],
)
def test_t_quantiles_are_those_of_the_tables(degrees: int, t: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(t, abs=5e-5)


def test_a_t_interval_worked_out_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert found == Figure(2.0, pytest.approx(2 - half), pytest.approx(2 + half), 3)
    assert t_interval([1.5]) == Figure(1.5, count=1)
    assert t_interval([]) == Figure(None, count=0)


@pytest.mark.parametrize("repeats", [2, 3, 5, 10])
def test_t_intervals_of_repeats_hold_the_truth(repeats: int) -> None:
    random = np.random.default_rng(repeats)
    intervals = [t_interval(random.normal(7, 2, repeats).tolist()) for _ in range(1000)]
    held = np.mean([found.low <= 7 <= found.high for found in intervals])
    assert 0.93 <= held <= 0.97


def test_a_proportion_worked_out_by_hand() -> None:
    assert proportion(0, 0) == Figure(None, count=0)
    ten = proportion(5, 10)  # (0.5 + 0.19207 -+ 1.95996 * sqrt(0.025 + 0.0096)) / 1.38415
    assert ten == Figure(
        0.5, pytest.approx(0.23659, abs=1e-5), pytest.approx(0.76341, abs=1e-5), 10
    )
    assert proportion(0, 24).low == 0.0
    assert proportion(24, 24).high == 1.0


def test_a_proportion_and_its_interval_stay_between_none_and_all() -> None:
    for whole in range(1, 400):
        for part in (0, 1, whole - 1, whole):
            found = proportion(part, whole)
            assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_outliers_lie_far_above_the_rest() -> None:
    values = np.array([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 5.0])
    assert outliers(values).tolist() == [False] * 6 + [True]
    assert not outliers(np.random.default_rng(0).exponential(size=50)).any()
    assert not outliers(np.array([1.0, 1.0, 1.0, 1.2])).any()  # no spread, and not much more
    assert outliers(np.array([])).tolist() == []


def test_an_outlier_is_ten_deviations_and_half_the_median_away() -> None:
    spread = np.array([8.0, 9.0, 10.0, 11.0, 12.0])  # a median absolute deviation of 1
    for far, called in ((10 + 9.9 * 1.4826, False), (10 + 10.1 * 1.4826, True)):
        # each value twice, so that one more does not move the median
        assert outliers(np.array([*spread, *spread, far]))[-1] == called
    narrow = np.array([9.98, 9.99, 10.0, 10.01, 10.02] * 2)
    assert not outliers(np.array([*narrow, 14.9]))[-1]
    assert outliers(np.array([*narrow, 15.1]))[-1]


@pytest.mark.timing
def test_a_thousand_requests_of_a_hundred_chunks_cost_little(run) -> None:
    samples = run(
        requests=1000, batch=64, output_tokens=100, noise=0.1, period_s=5.0, itl_s=0.1
    ).samples()
    metrics(samples)
    took_s = []
    for _ in range(5):
        began_s = time.process_time()
        metrics(samples)
        took_s.append(time.process_time() - began_s)
    assert min(took_s) < 0.1
