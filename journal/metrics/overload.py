"""Overload of an open loop: how the requests in flight grow beside what chance in the arrivals
explains."""

import math
from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.statistics import t_quantile
from journal.metrics.window import in_flight

FILLING = 0.2  # of the time from the first answer to the last request, in which a server fills up
LOOKS = 16  # at the requests in flight, evenly spread over the rest
LEAST = 10  # requests sent in that rest
CHANCE = 0.01  # that either end of the interval is on the wrong side of the truth
ANSWERS = 12  # in the first half of that rest
TURNS = 3.0  # times in that rest that an answer lasts: a server of many streams fills up over some
LEVEL = 1.2  # times as many in the second half: more, and the server still fills up


class Growth(NamedTuple):
    """How requests piled up: `came_per_s` of them came in a second and `piled_per_s` stayed.
    `fraction` is the share of those that came which piled up beyond what their own bunching makes
    of it, from `low` to `high`, each of which is missed by 1%. `settled` is whether the server
    had the time to fill up before."""

    came_per_s: float
    piled_per_s: float
    fraction: float
    low: float
    high: float
    settled: bool


def growth(start_s: Array, end_s: Array, answer_s: float = 0.0) -> Growth | None:
    """The growth of the requests in flight that were sent at `start_s` (in order, in s) and were
    over at `end_s`, and whose answers last `answer_s` once they begin; None where too few were
    sent after the first answers.

    A server that keeps up may have a queue all the same, where arrivals bunch. How long that is at
    most follows from the arrivals: it is the backlog that they leave at a server which answers
    exactly as many as come on average, and never more (Lindley, 1952). What is in flight beyond
    that backlog has a level when the server keeps up, however near to its limit, and grows by the
    difference when it does not. Its steps between LOOKS times are held against zero by Student's
    t. Neighbouring steps of a level are against each other, which errs on the side of silence.
    """
    if len(start_s) < LEAST:
        return None
    first_s, last_s = float(end_s.min()), float(start_s[-1])
    begin_s = first_s + FILLING * (last_s - first_s)
    came = int(np.sum(start_s >= begin_s))
    if last_s <= first_s or came < LEAST:
        return None
    looks_s = np.linspace(begin_s, last_s, LOOKS + 1)
    flight = in_flight(start_s, end_s)
    flying = flight.value[np.searchsorted(flight.at_s, looks_s, side="right") - 1]
    rate_per_s = (len(start_s) - 1) / float(np.ptp(start_s))
    steps = np.diff(flying - _backlog(start_s, rate_per_s, looks_s))
    sent = rate_per_s * (last_s - begin_s)
    fraction = float(steps.sum()) / sent
    error = float(steps.std(ddof=1)) * math.sqrt(LOOKS) / sent
    return Growth(
        came_per_s=rate_per_s,
        piled_per_s=float(flying[-1] - flying[0]) / (last_s - begin_s),
        fraction=fraction,
        low=fraction - t_quantile(1 - CHANCE, LOOKS - 1) * error,
        high=fraction + t_quantile(1 - CHANCE, LOOKS - 1) * error,
        settled=last_s - begin_s >= TURNS * answer_s and _settled(end_s, begin_s, last_s),
    )


def _settled(end_s: Array, begin_s: float, last_s: float) -> bool:
    """Whether the server was filled up: it did not answer many more in the second half."""
    middle_s = (begin_s + last_s) / 2
    early = np.sum((end_s > begin_s) & (end_s <= middle_s))
    late = np.sum((end_s > middle_s) & (end_s <= last_s))
    return bool(early >= ANSWERS and late <= LEVEL * early)


def _backlog(start_s: Array, rate_per_s: float, looks_s: Array) -> Array:
    """The requests that a server of constant `rate_per_s` has not done at each of `looks_s`."""
    ahead = np.arange(len(start_s)) - rate_per_s * (start_s - start_s[0])
    after = ahead + 1 - np.minimum.accumulate(ahead)  # a request more than there were before it
    last = np.searchsorted(start_s, looks_s, side="right") - 1
    left: Array = np.maximum(0.0, after[last] - rate_per_s * (looks_s - start_s[last]))
    return left
