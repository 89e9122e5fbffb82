"""The KV pool of a point's server: the requests that it holds, and the longest batch that fits."""

from dataclasses import dataclass

from journal.compare.points import Point
from journal.metrics.table import standing_in
from journal.records.load_shape import Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room in a KV pool of `tokens` for requests of `length` tokens, output included.
    `pool_bytes` and `token_bytes` (of one token) are those of all GPUs together; None where the
    server does not give them."""

    tokens: float
    length: int
    pool_bytes: float | None
    token_bytes: float | None

    @property
    def requests(self) -> int:
        """The number of whole requests that the pool holds at once."""
        return int(self.tokens // self.length)

    @property
    def request_bytes(self) -> float | None:
        """Bytes of one request at its full length."""
        return None if self.token_bytes is None else self.token_bytes * self.length

    def tokens_in(self, size_bytes: float) -> float | None:
        """The number of tokens whose KV cache takes `size_bytes`; None where a token's is not
        known."""
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
    """The length in tokens of the longest requests of which a whole batch fits at once, in whole
    blocks; None in open loop, which has no batch."""
    if not isinstance(point.shape, Closed):
        return None
    block = next((r.facts.block_size for r in point.good if r.facts.block_size), None) or 1
    return int(room.tokens) // point.shape.batch // block * block


def meter(point: Point) -> tuple[str, float] | None:
    """The metric of the memory of `point` and its peak in bytes: the memory of the GPUs where they
    were read, else the resident memory of the server's processes."""
    for name in standing_in("vram_peak_bytes"):
        value = point.value(name)
        if value is not None:
            return name, value
    return None
