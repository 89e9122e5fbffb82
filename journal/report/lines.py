"""The sentence that says why the requests of a run failed."""

from collections import Counter
from collections.abc import Sequence

from journal.records.cell import Cell
from journal.records.request import Trace


def reason(cell: Cell, traces: Sequence[Trace]) -> str | None:
    """The commonest reason why requests failed, how many did, and how many were not sent for it;
    None when none failed. It is the reason of the warm-up where no measured request was sent."""
    measured = [trace for trace in traces if not trace.warmup]
    sent = measured or traces
    failed = Counter(trace.error for trace in sent if trace.error)
    if not failed:
        left = bool(sent) and all(trace.outcome == "abandoned" for trace in sent)
        return f"all {len(sent)} users left before their answers were over" if left else None
    cause, count = failed.most_common(1)[0]
    unsent = cell.load.requests - len(measured)
    sentence = f"{sum(failed.values())} of {len(sent)} requests failed; {count} of them: {cause}"
    return sentence + (f"; the other {unsent} were not sent" if unsent else "")
