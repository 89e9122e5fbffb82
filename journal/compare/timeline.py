"""Timelines: the requests that were in flight at one moment of a run, each divided into its parts
by the times that the client saw and the lengths that the server tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.records.request import Trace
from journal.records.run import Record

RequestPartName = Literal["unsent", "queue", "prefill", "unread", "rest", "decode"]

MOST_ROWS = 16  # of one timeline
MOST_SETUPS = 2  # of one experiment that have timelines


@dataclass(frozen=True, slots=True)
class RequestPart:
    """A part of a request, from `start_s` to `end_s`, in s from the start of its timeline."""

    part: RequestPartName
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One request: its parts in order, and the times of its chunks in s from the start of the
    timeline. `by_token` is whether each chunk is known to hold one token."""

    index: int
    parts: tuple[RequestPart, ...]
    chunks_s: tuple[float, ...]
    by_token: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows in the order in which the requests were sent, at most MOST_ROWS, of the `in_flight`
    requests that had a token."""

    rows: tuple[TimelineRow, ...]
    in_flight: int


def timeline(traces: Sequence[Trace]) -> Timeline | None:
    """The timeline of `traces`, which starts when the first of its rows was due; None where no
    request had a token."""
    told = [trace for trace in traces if trace.chunk_s]
    if not told:
        return None
    shown = sorted(told, key=lambda trace: (trace.start_s, trace.index))[:MOST_ROWS]
    zero_s = min(min(trace.scheduled_s, trace.start_s) for trace in shown)
    return Timeline(tuple(_row(trace, zero_s) for trace in shown), len(told))


def _row(trace: Trace, zero_s: float) -> TimelineRow:
    due_s, sent_s = trace.scheduled_s - zero_s, trace.start_s - zero_s
    chunks_s = tuple(at_s - zero_s for at_s in trace.chunk_s)
    first_s = chunks_s[0]
    queue_s, prefill_s = trace.server_queue_s, trace.server_prefill_s
    ends: list[tuple[RequestPartName, float]] = [("unsent", sent_s)]
    if queue_s is None or prefill_s is None:
        ends.append(("unread", first_s))
    else:
        ends.append(("queue", min(sent_s + queue_s, first_s)))
        ends.append(("prefill", min(sent_s + queue_s + prefill_s, first_s)))
        ends.append(("rest", first_s))
    ends.append(("decode", chunks_s[-1]))
    bounds = [min(due_s, sent_s), *(end_s for _, end_s in ends)]
    parts = (
        RequestPart(part, start_s, end_s)
        for (part, _), (start_s, end_s) in zip(ends, pairwise(bounds), strict=True)
        if end_s > start_s
    )
    counted = trace.chunk_tokens
    by_token = trace.tokens == len(chunks_s) and (counted is None or set(counted) == {1})
    return TimelineRow(trace.index, tuple(parts), chunks_s, by_token)


def told_runs(records: Sequence[Record]) -> list[Record]:
    """The runs of one experiment that have timelines: of each of its first MOST_SETUPS setups the
    valid run at the least load, and that at the greatest."""
    valid = [record for record in records if record.status == "valid"]
    every = points(zip(valid, setups_of(valid), strict=True))
    runs: dict[str, Record] = {}
    for setup in list(dict.fromkeys(point.setup for point in every))[:MOST_SETUPS]:
        own = [point for point in every if point.setup == setup]
        for point in (min(own, key=lambda p: p.load), max(own, key=lambda p: p.load)):
            record = point.good[0]
            runs.setdefault(record.id, record)
    return list(runs.values())
