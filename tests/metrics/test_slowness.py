"""How much wider the noise of a series makes the interval of its mean."""

import math
from itertools import accumulate
from statistics import NormalDist

import numpy as np
import pytest
from builders import a_trace

from benchmarks.worlds import closed, independent
from journal.metrics.inference import QUEUE, STEPS
from journal.metrics.slowness import (
    LOWEST,
    PARTS,
    SHARES,
    TAIL,
    Mixtures,
    Prior,
    _factor,
    carried,
    shared,
    widening,
    without_prompts,
)
from journal.metrics.statistics import t_inside, t_quantile, within_angle, within_angles
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


# ---- against the covariance of the noise that is meant -----------------------------------------

PRIOR = Prior(lengths=(0.5, 8.0), white=3.0)
KINDS = [(length, share) for length in PRIOR.lengths for share in SHARES]


def covariance(length: float, share: float) -> np.ndarray:
    """That of 64 parts, of whose variance `share` is forgotten over 1 / `length` of the run."""
    apart = np.abs(np.subtract.outer(np.arange(PARTS), np.arange(PARTS)))
    return share * np.exp(-apart * length / PARTS) + (1 - share) * np.eye(PARTS)


@pytest.mark.parametrize("groups", [4, 8, 16])
def test_what_the_scatter_of_groups_hides_is_that_of_the_covariance(groups: int) -> None:
    means = np.kron(np.eye(groups), np.full(PARTS // groups, groups / PARTS))
    expected = []
    for kind in KINDS:
        of_groups = means @ covariance(*kind) @ means.T
        scatter = (np.trace(of_groups) - of_groups.sum() / groups) / (groups - 1) / groups
        expected.append(of_groups.sum() / groups**2 / scatter)
    assert Mixtures(PRIOR).inflation(groups) == pytest.approx(expected, rel=1e-9)


def test_the_power_of_noise_is_the_transform_of_its_correlations() -> None:
    lags = np.arange(1, 4000)
    mixtures = Mixtures(PRIOR)
    for row, (length, share) in zip(mixtures.power, KINDS, strict=True):
        for k in (1, 2, 31, 63):
            waves = np.cos(np.pi * k / PARTS * lags)
            slow = 1 + 2 * float((np.exp(-lags * length / PARTS) * waves).sum())
            assert row[k - 1] == pytest.approx(share * slow + 1 - share, rel=1e-6)
    assert mixtures.cosines @ mixtures.cosines.T == pytest.approx(np.eye(PARTS - 1), abs=1e-9)
    assert mixtures.cosines @ np.ones(PARTS) == pytest.approx(np.zeros(PARTS - 1), abs=1e-9)


def test_each_kind_of_noise_is_as_likely_as_bayes_says_whatever_its_scale() -> None:
    """The likelihood of the transform, integrated over all scales alike on the logarithmic one."""
    mixtures = Mixtures(PRIOR)
    scores = np.random.default_rng(4).standard_normal(PARTS).cumsum() / 3
    amounts = mixtures.cosines @ scores
    logs = np.linspace(-12, 12, 4001)
    whole = []
    for power, (_, share) in zip(mixtures.power, KINDS, strict=True):
        squares = float((amounts**2 / power).sum())
        height = -(PARTS - 1) * logs - np.log(power).sum() / 2 - squares / 2 * np.exp(-2 * logs)
        prior = 1.0 if share else PRIOR.white
        whole.append(prior * np.trapezoid(np.exp(height), logs))
    expected = np.array(whole) / np.sum(whole)
    assert mixtures.likelihood(scores) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("inflation", [(1.0, 1.0), (1.0, 9.0), (4.0, 100.0)])
def test_a_widened_interval_is_missed_as_seldom_as_it_says(inflation: tuple[float, ...]) -> None:
    likelihood, groups = np.array([0.7, 0.3]), 8
    factor = _factor(likelihood, np.array(inflation), groups)
    t = factor * t_quantile(1 - TAIL / 2, groups - 1)
    missed = [1 - t_inside(t / math.sqrt(each), groups - 1) for each in inflation]
    assert float(likelihood @ missed) == pytest.approx(TAIL, rel=1e-3)


def scores(values: np.ndarray) -> list[float]:
    """The normal score of each value, none of which is equal to another."""
    ranks = [sum(other <= value for other in values) for value in values]
    return [NormalDist().inv_cdf((rank - 0.5) / len(values)) for rank in ranks]


def outlasting(series: np.ndarray, owner: np.ndarray) -> float:
    """Twice the correlation of the second half of a request with the first of the next, over that
    within a request."""
    halves = []
    for request in range(count := int(owner.max()) + 1):
        own = series[owner == request]
        halves += [own[: len(own) // 2].mean(), own[len(own) // 2 :].mean()]
    of = scores(np.array(halves))
    within = sum(of[2 * k] * of[2 * k + 1] for k in range(count)) / count
    across = sum(of[2 * k + 1] * of[2 * k + 2] for k in range(count - 1)) / (count - 1)
    return min(1.0, max(0.0, 2 * across / within)) if within > 0 else 1.0


def test_what_outlasts_a_request_is_the_correlation_of_its_neighbours() -> None:
    """Of three values the middle one belongs to the second half."""
    found = []
    for count in (LOWEST, 2 * LOWEST):
        owner = np.repeat(np.arange(count), [3, 4] * (count // 2))
        for seed in range(6):
            own = np.random.default_rng(seed).standard_normal(count)
            series = own[owner] + correlated(seed + 50, 6, len(owner))
            found.append(carried(series, owner))
            assert found[-1] == pytest.approx(outlasting(series, owner))
    assert any(0 < part < 1 for part in found)
    few = np.repeat(np.arange(LOWEST - 1), 4)
    assert {carried(correlated(seed, 3, len(few)), few) for seed in range(6)} == {1.0}


def test_what_both_halves_have_is_the_correlation_of_their_slow_waves() -> None:
    half = np.arange(4 * PARTS) % 2 == 0
    found = []
    for seed in range(6):
        common, *own = (correlated(seed + more, 64, 4 * PARTS) for more in (0, 50, 90))
        series = common + np.where(half, *own)
        sides = []
        for chosen in (half, ~half):
            parts = series[chosen].reshape(PARTS, 2).mean(axis=1)
            waves = [np.cos(np.pi * k * (np.arange(PARTS) + 0.5) / PARTS) for k in range(1, 9)]
            sides.append([float(wave @ scores(parts)) for wave in waves])
        both = sum(x * y for x, y in zip(*sides, strict=True))
        size = math.sqrt(sum(x * x for x in sides[0]) * sum(y * y for y in sides[1]))
        found.append(shared(series, half))
        assert found[-1] == pytest.approx(min(1.0, max(0.0, 2 * both / size)))
    assert any(0 < part < 1 for part in found)


@pytest.mark.parametrize("degrees", [1, 2, 7, 9])
def test_probabilities_of_t_are_those_of_its_quantiles(degrees: int) -> None:
    angles = np.arctan([t_quantile(p, degrees) / math.sqrt(degrees) for p in (0.9, 0.975)])
    assert within_angles(angles, degrees) == pytest.approx([0.8, 0.95], abs=1e-9)
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


def test_gaps_in_which_a_prompt_was_read_are_left_out_unless_they_are_most() -> None:
    """Steps of 1 s, in two of which a request has its first chunk, .05 s after theirs at most."""
    at_s, gaps_s = np.arange(1.0, 7.0), np.ones(6)
    begun = [a_trace(chunk_s=(first_s, 9.0)) for first_s in (2.05, 5.0)]
    chosen = np.array([False, True, True, True, True, True])
    left = without_prompts(chosen, at_s, gaps_s, begun)
    assert left.tolist() == [False, False, True, True, False, True]
    many = [a_trace(chunk_s=(first_s, 9.0)) for first_s in (2.0, 3.0, 4.0, 5.0)]
    assert without_prompts(chosen, at_s, gaps_s, many) is chosen
    assert without_prompts(chosen, at_s, gaps_s, []).tolist() == chosen.tolist()
