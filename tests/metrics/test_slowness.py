"""How much wider the noise of a series makes the interval of its mean."""

import math
from itertools import accumulate

import numpy as np
import pytest

from journal.metrics.inference import QUEUE, STEPS
from journal.metrics.slowness import PARTS, widening
from journal.metrics.statistics import t_quantile, within_angle


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
