"""The smallest KV-cache pool that still serves a cell, read from the runs of a search for it.

A pool serves a cell where the whole batch runs at once and no request is preempted. In a smaller
pool a growing request loses its cache, or some requests wait from the start; an engine refuses to
start with a pool in which not even its longest request fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from journal.records.cell import Cell
from journal.records.experiment import Engine
from journal.records.load_shape import Closed
from journal.records.run import Record
from journal.serve.engines.vllm.defaults import BLOCKS_KEPT_BACK
from journal.theory.predictions import served_model

MOST_TRIES = 6  # pools for one cell; two are enough where theory holds
SMALLEST = BLOCKS_KEPT_BACK + 1
JUDGED_BY = ("preemptions", "server_running_peak", "errors")


@dataclass(frozen=True, slots=True)
class Try:
    """One pool of `blocks` that was tried, and whether it served the cell."""

    blocks: int
    pool_bytes: int
    serves: bool
    record: Record


@dataclass(frozen=True, slots=True)
class Needed:
    """The state of the search for one cell. `reserved` is its run in the pool of the engine's own
    setup, `tries` are those in pools of the search, by size. Bytes are those of one GPU.
    `block_bytes` and `theory_blocks` (every request at its full length, and the block kept back)
    come from the run in the reserved pool and are None before it."""

    cell: Cell
    reserved: Record | None
    tries: tuple[Try, ...]
    block_bytes: int | None
    theory_blocks: int | None

    @property
    def least(self) -> Try | None:
        """The smallest pool that served the cell."""
        return next((tried for tried in self.tries if tried.serves), None)

    @property
    def most(self) -> Try | None:
        """The largest pool below `least` that did not serve the cell."""
        least = self.least
        below = [t for t in self.tries if not t.serves and (not least or t.blocks < least.blocks)]
        return below[-1] if below else None

    @property
    def whole(self) -> bool:
        """Whether the search came to its end: one block less did not serve, or is no pool."""
        least, most = self.least, self.most
        if least is None:
            return False
        return least.blocks - (SMALLEST - 1 if most is None else most.blocks) == 1

    @property
    def theory_bytes(self) -> int | None:
        """Bytes of `theory_blocks`, on one GPU."""
        if self.theory_blocks is None or self.block_bytes is None:
            return None
        return self.theory_blocks * self.block_bytes

    def next_blocks(self) -> int | None:
        """The number of blocks of the next pool to try: that of theory, then further and further
        from it until one pool serves and one does not, then halfway between. None where the search
        is at its end."""
        if self.theory_blocks is None or self.whole or len(self.tries) >= MOST_TRIES:
            return None
        if not self.tries:
            return self.theory_blocks
        least, most, step = self.least, self.most, 1 << (len(self.tries) - 1)
        if least is None:
            return self.tries[-1].blocks + step
        if most is None:
            return max(SMALLEST, least.blocks - step)
        return (least.blocks + most.blocks) // 2


def needed(cell: Cell, records: Sequence[Record]) -> Needed:
    """The state of the search for a planned `cell` after `records` (newest last)."""
    planned = _unnamed(cell)
    reserved = next((r for r in reversed(records) if _unnamed(r.cell) == planned), None)
    block = None if reserved is None else _block_bytes(reserved)
    tries = {}
    for record in records:
        pool = _pinned(record.cell, cell)
        if block is not None and pool is not None:
            tries[pool] = Try(pool // block, pool, serves(record), record)
    return Needed(
        cell=cell,
        reserved=reserved,
        tries=tuple(tries[pool] for pool in sorted(tries)),
        block_bytes=block,
        theory_blocks=None if reserved is None or block is None else _theory(reserved),
    )


def at_pool(cell: Cell, pool_bytes: int) -> Cell:
    """`cell` on an engine whose pool is `pool_bytes` and whose context is no longer than the cell
    needs: an engine refuses a pool in which a request of its full context does not fit."""
    assert cell.engine is not None
    context = sum(cell.planned_lengths)
    engine = replace(cell.engine, kv_cache_memory_bytes=pool_bytes, max_model_len=context)
    return replace(cell, engine=engine)


def serves(record: Record) -> bool:
    """Whether the whole batch ran at once, and no request was preempted or failed."""
    shape = record.cell.shape
    preempted, running, errors = map(record.value, JUDGED_BY)
    if not isinstance(shape, Closed):
        return False
    return preempted == 0 and errors == 0 and running is not None and running >= shape.batch


def _block_bytes(record: Record) -> int | None:
    """Bytes of a block on one GPU: by the formula, else by the engine's own count."""
    size = record.facts.block_size
    measured = record.value("kv_bytes_per_token")
    if size is None or measured is None:
        return None
    engine = record.cell.engine
    gpu_count = 1 if engine is None else engine.gpu_count
    model = served_model(record.facts, engine, gpu_count)
    of_a_gpu = None if model is None else model.kv_bytes_per_token_of_a_gpu
    return ceil(measured / gpu_count * size) if of_a_gpu is None else of_a_gpu * size


def _theory(record: Record) -> int | None:
    """Blocks of the whole batch at its full length, and the block kept back; None where the size
    of a block is not known."""
    size, cell, shape = record.facts.block_size, record.cell, record.cell.shape
    if size is None or cell.whole_tokens is None or not isinstance(shape, Closed):
        return None
    return shape.batch * ceil(cell.whole_tokens / size) + BLOCKS_KEPT_BACK


def _pinned(tried: Cell, planned: Cell) -> int | None:
    """The pool in bytes of a cell that a search tried for `planned`; None where it tried it for
    another."""
    pool = None if tried.engine is None else tried.engine.kv_cache_memory_bytes
    if pool is None or planned.engine is None:
        return None
    expected = at_pool(planned, pool)
    return pool if _unnamed(tried) == _unnamed(expected) else None


def _unnamed(cell: Cell) -> tuple[Cell, Engine | None]:
    """The fields by which cells are equal here: all but the identity, which depends on secrets
    that are not stored."""
    return replace(cell, identity="", engine=None), cell.engine
