"""A cell, a run and what went wrong with it, each in one line."""

from collections import Counter
from collections.abc import Sequence

from journal import units
from journal.records.cell import Cell
from journal.records.request import Trace
from journal.records.run import Record


def title(cell: Cell) -> str:
    """A cell in a few words."""
    lengths = f"{cell.prompt_tokens} + {cell.output_tokens} tokens"
    return f"{cell.model}, {cell.shape.label}, {lengths}"


def headline(record: Record) -> str:
    """What a run found."""
    found = f"{record.id[:8]} {title(record.cell)}: {record.status}"
    if record.status in ("failed", "interrupted"):
        return f"{found}: {record.error}"
    ttft, rate = map(record.value, ("ttft_s.p50", "output_tokens_per_s"))
    return f"{found}, TTFT p50 {units.seconds(ttft)}, {units.rate(rate)}"


def reason(cell: Cell, traces: Sequence[Trace]) -> str | None:
    """Why requests failed, the commonest cause first, and how many were not sent for it; None
    when none failed. Of the warm-up, where nothing came after it."""
    measured = [trace for trace in traces if not trace.warmup]
    sent = measured or traces
    failed = Counter(trace.error for trace in sent if trace.error)
    if not failed:
        return None
    cause, count = failed.most_common(1)[0]
    unsent = cell.load.requests - len(measured)
    told = f"{sum(failed.values())} of {len(sent)} requests failed; {count} of them: {cause}"
    return told + (f"; the other {unsent} were not sent" if unsent else "")
