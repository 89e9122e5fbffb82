"""Arrays of the samples of one run, and pure functions on them."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


def total_of(values: Array) -> float | None:
    """The sum of `values`; None where there are no values, or where one is not known (NaN)."""
    return None if len(values) == 0 or np.isnan(values).any() else float(values.sum())


def outliers(values: Array, deviations: float = 10.0, ratio: float = 1.5) -> Mask:
    """Which values lie far above the rest, beyond `outlier_limit`."""
    if len(values) == 0:
        return np.zeros(0, dtype=bool)
    far: Mask = values > outlier_limit(values, deviations, ratio)
    return far


def outlier_limit(values: Array, deviations: float = 10.0, ratio: float = 1.5) -> float:
    """The limit far above the `values` (one or more): `deviations` robust standard deviations
    (1.4826 times the median absolute deviation) above the median, and `ratio` times the median."""
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return max(median + deviations * spread, ratio * median)
