"""Drift: a change in level of a series whose neighbours may be alike."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.slowness import Prior, mixtures, normal_scores

STRENGTH = 300.0  # of a change: chance makes as much in one of 1,000 series
LEAST = 20  # values
POINTS = 40  # medians of neighbours at most
EDGE = 0.1  # of the series, at either end, in which no change is looked for
SHORTEST = 4  # medians on either side
LIKELIER = 1e5  # times, with a change than by slow noise alone
PARTS = 64  # of a series whose noise is looked at
ALIKE = 0.35  # correlation of neighbouring parts: chance makes as much in one of 400
SLOW = Prior(lengths=(2.0, 4.0, 8.0, 16.0, 32.0), white=1.0)  # the noise that may pass for one


@dataclass(frozen=True, slots=True)
class Drift:
    """The most likely point of change in a series: the share of the series that lies before it,
    the medians on either side, and the strength of the change (of self-normalised sums, in parts of
    what as few points ask for). `likelier` is how many times as likely the series is by a change in
    noise as by noise alone, either as slow as the series would best have it, as a logarithm."""

    at_fraction: float
    before: float
    after: float
    strength: float
    likelier: float

    def exceeds(self, slow: bool) -> bool:
        """Whether the series changed by more than its own wandering, and where its noise may be
        `slow`, by more than that makes: the stronger the change, the less likely it need be."""
        if self.strength <= STRENGTH:
            return False
        return not slow or self.likelier + math.log(self.strength / STRENGTH) > math.log(LIKELIER)

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

    A series that is as long as a few times over which its noise lasts wanders smoothly, and may
    rise or fall like one that changes. So it is also asked how likely noise of all lengths is to
    make it, and how likely with a step or a line in it (a ratio of likelihoods, both at their
    best).
    """
    if len(values) < LEAST or np.ptp(values) == 0:
        return None
    medians = neighbours(values, min(POINTS, len(values)))
    size = len(medians)
    edge = max(SHORTEST, round(EDGE * size))
    strengths = [_strength(medians, cut) for cut in range(edge, size - edge + 1)]
    cut = edge + int(np.argmax(strengths))
    before, after = np.median(medians[:cut]), np.median(medians[cut:])
    strength = max(strengths) * (size / POINTS) ** 2
    return Drift(cut / size, float(before), float(after), strength, _likelier(medians, edge))


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


def is_slow(series: Array) -> bool:
    """Whether a series has noise that lasts, beside a change in level: neighbours among PARTS means
    (by rank, so that a single stall counts for no more) are ALIKE about a line on either side of
    where two lines fit best. A series of fewer values may have any."""
    if len(series) < PARTS:
        return True
    ends = np.arange(PARTS + 1) * len(series) // PARTS
    means = np.add.reduceat(series, ends[:-1]) / np.diff(ends)
    rests = _off_lines() @ normal_scores(means)
    rest = rests[np.argmin((rests**2).sum(axis=1))]
    return float(rest[1:] @ rest[:-1]) > ALIKE * float(rest @ rest) > 0


@lru_cache
def _off_lines() -> Array:
    """For each cut of PARTS values the matrix that leaves what is off the line on either side."""
    at, edge = np.arange(PARTS), round(EDGE * PARTS)
    cuts = []
    for cut in range(edge, PARTS - edge + 1):
        sides = np.stack([at < cut, at >= cut], axis=1)
        lines = np.concatenate([sides, sides * at[:, None]], axis=1)
        cuts.append(np.eye(PARTS) - lines @ np.linalg.pinv(lines))
    matrices: Array = np.stack(cuts)
    return matrices


def _likelier(values: Array, edge: int) -> float:
    """The logarithm of how many times as likely `values` are in noise of some length with a step,
    at `edge` of them or more from either end, or with a line in it, as in such noise alone."""
    size = len(values)
    kinds = mixtures(SLOW, size)
    at = np.arange(size)
    steps = at >= np.arange(edge, size - edge + 1)[:, None]
    changes = np.concatenate([steps, [at / size]]) @ kinds.cosines.T
    seen = kinds.cosines @ values
    alone = (seen**2 / kinds.power).sum(axis=1)
    weights = changes.T / kinds.power[:, :, None]
    fitted = np.einsum("kfc,f->kc", weights, seen) ** 2 / np.einsum("kfc,cf->kc", weights, changes)
    rest = np.maximum(alone - fitted.max(axis=1), np.finfo(float).eps * alone)
    noise, change = (-(kinds.log_power + (size - 1) * np.log(of)) / 2 for of in (alone, rest))
    return float(change.max() - noise.max())


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
