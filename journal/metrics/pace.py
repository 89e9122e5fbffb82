"""The time per token of each request, or the bounds that its chunks leave open.

A server that does not tell the tokens of each chunk may have made many of them before the first
chunk: in it, or as thoughts of which no chunk came. The time per token then lies between two
bounds: of all its tokens after the first read, or of as many as there are later chunks; and no
token takes longer than the whole request over the number of tokens.
"""

from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index, Mask

AT_ONCE_S = 0.0002  # between chunks that came together: no engine makes a step in less
BOUNDS_APART = 1.25  # times: from there on a time per token is not known
FIRST_READ = 0.5  # of the tokens, beyond which the rest says little


class Pace(NamedTuple):
    """The least and the most that a token after the first read can have taken, in s, for each
    request; NaN without such a token. `in_one_read`: the whole answer came at once;
    `mostly_at_once`: more than half of its tokens came in the first read."""

    least_s: Array
    most_s: Array
    in_one_read: Mask
    mostly_at_once: Mask

    @property
    def is_known(self) -> Mask:
        """For which requests the bounds are near each other."""
        near: Mask = (self.most_s <= BOUNDS_APART * self.least_s) & ~self.mostly_at_once
        return near


def pace(
    chunk_s: Array, owner: Index, chunk_tokens: Array, output_tokens: Array, lasted_s: Array
) -> Pace:
    """The pace of each request, from the times of all chunks, the request that each belongs to
    (rising), the tokens in each (NaN: not known), and for each request its output tokens (NaN: not
    known) and how long it lasted, in s."""
    requests = len(lasted_s)
    after = _after_first_read(chunk_s, owner, requests)
    tokens = np.bincount(owner, weights=chunk_tokens, minlength=requests)
    later = np.bincount(owner, weights=np.where(after, chunk_tokens, 0.0), minlength=requests)
    chunks = np.bincount(owner, minlength=requests)
    later_chunks = np.bincount(owner[after], minlength=requests)
    counted = ~np.isnan(tokens)
    most_tokens = np.where(counted, later, output_tokens - (chunks - later_chunks))
    least_s, most_s = np.full(requests, np.nan), np.full(requests, np.nan)
    streams_s = np.zeros(requests)
    np.add.at(streams_s, owner[1:], np.where(after[1:], np.diff(chunk_s), 0.0))
    open_to = (later_chunks > 0) & (most_tokens > 0)
    least_s[open_to] = (streams_s / np.maximum(most_tokens, 1))[open_to]
    whole_s = np.where(output_tokens > 0, lasted_s / np.fmax(output_tokens, 1), np.nan)
    widest_s = np.fmin(streams_s / np.maximum(later_chunks, 1), whole_s)
    most_s[open_to] = np.where(counted, least_s, np.fmax(least_s, widest_s))[open_to]
    at_once = counted & (later_chunks > 0) & (later < FIRST_READ * (tokens - 1))
    return Pace(least_s, most_s, (chunks > 0) & (later_chunks == 0), at_once)


def _after_first_read(chunk_s: Array, owner: Index, requests: int) -> Mask:
    """Which chunks came after the first read of their request."""
    fresh = np.diff(owner, prepend=-1) != 0
    apart = np.diff(chunk_s, prepend=-np.inf) > AT_ONCE_S
    later = np.flatnonzero(apart & ~fresh)
    begins = np.full(requests, len(chunk_s))
    owners, first = np.unique(owner[later], return_index=True)
    begins[owners] = later[first]
    after: Mask = np.arange(len(chunk_s)) >= begins[owner]
    return after
