"""The engines to start, one after the other: those that an experiment names, and those of a search
for the least memory that serves its cells."""

from collections.abc import Iterator, Sequence

from journal.compare.least_pool import MOST_TRIES, at_pool, needed
from journal.plan.cells import by_engine, identified
from journal.records.cell import Cell
from journal.records.experiment import Engine, Experiment
from journal.records.run import Record
from journal.run.resume import undone

Start = tuple[Engine | None, list[Cell]]


def starts(
    experiment: Experiment, left: Sequence[Cell], records: Sequence[Record]
) -> Iterator[Start]:
    """Yield each engine to start, with the cells to measure on it. `left` are the planned cells
    that are still to be measured, `records` those of the experiment so far: the caller adds the
    records of one start before it asks for the next.

    With `needed_vram` every cell is measured in the pool that its engine reserves, and then alone
    in smaller pools, beginning with the pool that theory gives, until one block decides: at most
    MOST_TRIES starts for each cell.
    """
    if not experiment.needed_vram:
        yield from by_engine(left)
        return
    yield from by_engine(undone(left, records))
    for cell in left:
        before = -1
        while len(records) > before:  # without a new record the last start is not repeated
            need = needed(cell, records)
            blocks = need.next_blocks()
            if blocks is None or need.block_bytes is None:
                break
            before = len(records)
            tried = identified(at_pool(cell, blocks * need.block_bytes))
            yield tried.engine, [tried]


def most_starts(experiment: Experiment, planned: Sequence[Cell]) -> int:
    """The largest number of engines that are started."""
    tries = MOST_TRIES * len(planned) if experiment.needed_vram else 0
    return len(by_engine(planned)) + tries
