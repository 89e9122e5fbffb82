"""A known cause of an engine's end: the exception that it is read from, its words, and its remedy.

`{0}` and so on in the words stand for the groups of the pattern; with `before`, for the groups of
that pattern.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from journal.serve.engines.vllm.start_log import StartLog

# What a remedy is reckoned from: the groups of the pattern, and the figures of the log. None where
# these do not suffice.
Reckoning = Callable[[Sequence[str], StartLog], Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Reckoned:
    """A remedy with values of the log's own figures: `{0}` and so on stand for what `values`
    returns."""

    remedy: str
    values: Reckoning


@dataclass(frozen=True, slots=True)
class Known:
    """An exception whose text `pattern` finds. With `before`, a line that the process wrote before
    it, or the exception itself, gives the reason, and that pattern has to match too. The first of
    `reckoned` whose values can be reckoned takes the place of `remedy`."""

    pattern: re.Pattern[str]
    cause: str
    remedy: str
    out_of_memory: bool = False
    before: re.Pattern[str] | None = None
    reckoned: tuple[Reckoned, ...] = ()


def known_rows(rows: Sequence[tuple[str, ...] | Known]) -> Iterator[Known]:
    """A Known for each row of (pattern, cause, remedy) or (pattern, cause, remedy, before)."""
    for row in rows:
        if isinstance(row, Known):
            yield row
            continue
        pattern, cause, remedy, *before = row
        yield Known(
            re.compile(pattern, re.DOTALL),
            cause,
            remedy,
            before=re.compile(before[0]) if before else None,
        )
