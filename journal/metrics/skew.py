"""The ends of an interval of what a queue skews: a latency, which may be long and cannot be short,
and the share of requests that hold a limit."""

import math

UP, DOWN = 1.7, 1.4  # a queue's skew: few runs see its long stretches, and the others are too low
SKEWED = 4.0  # as soon as the excess is uncertain by a good part of itself
FAR = 4.0  # and the lower end is drawn in no more where it is uncertain by half of itself
FARTHEST = 3.0  # logarithms of the excess: 20 times
STRETCHES = 2.0  # the same skew of the share of requests that a queue makes miss a limit,
RARE = 0.25  # as long as no more of a run do: of more, it has seen the stretches


def around(value: float, half: float, least: float, is_open: bool) -> tuple[float, float]:
    """The ends of an interval of a latency. Its excess over the least one is skewed, so that the
    upper end lies where it would be on the logarithmic scale; in an open loop, where latency is
    service and a queue, both ends do."""
    excess = value - least
    if excess <= 1e-9 * abs(value):
        return value - half, value + half
    logarithm = half / excess
    if is_open:
        drawn_in = 1 + (DOWN - 1) * math.exp(-FAR * logarithm**2)
        up, down = _upwards(logarithm, UP), logarithm / drawn_in
        return least + excess * math.exp(-down), least + excess * math.exp(up)
    high = least + excess * math.exp(min(logarithm, FARTHEST))
    return max(0.0, value - half), max(value + half, high)


def least_share(share: float, half: float, factor: float) -> float:
    """The lower end of an interval of the `share` (0 to 1) of requests of an open loop that hold a
    limit. Those that do not come in the long stretches of a queue, which few runs see: their share
    is skewed as a latency is, by the part of `half` that is due to the widening `factor`. 1 where
    they are not RARE."""
    others = 1 - share
    if others > RARE:
        return 1.0
    slow = half * math.sqrt(1 - 1 / factor**2)
    return max(0.0, 1 - others * math.exp(_upwards(slow / others, STRETCHES)))


def _upwards(logarithm: float, most: float) -> float:
    """How far the upper end lies, on the logarithmic scale, where the interval would by itself
    reach to `logarithm`: up to `most` times as far."""
    skew = 1 + (most - 1) * (1 - math.exp(-SKEWED * logarithm))
    return min(skew * logarithm, FARTHEST)
