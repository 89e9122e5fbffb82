"""How slowly a series changes, and how much wider that makes the interval of its mean.

The means of a few groups cannot show noise that outlasts a group: all of them are off together. The
fine structure of the series does. It is cut into 64 parts of neighbours, or fewer; the cosine
transform of the ranks of their means (as normal scores, so that a single stall counts for no more
than its rank) gives the power at each frequency. That is compared with white noise and with
mixtures of white and correlated noise, each weighted by its likelihood: a Bayesian average over
what the low frequencies leave open, as Mueller and Watson (2008) look at them.
"""

import math
from collections.abc import Iterable
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index, Mask
from journal.metrics.statistics import t_quantile, within_angles
from journal.records.request import Trace

PARTS = 64
SHARES = (0.0, 0.1, 0.3, 0.6, 1.0)  # of the variance of a part's mean that is correlated
TAIL = 0.05
LOWEST = 8  # frequencies: the length of a group and more
SAME_STEP = 0.1  # of a usual gap, within which chunks came from one step


class Prior(NamedTuple):
    """What noise may be before anything is seen of it: correlated over a time that the run is so
    many times as long as (`lengths`, each as likely as the other), or `white`, which is so many
    times as likely as each share of correlated noise."""

    lengths: tuple[float, ...]
    white: float


class Mixtures:
    """The kinds of noise that a series is compared with, as arrays with one element for each."""

    def __init__(self, prior: Prior, parts: int = PARTS) -> None:
        self._parts = parts
        lengths, shares = np.meshgrid(prior.lengths, SHARES, indexing="ij")
        self.share: Array = shares.ravel()
        self.weight: Array = np.where(self.share == 0, prior.white, 1.0)
        self._step: Array = np.exp(-lengths.ravel() / parts)  # correlation of two neighbours
        angle = np.pi * np.arange(1, parts)[:, None] / parts
        self.cosines: Array = math.sqrt(2 / parts) * np.cos(angle * (np.arange(parts) + 0.5))
        step = self._step[:, None]
        slow: Array = (1 - step**2) / (1 - 2 * step * np.cos(angle.T) + step**2)
        self.power: Array = self.share[:, None] * slow + 1 - self.share[:, None]

    @cached_property
    def log_power(self) -> Array:
        """The logarithm of the power of each kind, summed over the frequencies."""
        logarithm: Array = np.log(self.power)
        total: Array = np.sum(logarithm, axis=1)
        return total

    def likelihood(self, scores: Array) -> Array:
        """How likely each kind of noise is, given the scores of the parts; the sum is 1."""
        measured = np.einsum("fk,k->f", self.cosines, scores) ** 2
        scale = (measured / self.power).mean(axis=1)
        logarithm = np.log(self.weight) - (self.log_power + (self._parts - 1) * np.log(scale)) / 2
        weights: Array = np.exp(logarithm - logarithm.max())
        share: Array = weights / weights.sum()
        return share

    def _variance(self, parts: float) -> Array:
        """The variance of the mean of so many neighbouring parts."""
        step = self._step
        slow = (1 + step) / (1 - step) - 2 * step * (1 - step**parts) / (parts * (1 - step) ** 2)
        mean: Array = (self.share * slow + 1 - self.share) / parts
        return mean

    def inflation(self, groups: int) -> Array:
        """The true variance of the series' mean over the one that the scatter of so many group
        means suggests."""
        whole, group = self._variance(self._parts), self._variance(self._parts / groups)
        ratio: Array = (groups - 1) * whole / (group - whole)
        return ratio


@lru_cache
def mixtures(prior: Prior, parts: int) -> Mixtures:
    """The kinds of noise that `prior` names, for a series of so many `parts`."""
    return Mixtures(prior, parts)


def widening(series: Array, groups: int, prior: Prior, parts: int = PARTS) -> float:
    """The factor, 1 or more, by which the t interval from the means of `groups` groups of `series`
    (in order of time) must be widened, by what so many `parts` of it show; 1 where it has fewer
    values, or where all are equal.
    """
    if len(series) < parts or np.ptp(series) == 0:
        return 1.0
    ends = np.arange(parts + 1) * len(series) // parts
    means = np.add.reduceat(series, ends[:-1]) / np.diff(ends)
    if np.ptp(means) == 0:
        return 1.0
    kinds = mixtures(prior, parts)
    return _factor(kinds.likelihood(normal_scores(means)), kinds.inflation(groups), groups)


def shared(series: Array, half: Mask) -> float:
    """The part, 0 to 1, of what changes slowly in `series` (in order of time) that its values in
    `half` have in common with the others: twice the correlation of the lowest frequencies of the
    two, since that of chance is a third. 1 where a part of the series has values of one half only.
    """
    if len(series) < PARTS:
        return 1.0
    part = np.arange(len(series)) * PARTS // len(series)
    coefficients = []
    for chosen in (half, ~half):
        count = np.bincount(part[chosen], minlength=PARTS)
        if np.any(count == 0):
            return 1.0
        means = np.bincount(part[chosen], weights=series[chosen], minlength=PARTS) / count
        coefficients.append(_lowest() @ normal_scores(means))
    one, other = coefficients
    size = math.sqrt(float((one**2).sum() * (other**2).sum()))
    return 1.0 if size == 0 else min(1.0, max(0.0, 2 * float((one * other).sum()) / size))


def carried(series: Array, owner: Index) -> float:
    """The part, 0 to 1, of what changes slowly in `series` (in order of time) that outlasts the
    request which it is read from, where each request (`owner`, same shape) follows the one before:
    twice the correlation of the second half of a request with the first of the next, over that
    within a request. 1 where too few requests have two values or more."""
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(begins[1:], len(owner))
    if len(begins) < LOWEST or np.any(ends - begins < 2):
        return 1.0
    edges = np.stack([begins, (begins + ends) // 2], axis=1).ravel()
    means = normal_scores(np.add.reduceat(series, edges) / np.diff(np.append(edges, len(owner))))
    first, second = means[::2], means[1::2]
    within, across = float((first * second).mean()), float((second[:-1] * first[1:]).mean())
    return min(1.0, max(0.0, 2 * across / within)) if within > 0 else 1.0


def without_prompts(chosen: Mask, at_s: Array, gaps_s: Array, traces: Iterable[Trace]) -> Mask:
    """Those of the `chosen` gaps, which ended at `at_s` (all of one shape), in which no request of
    `traces` had its first chunk: in the others the server read a prompt too, and such steps, which
    come and go with the requests, hide how slowly the rest change. All, where fewer than half are
    left."""
    first_s = np.sort([trace.chunk_s[0] for trace in traces if trace.chunk_s])
    late_s = SAME_STEP * float(np.median(gaps_s)) if len(gaps_s) else 0.0
    before = np.searchsorted(first_s, at_s - gaps_s + late_s, side="right")
    plain: Mask = chosen & (np.searchsorted(first_s, at_s + late_s, side="right") == before)
    return plain if plain.sum() >= chosen.sum() / 2 else chosen


@lru_cache
def _lowest() -> Array:
    """The cosines of the lowest frequencies: one row for each."""
    angle = np.pi * np.arange(1, LOWEST + 1)[:, None] / PARTS
    cosines: Array = np.cos(angle * (np.arange(PARTS) + 0.5))
    return cosines


def normal_scores(values: Array) -> Array:
    """The normal score of the rank of each value; equal ones share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((at - 0.5) / len(values)) for at in rank.tolist()])
    placed: Array = scores[place]
    return placed


def _factor(likelihood: Array, inflation: Array, groups: int) -> float:
    """The factor on a t interval beyond which the mixture of t distributions has TAIL."""
    t = t_quantile(1 - TAIL / 2, groups - 1)
    low, high = 1.0, 64.0
    for _ in range(20):
        factor = math.sqrt(low * high)
        angle = np.arctan(factor * t / np.sqrt((groups - 1) * inflation))
        beyond = float((likelihood * (1 - within_angles(angle, groups - 1))).sum())
        low, high = (factor, high) if beyond > TAIL else (low, factor)
    return high
