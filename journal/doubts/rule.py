"""A rule that casts doubt on a run, and the case that it looks at."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from journal.metrics.view import View
from journal.records.doubt import Severity, Value, Values
from journal.records.figure import Metrics

Finding = tuple[Severity, Values]  # the severity of a doubt, and the values of its words


@dataclass(frozen=True, slots=True)
class Case:
    """One run: its samples as arrays, and its metrics. `changes` lists the differences of its
    environment from that of the first run of its experiment, as `surroundings.changes` gives
    them."""

    view: View
    metrics: Metrics
    changes: tuple[Values, ...] = ()

    def value(self, name: str) -> float | None:
        """The value of the metric called `name`; None where it has none."""
        figure = self.metrics.get(name)
        return None if figure is None else figure.value

    @property
    def count(self) -> int:
        """The number of measured requests, failed ones included."""
        return len(self.view.measured)


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to doubt a run. `check` returns the doubt's severity and values, or None.
    `threshold` is the limit from which it doubts, and `reason` the argument for that limit. Its
    words, which end with the remedy, are in words.en.toml and words.zh.toml."""

    name: str
    threshold: str
    reason: str
    check: Callable[[Case], Finding | None]


def plain_values(values: Values) -> dict[str, Value]:
    """`values` as plain JSON: lists for tuples, Python's numbers for NumPy's, and None for a number
    that is not finite."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Value) -> Value:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Mapping):
        return plain_values(value)
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return number if math.isfinite(number) else None


def listed(words: list[str]) -> str:
    """`words` as a list in a sentence, such as "p90, p95 and p99"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
