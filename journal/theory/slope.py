"""What a token costs, measured: the slope of the KV cache in use over the tokens in flight."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from journal.records.engine import EngineFacts
from journal.records.request import Trace
from journal.records.samples import ServerReading
from journal.serve.engines.vllm.defaults import BLOCKS_KEPT_BACK

FEWEST_POINTS = 5
# The server sets its gauges once a step, and a reading may meet those of the step before: near
# the first token of a request or its end they may not have met it yet.
EDGE_S = 0.05
EDGE_STEPS = 2


@dataclass(frozen=True, slots=True)
class Slope:
    """`bytes_per_token` with its 95% interval, over `points` readings. `tokens` are the fewest
    and the most that were in flight at one: the wider apart, the surer the slope."""

    bytes_per_token: float
    low: float
    high: float
    points: int
    tokens: tuple[int, int]


def kv_slope(
    readings: Sequence[ServerReading], traces: Sequence[Trace], facts: EngineFacts
) -> Slope | None:
    """The least-squares line through the origin of (tokens in flight, bytes of KV in use), each
    request's tokens rounded up to whole blocks, since the engine hands out blocks.

    Only readings count at which every request in flight was decoding, and had been for two steps,
    and at which the server says that it ran so many: a prompt that is being read holds a part of
    its blocks that no client knows. None with fewer than FEWEST_POINTS of them, or where the
    engine tells no pool. Meant for runs without prefix caching, which shares blocks.
    """
    usable = _usable_bytes(facts)
    if usable is None:
        return None
    size = 1 if facts.block_size is None else facts.block_size
    edge_s = max(EDGE_S, EDGE_STEPS * _step_s(traces))
    points = []
    for reading, there in _in_flight(readings, traces, edge_s):
        tokens = _tokens(there, reading.at_s, size, edge_s)
        agreed = reading.running is None or reading.running == len(there)
        if tokens and agreed and reading.kv_cache_fraction is not None:
            points.append((tokens, reading.kv_cache_fraction * usable))
    return _line(points) if len(points) >= FEWEST_POINTS else None


def _usable_bytes(facts: EngineFacts) -> float | None:
    """The pool without what vLLM keeps back and does not count as free."""
    pool, tokens, size = facts.kv_pool_bytes, facts.kv_pool_tokens, facts.block_size
    if pool is None or tokens is None or size is None:
        return pool
    return pool * (1 - BLOCKS_KEPT_BACK * size / tokens)


def _step_s(traces: Sequence[Trace]) -> float:
    """The usual time between two chunks of a request."""
    steps = [
        (trace.chunk_s[-1] - trace.chunk_s[0]) / (len(trace.chunk_s) - 1)
        for trace in traces
        if len(trace.chunk_s) > 1
    ]
    return median(steps) if steps else 0.0


def _in_flight(
    readings: Sequence[ServerReading], traces: Sequence[Trace], edge_s: float
) -> Iterator[tuple[ServerReading, list[Trace]]]:
    """Each reading with the traces that were, or may have been, in flight at its time."""
    coming = deque(sorted(traces, key=lambda trace: trace.start_s))
    there: list[Trace] = []
    for reading in sorted(readings, key=lambda reading: reading.at_s):
        while coming and coming[0].start_s - edge_s <= reading.at_s:
            there.append(coming.popleft())
        there = [trace for trace in there if reading.at_s <= trace.end_s + edge_s]
        yield reading, there


def _tokens(traces: Sequence[Trace], at_s: float, block_size: int, edge_s: float) -> int | None:
    """Tokens of `traces` in the KV cache, in whole blocks; None when that is not sure."""
    tokens = 0
    for trace in traces:
        decoding = trace.chunk_s and trace.chunk_s[0] + edge_s <= at_s < trace.end_s - edge_s
        if not decoding or trace.prompt_tokens is None:
            return None
        received = bisect_right(trace.chunk_s, at_s)
        made = received if trace.chunk_tokens is None else sum(trace.chunk_tokens[:received])
        tokens += ceil((trace.prompt_tokens + made) / block_size) * block_size
    return tokens


def _line(points: Sequence[tuple[int, float]]) -> Slope:
    """Through the origin; the interval is of 1.96 standard errors."""
    squares = sum(tokens**2 for tokens, _ in points)
    slope = sum(tokens * held for tokens, held in points) / squares
    misses = sum((held - slope * tokens) ** 2 for tokens, held in points)
    error = (misses / (len(points) - 1) / squares) ** 0.5
    sizes = [tokens for tokens, _ in points]
    return Slope(
        bytes_per_token=slope,
        low=slope - 1.96 * error,
        high=slope + 1.96 * error,
        points=len(points),
        tokens=(min(sizes), max(sizes)),
    )
