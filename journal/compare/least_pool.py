"""The smallest KV-cache pool that still serves a cell, read from the runs of a search for it.

A pool serves a cell when all its requests run at once and none is preempted. One that is too
small either lets a request lose its cache when it grows, or makes some wait from the start; one
in which not even the longest request fits is refused by the engine when it starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from journal.records.cell import Cell
from journal.records.experiment import Engine
from journal.records.load_shape import Closed
from journal.records.run import Record
from journal.serve.engines.vllm.defaults import BLOCKS_KEPT_BACK
from journal.theory.predictions import served

MOST_TRIES = 6  # pools for one cell; the first two tell where theory holds
SMALLEST = BLOCKS_KEPT_BACK + 1
TELLING = ("preemptions", "server_running_peak", "errors")


@dataclass(frozen=True, slots=True)
class Try:
    """One pool of `blocks` that was tried, and whether it served the cell."""

    blocks: int
    pool_bytes: int
    serves: bool
    record: Record


@dataclass(frozen=True, slots=True)
class Needed:
    """What is known of one cell. `reserved` is its run in the pool that the engine was asked to
    reserve, `tries` those in smaller ones, by size. Bytes are those of one card; `block_bytes`
    and `theory_blocks` (every request at its full length, and the block kept back) are None
    until the run in the reserved pool has told them."""

    cell: Cell
    reserved: Record | None
    tries: tuple[Try, ...]
    block_bytes: int | None
    theory_blocks: int | None

    @property
    def least(self) -> Try | None:
        """The smallest pool that served."""
        return next((each for each in self.tries if each.serves), None)

    @property
    def most(self) -> Try | None:
        """The largest pool below it that did not serve."""
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
        if self.theory_blocks is None or self.block_bytes is None:
            return None
        return self.theory_blocks * self.block_bytes

    def next_blocks(self) -> int | None:
        """The pool to try next: theory's, then further and further from it until one serves and
        one does not, then halfway between; None where it is found or not worth another start."""
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
    """What `records` (newest last) tell of a planned `cell`."""
    asked = _unnamed(cell)
    reserved = next((r for r in reversed(records) if _unnamed(r.cell) == asked), None)
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
    """`cell` on an engine whose pool is pinned and whose context is no longer than it needs: an
    engine refuses a pool in which a request of its full context does not fit."""
    assert cell.engine is not None
    context = cell.prompt_tokens + cell.output_tokens
    engine = replace(cell.engine, kv_cache_memory_bytes=pool_bytes, max_model_len=context)
    return replace(cell, engine=engine)


def serves(record: Record) -> bool:
    """Whether all requests of the batch ran at once, and none was preempted."""
    shape = record.cell.shape
    preempted, running, errors = map(record.value, TELLING)
    if not isinstance(shape, Closed):
        return False
    return preempted == 0 and errors == 0 and running is not None and running >= shape.batch


def _block_bytes(record: Record) -> int | None:
    """Bytes of a block on one card: by the formula, else by the engine's own count."""
    size = record.facts.block_size
    measured = record.value("kv_bytes_per_token")
    if size is None or measured is None:
        return None
    engine = record.cell.engine
    cards = 1 if engine is None else engine.gpu_count
    model = served(record.facts, engine, cards)
    if model is None:
        return ceil(measured / cards * size)
    return model.kv_bytes_per_token_of_a_gpu * size


def _theory(record: Record) -> int | None:
    size, cell, shape = record.facts.block_size, record.cell, record.cell.shape
    if size is None or not isinstance(shape, Closed):
        return None
    lengths = cell.prompt_tokens + cell.output_tokens
    return shape.batch * ceil(lengths / size) + BLOCKS_KEPT_BACK


def _pinned(tried: Cell, asked: Cell) -> int | None:
    """The pool of a cell that a search tried for `asked`; None where it is another's."""
    pool = None if tried.engine is None else tried.engine.kv_cache_memory_bytes
    if pool is None or asked.engine is None:
        return None
    expected = at_pool(asked, pool)
    return pool if _unnamed(tried) == _unnamed(expected) else None


def _unnamed(cell: Cell) -> tuple[Cell, Engine | None]:
    """What makes a cell the same: all but its identity, in which secrets have a part that are not
    stored."""
    return replace(cell, identity="", engine=None), cell.engine
