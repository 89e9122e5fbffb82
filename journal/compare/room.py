"""The KV pool of a point's server: the requests that it holds, and the longest batch that fits."""

from dataclasses import dataclass
from math import ceil

from journal.compare.points import Point
from journal.metrics.table import standing_in
from journal.records.load_shape import Closed
from journal.serve.engines.vllm.defaults import BLOCKS_KEPT_BACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room in a KV pool of `tokens` for requests of `length` tokens, output included.
    `block_tokens` are those of a block, which a request takes whole; None where the server does not
    give it, and then requests are counted as if they fitted without a remainder: as an upper bound.
    `pool_bytes` and `token_bytes` (of one token) are those of all GPUs together; None where the
    server does not give them."""

    tokens: float
    length: int
    block_tokens: int | None = None
    pool_bytes: float | None
    token_bytes: float | None

    @property
    def blocks(self) -> int | None:
        """The number of blocks that a request takes at its full length; None where blocks are not
        known."""
        return None if self.block_tokens is None else ceil(self.length / self.block_tokens)

    @property
    def held(self) -> int:
        """The number of tokens that a request at its full length keeps others from: those of its
        whole blocks."""
        blocks = self.blocks
        if blocks is None or self.block_tokens is None:
            return self.length
        return blocks * self.block_tokens

    @property
    def usable(self) -> float:
        """The number of tokens that requests can have: without the block that is kept back."""
        kept = 0 if self.block_tokens is None else BLOCKS_KEPT_BACK * self.block_tokens
        return max(0.0, self.tokens - kept)

    @property
    def requests(self) -> int:
        """The number of whole requests that the pool holds at once."""
        return int(self.usable // self.held)

    @property
    def request_bytes(self) -> float | None:
        """Bytes of one request at its full length, in whole blocks."""
        return None if self.token_bytes is None else self.token_bytes * self.held

    def tokens_in(self, size_bytes: float) -> float | None:
        """The number of tokens whose KV cache takes `size_bytes`; None where a token's is not
        known."""
        return size_bytes / self.token_bytes if self.token_bytes else None


def room(point: Point) -> Room | None:
    """The room for requests as long as those of `point`; None where its pool or their length is not
    known."""
    tokens, length = point.value("kv_pool_tokens"), point.whole_tokens
    if not tokens or length is None:
        return None
    return Room(
        tokens=tokens,
        length=length,
        block_tokens=next((r.facts.block_size for r in point.good if r.facts.block_size), None),
        pool_bytes=point.value("kv_pool_bytes") or None,
        token_bytes=point.value("kv_bytes_per_token"),
    )


def longest_in_batch(point: Point, room: Room) -> int | None:
    """The length in tokens of the longest requests of which a whole batch fits at once, in whole
    blocks; None in open loop, which has no batch."""
    if not isinstance(point.shape, Closed):
        return None
    block = room.block_tokens or 1
    return int(room.usable) // block // point.shape.batch * block


def full_bytes(point: Point, room: Room) -> float | None:
    """Bytes of KV cache that a whole batch of `point` takes with every request at its full length,
    in whole blocks; None in open loop, where lengths vary, where not all of them fit, or where the
    bytes of a token are not known."""
    each = room.request_bytes
    if each is None or not isinstance(point.shape, Closed) or point.lengths_differ:
        return None
    return each * point.shape.batch if point.shape.batch <= room.requests else None


def on_gpus(point: Point) -> bool:
    """Whether the server of `point` is known to run on GPUs."""
    if point.value("vram_peak_bytes") is not None:
        return True
    return any(
        record.facts.card is not None
        or (record.cell.engine is not None and bool(record.environment.get("gpus")))
        for record in point.good
    )


def meter(point: Point) -> tuple[str, float] | None:
    """The metric of the memory of `point` and its peak in bytes: the memory of the GPUs where they
    were read, else the resident memory of the server's processes."""
    for name in standing_in("vram_peak_bytes"):
        value = point.value(name)
        if value is not None:
            return name, value
    return None
