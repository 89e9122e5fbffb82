"""The knee of a line of batches, past which more load gains little throughput, and its bound."""

import math
from dataclasses import dataclass
from itertools import pairwise

from journal.compare.capacity import OVERLOADED
from journal.compare.points import Point, Points
from journal.metrics.figure_error import half_of_difference, relative_error
from journal.records.figure import Figure
from journal.records.load_shape import Closed
from journal.theory.predictions import ServedModel, served_model
from journal.theory.roofline import Bound

THROUGHPUT = "output_tokens_per_s"
UNSEEN = "overload_unseen"  # the note on a run too short to show an overload
KEPT_UP = 0.97  # of the requests sent in a second
# Below this gain in throughput for a doubling of the batch, the batch is past its knee: 80% of the
# added load only adds latency.
KNEE_GAIN = 1.2


@dataclass(frozen=True, slots=True)
class BatchStep:
    """A step from one batch to the next. `gain` is the factor in throughput for each doubling of
    the batch, `low` to `high` its 95% interval (None where a throughput has none)."""

    before: Point
    after: Point
    gain: float
    low: float | None = None
    high: float | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it is certain that the step gains KNEE_GAIN or more."""
        return self.low is not None and self.low >= KNEE_GAIN

    @property
    def is_past(self) -> bool:
        """Whether it is certain that the step gains less."""
        return self.high is not None and self.high < KNEE_GAIN


def batch_steps(line: Points) -> list[BatchStep]:
    """The steps between the points of `line` (ordered by batch) that have a throughput."""
    rates = [(point, figure) for point in line if (figure := point.figure(THROUGHPUT))]
    rates = [(point, figure) for point, figure in rates if figure.value]
    return [_step(*low, *high) for low, high in pairwise(rates)]


def _step(low: Point, less: Figure, high: Point, more: Figure) -> BatchStep:
    assert less.value and more.value
    doublings = math.log2(high.load / low.load)
    gain = (more.value / less.value) ** (1 / doublings)
    errors = relative_error(less), relative_error(more)
    if errors[0] is None or errors[1] is None:
        return BatchStep(low, high, gain)
    factor = math.exp(half_of_difference(errors[0], errors[1]) / doublings)
    return BatchStep(low, high, gain, gain / factor, gain * factor)


def knee(line: Points) -> BatchStep | None:
    """The first step that is certain to gain less than KNEE_GAIN for a doubling; None where none
    is."""
    return next((step for step in batch_steps(line) if step.is_past), None)


def served_at(point: Point) -> ServedModel | None:
    """The model of `point` as its server had it; None where its config is not known."""
    cell, facts = point.good[-1].cell, point.good[-1].facts
    attached = 1 if facts.cards is None else facts.cards
    return served_model(facts, cell.engine, cell.engine.gpu_count if cell.engine else attached)


def decode_bound(point: Point) -> Bound | None:
    """The side of the roofline that bounds a decode step at the batch of `point`; None in open
    loop, and where the model or the GPU is not known."""
    cell, model = point.good[-1].cell, served_at(point)
    if model is None or cell.prompt_tokens is None or not isinstance(cell.shape, Closed):
        return None
    return model.decode_bound(cell.shape.batch, cell.prompt_tokens)


def fell_behind(point: Point) -> bool:
    """Whether the server fell behind in a run of `point`: it was offered more than it answers."""
    return any(doubt.name == OVERLOADED for record in point.good for doubt in record.doubts)


def too_short_to_tell(point: Point) -> bool:
    """Whether a run of `point` was too short to show an overload."""
    return any(doubt.name == UNSEEN for record in point.good for doubt in record.doubts)


def kept_up(point: Point) -> bool:
    """Whether the server of `point` answered at least KEPT_UP of the requests sent in a second."""
    done, achieved = point.value("requests_per_s"), point.value("achieved_rate_per_s")
    sent = point.load if achieved is None else achieved
    return done is not None and done >= KEPT_UP * sent
