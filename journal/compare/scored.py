"""Predictions of the user, scored: the metric that each means, and whether it came true."""

from journal.compare.points import Points
from journal.metrics.table import predictable

NEAR = 0.1  # of the measured value: a prediction within it came true


def predicted_metric(key: str) -> str:
    """The name of the metric that a prediction means: `ttft_s_p50` is ttft_s.p50; a latency
    without a statistic means its median."""
    return predictable().get(key, key)


def measured_values(key: str, measured_at: Points) -> list[float]:
    """The measured values of a prediction's metric, each once, since cells of one server share the
    figures of the server."""
    values = (point.value(predicted_metric(key)) for point in measured_at)
    return list(dict.fromkeys(value for value in values if value is not None))


def came_true(key: str, predicted: float, measured_at: Points) -> bool:
    """Whether a prediction is near the measured value at every point that has one; False where
    none has."""
    values = measured_values(key, measured_at)
    return bool(values) and all(is_near(predicted, value) for value in values)


def is_near(predicted: float, value: float) -> bool:
    """Whether a prediction lies within NEAR of the measured `value`."""
    return abs(predicted - value) <= NEAR * abs(value)
