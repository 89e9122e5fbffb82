"""How much the streams of a closed loop differ for good, and how uncertain that leaves their mean.

Requests that came while the server read a long prompt are read together after it. Where answers are
equally long their streams then stay together, each request waits for the same others as the one
before it in its stream, and a run shows one pattern of many. The groups of a run, which all hold
that pattern, do not scatter by it; its streams do. The variance of a mean is then that of the
groups and that of the streams, less what both count (Cameron, Gelbach and Miller, 2011).
"""

import math

import numpy as np

from journal.metrics.arrays import Array, Index
from journal.metrics.statistics import CONFIDENCE, t_quantile

APART = 2.0  # standard deviations of chance, from which on streams differ
GROUPS = 4  # of streams that are read together, in which as many may be of each
BESIDE = 1 / GROUPS  # of all streams: as far as one and its neighbours are read together


def lasting_half(values: Array, owner: Index, stream: Index) -> float:
    """Half of the 95% interval of the mean of `values` for streams that differ for good; 0 where
    they do not. As in `lasting_error`."""
    groups = min(int(stream.max()) + 1, GROUPS)
    error = lasting_error(values, owner, stream)
    return t_quantile((1 + CONFIDENCE) / 2, groups - 1) * error if error > 0 else 0.0


def lasting_error(values: Array, owner: Index, stream: Index) -> float:
    """The standard error of the mean of `values` that stems from streams that differ for good; 0
    where they do not. `owner` (same shape) is the request that each value belongs to, and `stream`
    the stream of each request, from 0 in the order in which they begin: neighbours in it may be
    locked together, and count as far as they are alike (Bartlett's weights)."""
    rest = np.bincount(owner, weights=values - values.mean(), minlength=len(stream))
    sums = np.bincount(stream, weights=rest)
    count, chance = len(sums), float((rest**2).sum())
    if count < 2 or chance == 0:
        return 0.0
    alone = float((sums**2).sum())
    if alone * count / (count - 1) <= chance * (1 + APART * math.sqrt(2 / (count - 1))):
        return 0.0
    reach = round(BESIDE * count)
    beside = sum(
        2 * (1 - far / (reach + 1)) * float((sums * np.roll(sums, far)).sum())
        for far in range(1, reach + 1)
    )
    together = (alone + beside) * count / (count - 1 - reach)
    return math.sqrt(max(0.0, together - chance)) / len(values)
