"""How much wider the noise of a series makes the interval of its mean."""

import math
from itertools import accumulate

import numpy as np
import pytest

from benchmarks.worlds import closed, independent
from journal.metrics.inference import QUEUE, STEPS
from journal.metrics.slowness import PARTS, carried, shared, widening
from journal.metrics.statistics import t_quantile, within_angle
from journal.metrics.view import View


def correlated(seed: int, over: float, count: int = 640) -> np.ndarray:
    """Noise that forgets itself over `over` values."""
    kept = math.exp(-1 / over)
    normal = np.random.default_rng(seed).standard_normal(count) * math.sqrt(1 - kept**2)
    return np.array(list(accumulate(normal.tolist(), lambda last, new: kept * last + new)))


def median(series: list[np.ndarray]) -> float:
    return float(np.median([widening(one, 10, STEPS) for one in series]))


def test_white_noise_widens_little_and_slow_noise_much() -> None:
    seeds = range(20)
    white = median([np.random.default_rng(seed).standard_normal(640) for seed in seeds])
    slow = median([correlated(seed, 64) for seed in seeds])
    slower = median([correlated(seed, 256) for seed in seeds])
    assert 1.0 <= white < 1.3
    assert 2.0 < slow < slower


def test_single_stalls_are_not_taken_for_slow_noise() -> None:
    stalled = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        series = random.normal(1, 0.1, 640)
        series[random.integers(0, 640, 6)] = 50.0
        stalled.append(series)
    assert median(stalled) < 1.3


def test_a_slow_series_keeps_its_widening_when_it_is_scaled_and_shifted() -> None:
    series = correlated(5, 64)
    assert widening(3 * series + 7, 10, QUEUE) == widening(series, 10, QUEUE)


def test_few_values_and_equal_ones_show_nothing_slow() -> None:
    assert widening(np.arange(PARTS - 1.0), 10, STEPS) == 1.0
    assert widening(np.ones(1000), 10, STEPS) == 1.0
    assert widening(np.tile([1.0, 3.0], 5 * PARTS), 10, STEPS) == 1.0  # equal in each part


@pytest.mark.parametrize("degrees", [1, 2, 7, 9])
def test_probabilities_of_t_are_those_of_its_quantiles(degrees: int) -> None:
    angles = np.arctan([t_quantile(p, degrees) / math.sqrt(degrees) for p in (0.9, 0.975)])
    assert within_angle(angles, degrees) == pytest.approx([0.8, 0.95], abs=1e-9)
    assert within_angle(float(angles[1]), degrees) == pytest.approx(0.95, abs=1e-9)


def test_slow_noise_is_shared_as_far_as_both_halves_of_the_requests_have_it() -> None:
    half = np.arange(1280) % 2 == 0
    together, apart, on_top = [], [], []
    for seed in range(20):
        common = np.repeat(correlated(seed, 64), 2)  # the same for both halves at each time
        own = np.empty(1280)
        own[half], own[~half] = correlated(seed + 100, 64), correlated(seed + 200, 64)
        jitter = np.random.default_rng(seed).standard_normal(1280)
        together.append(shared(common, half))
        apart.append(shared(own, half))
        on_top.append(shared(common + jitter, half))
    assert together == pytest.approx([1.0] * 20)
    assert np.mean(apart) < 0.45
    assert np.median(on_top) == 1.0  # what is white and of one's own does not hide it


def test_slow_noise_outlasts_a_request_as_far_as_the_next_one_has_it_too() -> None:
    owner = np.arange(24 * 32) // 32
    lasting = [carried(correlated(seed, 64, len(owner)), owner) for seed in range(20)]
    paces = [np.random.default_rng(seed).standard_normal(24)[owner] for seed in range(20)]
    assert np.median(lasting) == 1.0
    assert np.mean([carried(pace, owner) for pace in paces]) < 0.35
    assert carried(paces[0][:6], owner[:6]) == 1.0  # one request cannot say
    assert carried(np.arange(24.0), np.arange(24)) == 1.0  # one gap each


def test_slow_noise_counts_in_full_where_requests_do_not_run_together() -> None:
    series = correlated(1, 64)
    assert shared(series, np.arange(640) < 320) == 1.0  # one half after the other
    assert shared(series[:63], np.arange(63) % 2 == 0) == 1.0
    assert shared(np.ones(640), np.arange(640) % 2 == 0) == 1.0


def test_a_request_that_is_slow_by_itself_does_not_widen_the_intervals_of_a_run() -> None:
    draws = [independent(80, 8)(np.random.default_rng(seed)) for seed in range(12)]
    slow = [closed(80, 8, "slow")(np.random.default_rng(seed)) for seed in range(12)]
    alone = np.median([View(draw).units.widening for draw in draws])
    # some is left: of two series of ten waves, chance makes one or the other look alike
    assert alone < 2.3 < np.median([View(draw).units.widening for draw in slow])
