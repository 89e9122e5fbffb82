"""The runs of a log by status in words, in which a failed start of an engine counts once."""

from collections.abc import Iterator, Sequence
from typing import get_args

from journal.compare.starts import unmeasured_by_reason
from journal.records.run import Record, Status
from journal.report.document import Sentence, Text, say


def count_of(noun: str, n: int) -> Sentence:
    """A number of things with its noun: "1 run", "12 cells"."""
    return say(f"count.{noun}.one" if n == 1 else f"count.{noun}.many", n=f"{n:,}")


def status_counts(records: Sequence[Record]) -> tuple[Text, ...]:
    """How many of `records` have each status, and how many starts failed before they had one."""
    return tuple(_parts(records))


def _parts(records: Sequence[Record]) -> Iterator[Text]:
    others = [record.status for record in records if not record.start_failed]
    for status in get_args(Status):
        if count := others.count(status):
            yield say("lead.count", n=f"{count:,}", status=say(f"status.{status}"))
    if starts := unmeasured_by_reason(record for record in records if record.start_failed):
        cells = count_of("cell", sum(map(len, starts)))
        yield say("lead.starts", starts=count_of("failed_start", len(starts)), cells=cells)
