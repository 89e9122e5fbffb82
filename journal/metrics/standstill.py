"""The rows of the table on long prompts among short ones: how long other streams stand still while
a long prompt is read."""

from collections.abc import Callable

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.row import Metric
from journal.metrics.view import View
from journal.records.figure import Figure

LONG = 4  # times the median prompt
FEW = 3  # long prompts, below which nothing is said


def standstills(view: View) -> Array:
    """For each long prompt that was read while other streams wrote, the longest gap in s between
    two chunks of any of them that lies, at least in part, between its sending and its first
    chunk."""
    prompts = view.prompt_tokens
    if len(prompts) == 0 or np.isnan(prompts).any():
        return np.zeros(0)
    same = view.chunk_owner[1:] == view.chunk_owner[:-1]
    begin_s, end_s = view.chunk_s[:-1][same], view.chunk_s[1:][same]
    owner = view.chunk_owner[1:][same]
    found = []
    for row in np.flatnonzero(prompts >= LONG * np.median(prompts)):
        beside = (owner != row) & (begin_s < view.first_s[row]) & (end_s > view.start_s[row])
        if beside.any():
            found.append(float((end_s - begin_s)[beside].max()))
    return np.array(found)


def _figure(of: Callable[[Array], float]) -> Callable[[View], Figure]:
    def figure(view: View) -> Figure:
        values = standstills(view) if view.cell.workload.varies else np.zeros(0)
        return Figure(of(values) if len(values) >= FEW else None, count=len(values))

    return figure


STANDSTILL = tuple(
    Metric(
        f"standstill_{name}_s",
        "latency",
        "s",
        "longest gap between chunks of any other stream while a prompt of "
        f"{LONG} times the median or more is read, over such prompts",
        "How long other streams wait while a long prompt is read: chunked prefill shares the "
        "steps between them. Absent where fewer than three long prompts met other streams.",
        _figure(of),
        better="lower",
    )
    for name, of in (("median", lambda a: float(np.median(a))), ("most", lambda a: float(a.max())))
)
