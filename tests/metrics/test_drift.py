"""A change in level is found, and neighbours that are alike are no evidence of one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from journal.metrics.drift import (
    ALIKE,
    LIKELIER,
    PARTS,
    STRENGTH,
    _likelier,
    drift,
    is_slow,
    levelled,
)


def strength_by_its_formula(values: list[float], cut: int) -> float:
    """Shao and Zhang's ratio from its sums, each side about a line of its own."""
    size, mean = len(values), sum(values) / len(values)
    apart = sum(value - mean for value in values[:cut]) / math.sqrt(size)
    wander = 0.0
    for side in (values[:cut], values[cut:][::-1]):
        at = np.arange(len(side))
        off = np.array(side) - np.polyval(np.polyfit(at, side, 1), at)
        wander += sum(float(sum(off[:t])) ** 2 for t in range(1, len(side) + 1))
    return apart**2 / (wander / size**2)


def test_a_step_a_trend_and_no_change() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 200)
    step = drift(1 + noise + 0.3 * (np.arange(200) >= 140))
    assert step is not None
    assert step.strength > 3 * STRENGTH
    assert step.at_fraction == pytest.approx(0.7)
    assert step.change == pytest.approx(0.3, abs=0.03)
    trend = drift(1 + noise + np.linspace(0, 0.4, 200))
    assert trend is not None
    assert trend.strength > STRENGTH
    assert 0.3 < trend.at_fraction < 0.7
    level = drift(1 + noise)
    assert level is not None
    assert level.strength < STRENGTH
    assert abs(level.change) < 0.05


def test_the_strength_of_a_step_is_that_of_its_formula() -> None:
    values = np.random.default_rng(3).normal(size=30) + (np.arange(30) >= 12)
    step = drift(values)
    assert step is not None
    strengths = {cut: strength_by_its_formula(values.tolist(), cut) for cut in range(4, 27)}
    cut = max(strengths, key=strengths.__getitem__)
    assert step.strength == pytest.approx(strengths[cut] * (30 / 40) ** 2)
    assert step.at_fraction == pytest.approx(cut / 30)
    clean = drift(np.repeat([2.0, 3.0], 10))
    assert clean is not None
    assert clean.strength > 1000 * STRENGTH
    assert clean.at_fraction == 0.5
    assert (clean.before, clean.after, clean.change) == (2.0, 3.0, 0.5)
    in_microseconds = drift(1e6 * np.repeat([2.0, 3.0], 10))
    assert in_microseconds is not None
    assert in_microseconds.strength == pytest.approx(clean.strength)


def test_a_change_from_nothing_has_no_ratio() -> None:
    step = drift(np.repeat([0.0, 3.0], 10))
    assert step is not None
    assert step.change == 0.0


def test_drift_needs_twenty_values_that_differ() -> None:
    assert drift(np.arange(19.0)) is None
    assert drift(np.ones(50)) is None
    assert drift(np.arange(20.0)) is not None


def series(kind: str, seed: int, size: int = 200) -> np.ndarray:
    random = np.random.default_rng(seed)
    if kind == "heavy":
        return random.exponential(size=size)
    values = random.normal(size=size)
    for place in range(1, size):
        values[place] += 0.8 * values[place - 1]
    return values


@pytest.mark.parametrize(("kind", "most"), [("heavy", 2), ("alike", 8)])
def test_a_series_without_a_change_is_seldom_called_changed(kind: str, most: int) -> None:
    """One of 1,000 where neighbours are independent; 2% where each has four fifths of the one
    before."""
    steps = [drift(series(kind, seed)) for seed in range(400)]
    assert sum(step is not None and step.strength > STRENGTH for step in steps) <= most


def wandering(random: np.random.Generator, size: int, length: float) -> np.ndarray:
    """Noise of deviation 1 that lasts for `length` values."""
    kept = math.exp(-1 / length)
    values = [random.normal()]
    for fresh in random.normal(0, math.sqrt(1 - kept**2), size - 1):
        values.append(kept * values[-1] + fresh)
    return np.array(values)


def test_noise_that_lasts_is_less_likely_to_make_a_step_than_to_wander() -> None:
    """A quarter of the series long: a step of six deviations is told from it, and a slope of as
    much across the series is not."""
    random = np.random.default_rng(6)
    step, slope = 6.0 * (np.arange(40) >= 20), np.linspace(0, 6, 40)
    certain = {"alone": 0, "step": 0, "slope": 0}
    for _ in range(100):
        noise = wandering(random, 40, 10)
        for name, change in (("alone", 0.0), ("step", step), ("slope", slope)):
            certain[name] += _likelier(noise + change, 4) > math.log(LIKELIER)
    assert certain["alone"] == 0
    assert certain["step"] > 95
    assert certain["slope"] < 20


def test_the_likelihoods_are_those_of_noise_with_a_step_or_a_line() -> None:
    """At most that of white noise, n / 2 times the logarithm of the ratio of squares."""
    random = np.random.default_rng(2)
    at = np.arange(30)
    for change in (at >= 11, at / 30):
        values = random.normal(size=30) + 8.0 * change
        design = np.stack([np.ones(30), change], axis=1)
        rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        white = 29 / 2 * math.log(((values - values.mean()) ** 2).sum() / (rest**2).sum())
        assert 0 < _likelier(values, 4) <= white + 1e-9


def test_a_change_is_held_against_slow_noise_where_there_may_be_some() -> None:
    clear = drift(np.repeat([1.0, 1.2], 20) + np.random.default_rng(1).normal(0, 0.02, 40))
    assert clear is not None
    assert clear.exceeds(slow=True) and clear.exceeds(slow=False)
    faint = replace(clear, strength=STRENGTH * 1.05, likelier=math.log(LIKELIER) - 0.1)
    assert faint.exceeds(slow=False) and not faint.exceeds(slow=True)
    assert replace(faint, strength=STRENGTH * 1.2).exceeds(slow=True), "it is the stronger"
    assert not replace(clear, strength=STRENGTH - 1).exceeds(slow=False)


def test_noise_is_slow_that_lasts_for_several_parts() -> None:
    """Beside a step, a slope and values far off as well; of few values nobody knows."""
    random = np.random.default_rng(9)
    at = np.arange(640)
    changes = (0.0, 3.0 * (at >= 300), at / 200, 50.0 * (at == 77))
    white = [is_slow(random.normal(size=640) + change) for change in changes for _ in range(50)]
    lasts = [is_slow(wandering(random, 640, 60) + c) for c in changes for _ in range(50)]
    assert sum(white) <= 2
    assert sum(lasts) >= 180
    assert is_slow(np.ones(PARTS - 1)) and not is_slow(np.ones(PARTS))


def test_neighbours_are_alike_about_the_two_lines_that_fit_best() -> None:
    values = np.tile([1.0, 1.0, -1.0, -1.0], PARTS // 4)
    assert not is_slow(values)
    assert is_slow(np.repeat(values, 2)[:PARTS])
    assert 0 < ALIKE < 0.5


def test_values_are_levelled_by_how_many_were_in_flight() -> None:
    crowd = np.array([0.0, 1, 2, 3] * 10)
    same = levelled(0.1 + 0.05 * crowd, crowd)
    assert same == pytest.approx(np.full(40, 0.175))
    slower = np.where(np.arange(40) < 20, 1.0, 1.3)
    found = levelled((0.1 + 0.05 * crowd) * slower, crowd)
    assert np.median(found[20:]) / np.median(found[:20]) == pytest.approx(1.3)


def test_more_in_flight_is_never_taken_to_be_quicker() -> None:
    """The third place is quicker than the second: both are pooled to 2.5, the mean of three."""
    crowd, values = np.array([0.0, 1, 1, 2]), np.array([1.0, 2.0, 4.0, 1.5])
    assert levelled(values, crowd) == pytest.approx(
        1.75 * np.array([1.0, 2 / 2.5, 4 / 2.5, 1.5 / 2.5])
    )


def test_the_usual_value_is_that_of_the_max_min_formula() -> None:
    """Of places with one to five values each (Barlow et al. 1972): the greatest, over where a
    stretch begins, of the least mean of a stretch that holds the place."""
    random = np.random.default_rng(8)
    crowd = random.choice(9, size=25, p=np.arange(1, 10) / 45).astype(float)
    values = 1 + random.exponential(size=25) + 0.1 * crowd
    usual = [
        max(
            min(values[(low <= crowd) & (crowd <= high)].mean() for high in crowd[crowd >= at])
            for low in crowd[crowd <= at]
        )
        for at in crowd
    ]
    assert len(set(usual)) > 3
    assert levelled(values, crowd) == pytest.approx(values / usual * np.median(values))
