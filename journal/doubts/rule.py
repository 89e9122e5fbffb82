"""What a rule is that casts doubt on a run, and what it looks at."""

from collections.abc import Callable
from dataclasses import dataclass

from journal.metrics.view import View
from journal.records.doubt import Severity
from journal.records.figure import Metrics

Finding = tuple[Severity, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One run: its samples as arrays, and its metrics. `changes` says in which ways its
    environment is not that of the first run of its experiment."""

    view: View
    metrics: Metrics
    changes: tuple[str, ...] = ()

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
    speaks and why there; what it says ends with what to do."""

    name: str
    threshold: str
    reason: str
    check: Callable[[Case], Finding | None]


def some(count: int, whole: int, noun: str) -> str:
    """Such as "3 of 24 requests"."""
    return f"{count} of {whole} {noun}"


def listed(words: list[str]) -> str:
    """Such as "p90, p95 and p99"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
