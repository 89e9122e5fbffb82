"""Predictions of the user beside the measured values."""

from collections.abc import Callable

import pytest

from journal.compare.points import points
from journal.compare.scored import came_true
from journal.compare.setups import setups_of
from journal.records.run import Record


@pytest.mark.parametrize(
    ("predicted", "measured", "came"),
    [
        (0.1, (0.1,), True),
        (0.1, (0.1, 0.099), True),
        (0.1, (0.1, 0.5), False),
        (0.1, (0.5,), False),
        (0.1, (), False),
    ],
)
def test_a_prediction_came_true_where_it_held_at_every_point(
    record: Callable[..., Record], predicted: float, measured: tuple[float, ...], came: bool
) -> None:
    runs = [
        record(number=n, batch=n + 1, metrics={"ttft_s.p50": value})
        for n, value in enumerate(measured)
    ] or [record()]
    measured_at = points(zip(runs, setups_of(runs), strict=True))
    assert came_true("ttft_s_p50", predicted, measured_at) is came
