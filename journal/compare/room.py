"""The KV pool of a point's server: how many requests it holds, and where a batch stops fitting."""

from dataclasses import dataclass

from journal.compare.points import Point
from journal.metrics.table import standing_in
from journal.records.load_shape import Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A pool of `tokens`, and in it requests of `length` tokens, output included. `pool_bytes`
    and `token_bytes` are on all GPUs together; None where the server does not give them."""

    tokens: float
    length: int
    pool_bytes: float | None
    token_bytes: float | None

    @property
    def requests(self) -> int:
        """Whole requests that it holds at once."""
        return int(self.tokens // self.length)

    @property
    def request_bytes(self) -> float | None:
        """Bytes that one request takes at its full length."""
        return None if self.token_bytes is None else self.token_bytes * self.length

    def tokens_in(self, size_bytes: float) -> float | None:
        """Tokens whose KV cache takes as much as `size_bytes`."""
        return size_bytes / self.token_bytes if self.token_bytes else None


def room(point: Point) -> Room | None:
    """The room for requests as long as those of `point`; None where its pool is not known."""
    tokens = point.value("kv_pool_tokens")
    if not tokens:
        return None
    return Room(
        tokens=tokens,
        length=point.prompt_tokens + point.output_tokens,
        pool_bytes=point.value("kv_pool_bytes") or None,
        token_bytes=point.value("kv_bytes_per_token"),
    )


def longest_in_batch(point: Point, room: Room) -> int | None:
    """Tokens of the longest request of which a whole batch fits at once, in whole blocks; None in
    open loop, which has no batch."""
    if not isinstance(point.shape, Closed):
        return None
    block = next((r.facts.block_size for r in point.good if r.facts.block_size), None) or 1
    return int(room.tokens) // point.shape.batch // block * block


def meter(point: Point) -> tuple[str, float] | None:
    """The meter that read the memory of `point`, and its peak in bytes: that of the GPUs where
    there are any, else the resident memory of the server's processes."""
    for name in standing_in("vram_peak_bytes"):
        value = point.value(name)
        if value is not None:
            return name, value
    return None
