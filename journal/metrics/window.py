"""Spans of time and the readings in them: requests in flight, the steady state, gauges, counters.

All times are seconds on one monotonic clock.
"""

from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array

COVERED = 0.95  # the share of a span that readings must cover before they are integrated over it


class Span(NamedTuple):
    """A stretch of time in s, `end_s` not before `start_s`."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """The length in s."""
        return self.end_s - self.start_s


class Series(NamedTuple):
    """The readings of one quantity in order of time: `at_s` and `value` have the same shape."""

    at_s: Array
    value: Array

    def within(self, span: Span) -> Array:
        """The values read inside the span, both ends included."""
        return self.value[(self.at_s >= span.start_s) & (self.at_s <= span.end_s)]

    def mean(self, span: Span) -> float | None:
        """The mean of the values read inside the span; None without any."""
        values = self.within(span)
        return float(values.mean()) if len(values) else None

    def peak(self, span: Span) -> float | None:
        """The largest value read inside the span; None without any."""
        values = self.within(span)
        return float(values.max()) if len(values) else None

    def around(self, span: Span) -> "Series":
        """The readings from the last one before the span to the first one after it."""
        first = max(int(np.searchsorted(self.at_s, span.start_s, side="right")) - 1, 0)
        last = int(np.searchsorted(self.at_s, span.end_s, side="left"))
        return Series(self.at_s[first : last + 1], self.value[first : last + 1])

    def increase(self, span: Span) -> float | None:
        """The rise of a counter from the last reading before the span to the first after it; a
        fall is a restart from 0. None with fewer than two readings."""
        values = self.around(span).value
        if len(values) < 2:
            return None
        steps = np.diff(values)
        return float(np.where(steps < 0, values[1:], steps).sum())

    def rise(self, span: Span) -> float | None:
        """The rise of a steadily read counter inside the span, interpolated at both ends; None
        where the readings cover less than 95% of it."""
        if not self._covers(span):
            return None
        ends = np.interp([span.start_s, span.end_s], self.at_s, self.value)
        return float(ends[1] - ends[0])

    def integral(self, span: Span) -> float | None:
        """The area under a gauge inside the span, by trapezoids; None where the readings cover
        less than 95% of it."""
        if not self._covers(span):
            return None
        inner = self.at_s[(self.at_s > span.start_s) & (self.at_s < span.end_s)]
        at_s = np.concatenate([[span.start_s], inner, [span.end_s]])
        return float(np.trapezoid(np.interp(at_s, self.at_s, self.value), at_s))

    def _covers(self, span: Span) -> bool:
        if len(self.at_s) < 2 or span.length_s <= 0:
            return False
        covered = min(self.at_s[-1], span.end_s) - max(self.at_s[0], span.start_s)
        return bool(covered >= COVERED * span.length_s)


def in_flight(start_s: Array, end_s: Array) -> Series:
    """The number of requests in flight, from each moment on at which it changes. `start_s` and
    `end_s` have one element for each request.

    Where one request ends at the moment at which another starts, the end comes first.
    """
    at_s = np.concatenate([end_s, start_s])
    change = np.concatenate([-np.ones(len(end_s)), np.ones(len(start_s))])
    order = np.argsort(at_s, kind="stable")
    return Series(at_s[order], np.cumsum(change[order]))


def busy_s(start_s: Array, end_s: Array, span: Span) -> float:
    """The time in s that requests spend inside the span, added up; divided by the span's length it
    is the mean number in flight (Little's law)."""
    inside = np.minimum(end_s, span.end_s) - np.maximum(start_s, span.start_s)
    return float(np.maximum(inside, 0).sum())


def steady_closed(start_s: Array, end_s: Array, batch: int) -> Span | None:
    """The steady state of a closed loop: from the moment at which `batch` requests are in flight
    until one ends that no other replaces. None where `batch` is never reached."""
    flight = in_flight(start_s, end_s)
    full = np.flatnonzero(flight.value >= batch)
    if len(full) == 0:
        return None
    return _span(float(flight.at_s[full[0]]), float(flight.at_s[full[-1] + 1]))


def steady_open(start_s: Array, end_s: Array) -> Span | None:
    """The steady state of an open loop: from the first answer to the last request sent; None where
    the last request was sent before the first answer."""
    return _span(float(end_s.min()), float(start_s.max())) if len(start_s) else None


def _span(start_s: float, end_s: float) -> Span | None:
    return Span(start_s, end_s) if end_s > start_s else None
