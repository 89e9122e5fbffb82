"""What a rule is that casts doubt on a run, and what it looks at."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from journal.metrics.view import View
from journal.records.doubt import Severity, Value, Values
from journal.records.figure import Metrics

Finding = tuple[Severity, Values]  # how grave it is, and the values of its words


@dataclass(frozen=True, slots=True)
class Case:
    """One run: its samples as arrays, and its metrics. `changes` says in which ways its
    environment is not that of the first run of its experiment."""

    view: View
    metrics: Metrics
    changes: tuple[Values, ...] = ()

    def value(self, name: str) -> float | None:
        figure = self.metrics.get(name)
        return None if figure is None else figure.value

    @property
    def count(self) -> int:
        """How many requests were measured."""
        return len(self.view.measured)


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to doubt a run: `check` finds it, or None. `threshold` and `reason` say when it
    speaks and why there; its words, which end with what to do, are in words.py."""

    name: str
    threshold: str
    reason: str
    check: Callable[[Case], Finding | None]


def plain(values: Values) -> dict[str, Value]:
    """`values` as JSON has them: lists for tuples, no number of NumPy's, and None for a number that
    is not finite."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Value) -> Value:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return number if math.isfinite(number) else None


def listed(words: list[str]) -> str:
    """Such as "p90, p95 and p99"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
