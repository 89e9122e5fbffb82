"""Statistics against known answers."""

import math
import time

import numpy as np
import pytest

from journal.metrics.arrays import outliers
from journal.metrics.statistics import (
    needed_samples,
    proportion,
    t_density,
    t_inside,
    t_interval,
    t_quantile,
    within_angle,
    within_angles,
)
from journal.metrics.table import metrics
from journal.records.figure import Figure


@pytest.mark.parametrize(
    ("fraction", "needed"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)]
)
def test_needed_samples_are_those_of_mlperf(fraction: float, needed: int) -> None:
    assert needed_samples(fraction) == needed


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (500, 1.9647)],
)
def test_t_quantiles_are_those_of_the_tables(degrees: int, t: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(t, abs=5e-5)


def closed_form(t: float, degrees: int) -> float:
    """P(|T| < t) for whole degrees: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    term = total = math.cos(angle) if odd else 1.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if degrees > 1 else 0.0))


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 30, 200, 500])
def test_students_distribution_agrees_with_the_closed_form(degrees: int) -> None:
    for probability in (0.75, 0.95, 0.975, 0.995, 0.9999):
        t = t_quantile(probability, degrees)
        assert closed_form(t, degrees) == pytest.approx(2 * probability - 1, rel=1e-8)
        assert t_inside(t, degrees) == pytest.approx(2 * probability - 1, rel=1e-8)


def test_students_distribution_between_whole_degrees() -> None:
    values = [t_quantile(0.975, degrees) for degrees in (1.0, 1.5, 2.0, 2.5, 3.0)]
    assert values == sorted(values, reverse=True)
    assert t_inside(t_quantile(0.975, 1.5), 1.5) == pytest.approx(0.95)
    assert t_inside(0.0, 2.5) == 0.0
    assert t_inside(1e9, 2.5) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("t", [-2.0, 0.0, 0.5, 4.0])
def test_students_density_is_the_slope_of_its_distribution(t: float) -> None:
    low, high = (t_inside(abs(t) + step, 3.5) for step in (-1e-5, 1e-5))
    slope = (high - low) / 2e-5 if t else t_inside(1e-5, 3.5) / 1e-5
    assert t_density(t, 3.5) == pytest.approx(slope / 2, rel=1e-6)


def test_students_distribution_of_many_angles_is_that_of_each() -> None:
    angles = np.array([0.1, 0.7, 1.5])
    each = [within_angle(angle, 9) for angle in angles.tolist()]
    assert within_angles(angles, 9).tolist() == pytest.approx(each)


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


@pytest.mark.alone
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
    assert min(took_s) < 0.3  # half of it or less where nothing else runs
