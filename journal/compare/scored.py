"""Predictions of the user scored: which metric each means, and whether it came true."""

from journal.compare.points import Points
from journal.metrics.table import predictable

NEAR = 0.1  # of the measured value: a prediction this close has come true


def metric_name(key: str) -> str:
    """The metric that a prediction means: `ttft_s_p50` is ttft_s.p50; a latency without a
    statistic means its median."""
    return predictable().get(key, key)


def measured(key: str, found: Points) -> list[float]:
    """What was measured of a prediction, each value once: cells of one server share what is
    told of the server."""
    values = (point.value(metric_name(key)) for point in found)
    return list(dict.fromkeys(value for value in values if value is not None))


def came_true(key: str, predicted: float, found: Points) -> bool:
    """Whether a prediction held at every point at which it was measured, and that was one."""
    values = measured(key, found)
    return bool(values) and all(is_near(predicted, value) for value in values)


def is_near(predicted: float, value: float) -> bool:
    """Whether a prediction lies within NEAR of the measured value."""
    return abs(predicted - value) <= NEAR * abs(value)
