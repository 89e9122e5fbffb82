"""The knee of a line of batches, past which more load gains little throughput, and its bound."""

import math
from dataclasses import dataclass
from itertools import pairwise

from journal.compare.capacity import OVERLOADED
from journal.compare.points import Point, Points
from journal.records.load_shape import Closed
from journal.theory.predictions import served_model
from journal.theory.roofline import Bound

THROUGHPUT = "output_tokens_per_s"
KEPT_UP = 0.97  # of the requests sent in a second
# Below this gain in throughput for a doubling of the batch, the batch is past its knee: 80% of the
# added load only adds latency.
KNEE_GAIN = 1.2


@dataclass(frozen=True, slots=True)
class BatchStep:
    """A step from one batch to the next. `gain` is the factor in throughput for each doubling of
    the batch."""

    before: Point
    after: Point
    gain: float


def batch_steps(line: Points) -> list[BatchStep]:
    """The steps between the points of `line` (ordered by batch) that have a throughput."""
    rates = [(point, rate) for point in line if (rate := point.value(THROUGHPUT))]
    return [
        BatchStep(low, high, (more / less) ** (1 / math.log2(high.load / low.load)))
        for (low, less), (high, more) in pairwise(rates)
    ]


def knee(line: Points) -> BatchStep | None:
    """The first step that gains less than KNEE_GAIN for a doubling; None where none does."""
    return next((step for step in batch_steps(line) if step.gain < KNEE_GAIN), None)


def decode_bound(point: Point) -> Bound | None:
    """The side of the roofline that bounds a decode step at the batch of `point`; None in open
    loop, and where the model or the GPU is not known."""
    cell, facts = point.good[-1].cell, point.good[-1].facts
    attached = 1 if facts.cards is None else facts.cards
    model = served_model(facts, cell.engine, cell.engine.gpu_count if cell.engine else attached)
    if model is None or not isinstance(cell.shape, Closed):
        return None
    return model.decode_bound(cell.shape.batch, cell.prompt_tokens)


def fell_behind(point: Point) -> bool:
    """Whether the server fell behind in a run of `point`: it was offered more than it answers."""
    return any(doubt.name == OVERLOADED for record in point.good for doubt in record.doubts)


def kept_up(point: Point) -> bool:
    """Whether the server of `point` answered at least KEPT_UP of the requests sent in a second."""
    done, achieved = point.value("requests_per_s"), point.value("achieved_rate_per_s")
    sent = point.load if achieved is None else achieved
    return done is not None and done >= KEPT_UP * sent
