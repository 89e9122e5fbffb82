"""Questions that an experiment poses before it runs: numbers of its own cells, to be predicted."""

from collections.abc import Sequence

from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.load_shape import Closed


def posed(planned: Sequence[Cell]) -> tuple[str, ...]:
    """The keys of at most three predictions about `planned`: the median TTFT of the longest prompt
    at the smallest batch, and the throughput and the TPOT of the shortest prompt at the largest.
    Empty where the cells are of several engines or requests come at a rate, since one number would
    then mean several cells."""
    if len(by_engine(planned)) != 1 or not all(isinstance(cell.shape, Closed) for cell in planned):
        return ()
    alone = min(planned, key=lambda cell: (cell.batch or 0, -cell.planned_lengths[0]))
    busy = max(planned, key=lambda cell: (cell.batch or 0, -cell.planned_lengths[0]))
    return (
        f"ttft_s_p50@{_place(alone)}",
        f"output_tokens_per_s@{_place(busy)}",
        f"tpot_s_mean@{_place(busy)}",
    )


def _place(cell: Cell) -> str:
    return f"batch={cell.batch},prompt_tokens={cell.prompt_tokens}"
