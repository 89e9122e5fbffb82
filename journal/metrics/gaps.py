"""The chunks of answers: the tokens in each, the gaps between them, and the usual gap of each
request."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index
from journal.records.request import Trace

LEAST_GAPS = 4  # of a request, from which its median gap is taken


class Gaps(NamedTuple):
    """The gaps between the chunks of all requests (same shape): when each ended and how long it
    was, in s, and the row of its request."""

    at_s: Array
    gap_s: Array
    owner: Index


def gaps_between(at_s: Array, owner: Index) -> Gaps:
    """The gaps between chunks that came at `at_s`, in order for each request, whose rows `owner`
    has (same shape, never decreasing)."""
    same = owner[1:] == owner[:-1]
    return Gaps(at_s[1:][same], np.diff(at_s)[same], owner[1:][same])


def medians(values: Array, owner: Index, requests: int) -> Array:
    """The median of the values of each request, NaN with fewer than LEAST_GAPS of them. `owner` may
    be in any order; requests with equally many values are looked at together, since that is
    quickest."""
    if np.any(owner[1:] < owner[:-1]):
        values = values[np.argsort(owner, kind="stable")]
    counts = np.bincount(owner, minlength=requests)
    begins = np.cumsum(counts) - counts
    middle: Array = np.full(requests, np.nan)
    for count in np.unique(counts[counts >= LEAST_GAPS]):
        alike = np.flatnonzero(counts == count)
        rows = values[begins[alike, None] + np.arange(count)]
        rows.partition(count // 2, axis=1)
        middle[alike] = rows[:, count // 2]
    return middle


def streamed_tokens(trace: Trace) -> int | None:
    """The output tokens of an answer without the thoughts that the server counted and did not
    stream; None where they are not known."""
    tokens, thoughts = trace.tokens, trace.reasoning_tokens
    if tokens is None or thoughts is None or trace.reasoning_chunks != 0:
        return tokens
    return tokens - thoughts if 0 < thoughts < tokens else tokens


def chunk_tokens(trace: Trace) -> Sequence[float]:
    """The tokens in each chunk of an answer, as `View.chunk_tokens` has them."""
    chunks = len(trace.chunk_s)
    if trace.chunk_tokens is not None and len(trace.chunk_tokens) == chunks:
        return trace.chunk_tokens
    return [1.0 if streamed_tokens(trace) == chunks else np.nan] * chunks
