"""Crossovers of two setups whose truth is known."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from journal.compare.crossover import Crossover, crossover
from journal.compare.ratios import Ratio, ratio

BATCHES = (1, 2, 4, 8, 16, 32)
TRUE = 12.0


def narrow(value: float, within: float = 0.01) -> Ratio:
    return Ratio(value, value * (1 - within), value * (1 + within), 0.01)


def line(values: Sequence[float], within: float = 0.01) -> list[tuple[float, Ratio]]:
    return [(float(b), narrow(v, within)) for b, v in zip(BATCHES, values, strict=False)]


def test_a_crossover_lies_where_the_ratio_passes_1() -> None:
    falling = crossover(line([1.4, 1.3, 1.2, 1.1, 1 / 1.1]))
    assert falling is not None
    assert falling.falls
    assert falling.load == pytest.approx(math.sqrt(8 * 16))
    assert 8 < falling.low < falling.load < falling.high < 16
    rising = crossover(line([0.8, 0.9, 1.1]))
    assert rising is not None
    assert not rising.falls


@pytest.mark.parametrize(
    "values", [[1.2, 1.1, 1.05], [1.2, 1.1, 1.0], [1.2, 0.8, 1.2], [1.0, 1.0], [1.2], []]
)
def test_no_crossover_is_made_up(values: list[float]) -> None:
    assert crossover(line(values)) is None


def test_ratios_without_an_interval_say_nothing() -> None:
    assert crossover([(1.0, Ratio(1.5)), (8.0, Ratio(0.5))]) is None


def test_an_open_stretch_is_in_the_interval() -> None:
    found = crossover([(1.0, narrow(1.5)), (4.0, narrow(1.0, 0.2)), (16.0, narrow(0.5))])
    assert found is not None
    assert found.low < 4 < found.high


def test_the_ends_of_a_crossover_are_where_those_of_the_intervals_pass_1() -> None:
    """Straight over the logarithms, from 20% ahead to 25% behind, each within 4%."""
    for falls in (True, False):
        ahead = [(2.0, narrow(1.2, 0.04)), (8.0, narrow(0.8, 0.04))]
        found = crossover(ahead if falls else [(2.0, ahead[1][1]), (8.0, ahead[0][1])])
        assert found is not None and found.falls == falls
        roots = []
        for factor in (0.96, 1.0, 1.04):
            start, end = math.log(1.2 * factor), math.log(0.8 * factor)
            way = start / (start - end)
            roots.append(2 * 4 ** (way if falls else 1 - way))
        assert found.load == pytest.approx(roots[1])
        assert (found.low, found.high) == pytest.approx((min(roots), max(roots)))


def test_a_crossover_begins_at_the_last_load_on_the_first_side() -> None:
    """What is uncertain before that is no crossing, nor what comes after it is over."""
    found = crossover(line([1.2, 1.0, 1.2, 0.8, 1.0, 0.7]))
    assert found is not None and 4 < found.low < found.high < 8
    unsure = [
        (1.0, narrow(1.2)),
        (2.0, Ratio(0.5)),
        (4.0, Ratio(1.0, 0.0, 2.0)),
        (8.0, narrow(0.5)),
    ]
    assert crossover(unsure) == crossover([unsure[0], unsure[3]])


def simulated(chance: np.random.Generator, starts: int, slope: float = 0.1) -> Crossover | None:
    """Two setups whose logarithms of throughput part by `slope` for each doubling around TRUE."""

    def repeats(value: float) -> list[float]:
        return [float(v) for v in value * np.exp(chance.normal(0, 0.02, starts))]

    truth = [math.exp(-slope * math.log2(batch / TRUE)) for batch in BATCHES]
    return crossover(
        [
            (float(batch), made)
            for batch, value in zip(BATCHES, truth, strict=True)
            if (made := ratio([(repeats(1.0), repeats(value))])) is not None
        ]
    )


def test_the_interval_of_a_crossover_holds_the_truth() -> None:
    chance = np.random.default_rng(3)
    found = [one for _ in range(300) if (one := simulated(chance, 4)) is not None]
    assert len(found) > 200
    assert np.mean([one.low <= TRUE <= one.high for one in found]) >= 0.95
