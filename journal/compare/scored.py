"""Predictions of the user, judged: whether a metric was as it was predicted before it was measured,
by its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from journal.compare.claims import (
    ClaimPart,
    Region,
    conjunction,
    figure_trial,
    overall,
    repeats_to_decide,
)
from journal.compare.points import Point, Points
from journal.metrics.table import is_exact, metric_of_key, place_of_key
from journal.records.claim import Verdict
from journal.records.figure import Figure

NEAR = 0.1  # of the measured value: a prediction within it is supported


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction of the value of `metric` with its verdict and the measured figures that it rests
    on, the decisive one first."""

    metric: str
    predicted: float
    verdict: Verdict
    parts: tuple[ClaimPart, ...]

    @property
    def more(self) -> int | None:
        """The further repeats that would decide all parts; None where that is not known."""
        return repeats_to_decide(self.parts)


def judged_prediction(key: str, predicted: float, points: Points) -> Prediction:
    """The verdict on a prediction, by the interval of the metric that `key` means at every one of
    `points` that has it, of those that `key` is about: supported where each lies within NEAR of the
    prediction, refuted where one lies beyond, not established where an interval, or its lack,
    leaves it open. Cells of one server, which share the figures of the server, count once."""
    metric, place = metric_of_key(key), place_of_key(key)
    exact = is_exact(metric)
    region = near(predicted)
    there = [point for point in points if _is_at(point, place)]
    tests = [figure_trial(point, f, region, exact=exact) for point, f in _measured(metric, there)]
    parts = conjunction(tests)
    return Prediction(metric, predicted, overall([part.verdict for part in parts]), parts)


def near(predicted: float) -> Region:
    """The measured values of which a prediction is within NEAR."""
    ends = predicted / (1 + NEAR), predicted / (1 - NEAR)
    return Region(min(ends), max(ends))


def _is_at(point: Point, place: Mapping[str, float]) -> bool:
    cell = point.records[0].cell
    return all(getattr(cell, name) == value for name, value in place.items())


def _measured(metric: str, points: Sequence[Point]) -> list[tuple[Point, Figure]]:
    figures: dict[Figure, Point] = {}
    for point in points:
        figure = point.figure(metric)
        if figure is not None and figure.value is not None:
            figures.setdefault(figure, point)
    return [(point, figure) for figure, point in figures.items()]
