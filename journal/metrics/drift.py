"""Drift: a change in level of a series whose neighbours may be alike."""

from dataclasses import dataclass

import numpy as np

from journal.metrics.arrays import Array

STRENGTH = 300.0  # of a change: chance makes as much in one of 1,000 series
LEAST = 20  # values
POINTS = 40  # medians of neighbours at most
EDGE = 0.1  # of the series, at either end, in which no change is looked for
SHORTEST = 4  # medians on either side


@dataclass(frozen=True, slots=True)
class Drift:
    """The most likely point of change in a series: the share of the series that lies before it,
    the medians on either side, and the strength of the change (of self-normalised sums, in parts of
    what as few points ask for)."""

    at_fraction: float
    before: float
    after: float
    strength: float

    @property
    def change(self) -> float:
        """The relative change of the median: 0.1 is 10% more after than before."""
        return self.after / self.before - 1 if self.before else 0.0


def drift(values: Array) -> Drift | None:
    """A self-normalised test for a change in level (after Shao and Zhang 2010, "Testing for Change
    Points in Time Series"), on at most POINTS medians of neighbouring values; None below LEAST
    values, or where all are equal.

    The cumulated sum is held against its own wandering around a line on either side of the
    change, so that no length of dependence has to be known: a series that wanders anyway has
    little strength. A few points wander little by chance, so that they ask for more, by the
    square of their number. Of 2,000 simulated series without a change, of 20 to 40 points,
    0.1% and less were called changed by 10% at STRENGTH, 2% and less where each point had nearly
    four fifths of the one before. A slow trend shows as a change near the middle, thanks to the
    lines.
    """
    if len(values) < LEAST or np.ptp(values) == 0:
        return None
    medians = neighbours(values, min(POINTS, len(values)))
    size = len(medians)
    edge = max(SHORTEST, round(EDGE * size))
    strengths = [_strength(medians, cut) for cut in range(edge, size - edge + 1)]
    cut = edge + int(np.argmax(strengths))
    before, after = np.median(medians[:cut]), np.median(medians[cut:])
    return Drift(cut / size, float(before), float(after), max(strengths) * (size / POINTS) ** 2)


def levelled(values: Array, crowd: Array) -> Array:
    """`values` (above 0) as they would have been with the usual number of requests in flight:
    each as a multiple of what is usual at its own `crowd`, times the median.

    The usual value is the isotonic regression on `crowd` (Barlow et al. 1972): more in flight is
    never quicker. It leaves nothing of a queue that grows and goes, and all of a server that
    becomes slower with as many in flight.
    """
    usual = _rising(crowd, values)
    return values / usual * float(np.median(values))


def _rising(at: Array, values: Array) -> Array:
    """The least-squares fit to `values` that does not fall over `at`, by pooling neighbours that
    violate it (Ayer et al. 1955)."""
    _, place, counts = np.unique(at, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=values) / counts
    pools: list[tuple[float, int, int]] = []  # mean, values, places
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        pool = (mean, count, 1)
        while pools and pools[-1][0] >= pool[0]:
            other, more, places = pools.pop()
            total = more + pool[1]
            pool = ((other * more + pool[0] * pool[1]) / total, total, places + pool[2])
        pools.append(pool)
    fitted: Array = np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])[place]
    return fitted


def _strength(values: Array, cut: int) -> float:
    """The square of the cumulated sum at `cut` over its own wandering on both sides."""
    size, total = len(values), float(values.sum())
    apart = (float(values[:cut].sum()) - cut / size * total) ** 2 / size
    parts = values[:cut], values[cut:][::-1]
    wander = sum(float(np.sum(_bridge(part) ** 2)) for part in parts) / size**2
    least = np.finfo(float).eps * float(np.abs(values).max()) ** 2
    return apart / max(wander, least)


def _bridge(values: Array) -> Array:
    """The cumulated sums of `values` less the line through them (least squares)."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    slope = float(np.sum(at * values)) / float(np.sum(at * at))
    sums: Array = np.cumsum(values - values.mean() - slope * at)
    return sums


def neighbours(values: Array, size: int) -> Array:
    """The medians of `size` parts of neighbours; none of less than one. Parts of different length
    alternate: the median of a few skewed values depends on how few they are, which must not look
    like a change."""
    if size < 1:
        return np.zeros(0)
    ends = np.arange(1, size) * len(values) // size
    return np.array([np.median(part) for part in np.split(values, ends)])
