"""The ends of an interval of a latency, which is skewed: it may be long and cannot be short."""

import math

UP, DOWN = 1.7, 1.4  # a queue's skew: few runs see its long stretches, and the others are too low
SKEWED = 4.0  # as soon as the excess is uncertain by a good part of itself
FAR = 4.0  # and the lower end is drawn in no more where it is uncertain by half of itself
FARTHEST = 3.0  # logarithms of the excess: 20 times


def around(value: float, half: float, least: float, is_open: bool) -> tuple[float, float]:
    """The ends of an interval of a latency. Its excess over the least one is skewed, so that the
    upper end lies where it would be on the logarithmic scale; in an open loop, where latency is
    service and a queue, both ends do."""
    excess = value - least
    if excess <= 1e-9 * abs(value):
        return value - half, value + half
    logarithm = half / excess
    if is_open:
        skew = 1 + (UP - 1) * (1 - math.exp(-SKEWED * logarithm))
        drawn_in = 1 + (DOWN - 1) * math.exp(-FAR * logarithm**2)
        up, down = min(skew * logarithm, FARTHEST), logarithm / drawn_in
        return least + excess * math.exp(-down), least + excess * math.exp(up)
    high = least + excess * math.exp(min(logarithm, FARTHEST))
    return max(0.0, value - half), max(value + half, high)
