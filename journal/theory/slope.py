"""The KV cache of a token as measured: the slope of the cache in use over the tokens in flight."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import median

from journal.records.engine import EngineFacts
from journal.records.request import Trace
from journal.records.samples import ServerReading
from journal.serve.engines.vllm.defaults import BLOCKS_KEPT_BACK

FEWEST_POINTS = 5
# The server sets its gauges once a step, and a reading may see those of the step before: close to
# the first token of a request, or to its end, the gauges may not count that token yet.
EDGE_S = 0.05
EDGE_STEPS = 2


@dataclass(frozen=True, slots=True)
class Slope:
    """`bytes_per_token` with its 95% interval (`low`, `high`), over `points` readings. `tokens`
    are the fewest and the most in flight at one reading: the wider apart, the surer the slope."""

    bytes_per_token: float
    low: float
    high: float
    points: int
    tokens: tuple[int, int]


def kv_slope(
    readings: Sequence[ServerReading], traces: Sequence[Trace], facts: EngineFacts
) -> Slope | None:
    """The least-squares line through the origin of (tokens in flight, bytes of KV cache in use),
    each request's tokens rounded up to whole blocks, since the engine hands out blocks.

    A reading counts where every request in flight had been decoding for two steps and the server
    ran that many: during prefill a request holds a part of its blocks that no client knows. None
    with fewer than FEWEST_POINTS such readings, or where the size of the pool is not known. Meant
    for runs without prefix caching, which shares blocks.
    """
    usable = _usable_bytes(facts)
    if usable is None:
        return None
    size = 1 if facts.block_size is None else facts.block_size
    edge_s = max(EDGE_S, EDGE_STEPS * _step_s(traces))
    points = []
    for reading, flying in _in_flight(readings, traces, edge_s):
        tokens = _tokens(flying, reading.at_s, size, edge_s)
        agreed = reading.running is None or reading.running == len(flying)
        if tokens and agreed and reading.kv_cache_fraction is not None:
            points.append((tokens, reading.kv_cache_fraction * usable))
    return _line(points) if len(points) >= FEWEST_POINTS else None


def _usable_bytes(facts: EngineFacts) -> float | None:
    """Bytes of the pool without the blocks that vLLM keeps back and does not count as free."""
    pool, tokens, size = facts.kv_pool_bytes, facts.kv_pool_tokens, facts.block_size
    if pool is None or not tokens or size is None:
        return pool
    return pool * (1 - BLOCKS_KEPT_BACK * size / tokens)


def _step_s(traces: Sequence[Trace]) -> float:
    """The median time between two chunks of a request, in s; 0 where no request has two chunks.
    Steps that read a prompt as well, which may take a hundred times as long, do not lengthen it."""
    gaps = [after - before for trace in traces for before, after in pairwise(trace.chunk_s)]
    return median(gaps) if gaps else 0.0


def _in_flight(
    readings: Sequence[ServerReading], traces: Sequence[Trace], edge_s: float
) -> Iterator[tuple[ServerReading, list[Trace]]]:
    """Each reading, in order of time, with the traces that may have been in flight at it."""
    coming = deque(sorted(traces, key=lambda trace: trace.start_s))
    flying: list[Trace] = []
    for reading in sorted(readings, key=lambda reading: reading.at_s):
        while coming and coming[0].start_s - edge_s <= reading.at_s:
            flying.append(coming.popleft())
        flying = [trace for trace in flying if reading.at_s <= trace.end_s + edge_s]
        yield reading, flying


def _tokens(traces: Sequence[Trace], at_s: float, block_size: int, edge_s: float) -> int | None:
    """Tokens of `traces` in the KV cache, in whole blocks; None where a trace may not have been
    decoding at `at_s`, or its prompt's tokens are not known."""
    tokens = 0
    for trace in traces:
        decoding = trace.chunk_s and trace.chunk_s[0] + edge_s <= at_s < trace.end_s - edge_s
        if not decoding or trace.prompt_tokens is None:
            return None
        received = bisect_right(trace.chunk_s, at_s)
        written = received if trace.chunk_tokens is None else sum(trace.chunk_tokens[:received])
        tokens += ceil((trace.prompt_tokens + written) / block_size) * block_size
    return tokens


def _line(points: Sequence[tuple[int, float]]) -> Slope:
    """The least-squares line through the origin; its interval is 1.96 standard errors to each
    side."""
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
