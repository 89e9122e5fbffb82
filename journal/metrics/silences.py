"""Stalls: times in which no stream had a chunk although some were in mid-answer, longer than the
prompts that were being read explain."""

import math
from typing import NamedTuple

import numpy as np

from journal.metrics.statistics import Array

USUAL = 8.0  # gaps between chunks: one step in a hundred of a noisy server takes six times as long
LEAST_S = 0.05  # what a scheduler of a shared machine may do


class Stalls(NamedTuple):
    """How many stalls there were, how long the longest and all of them lasted, when the longest
    began, and the usual gap between the chunks of a stream; all in s."""

    times: int
    longest_s: float
    total_s: float
    at_s: float
    usual_s: float


class Streams(NamedTuple):
    """The streams of a load, in s: when each was sent, its first chunk and its last (or its end,
    where it had none), and its median gap between chunks (NaN: not known); the times of all chunks;
    and the tokens of each prompt."""

    start_s: Array
    first_s: Array
    last_s: Array
    gap_s: Array
    chunk_s: Array
    prompt_tokens: Array


def stalls(streams: Streams, late_s: float) -> Stalls | None:
    """The stalls of a load whose client was up to `late_s` late; None without any.

    An engine may read prompts and make no token meanwhile: each request that waits for its first
    chunk explains as long a silence as the prompt of the quickest tenth took, or as its own tokens
    take at the pace of the quickest tenth. And a silence is none for streams that are as slow by
    themselves.
    """
    at_s = np.unique(streams.chunk_s)
    known = ~np.isnan(streams.gap_s)
    if len(at_s) < 2 or not known.any():
        return None
    silent_s = np.diff(at_s) - _reading_s(streams, at_s) - late_s
    usual_s = float(np.median(streams.gap_s[known]))
    long = np.flatnonzero(silent_s > max(USUAL * usual_s, LEAST_S))
    long = long[[silent_s[place] > USUAL * _slowest(streams, at_s[place]) for place in long]]
    if not len(long):
        return None
    lasted_s = np.diff(at_s)[long]
    return Stalls(
        times=len(long),
        longest_s=float(lasted_s.max()),
        total_s=float(lasted_s.sum()),
        at_s=float(at_s[long][np.argmax(lasted_s)]),
        usual_s=usual_s,
    )


def _reading_s(streams: Streams, at_s: Array) -> Array:
    """The silence in s that the requests explain which waited for their first chunk between each of
    the times and the next."""
    ttft_s, tokens = streams.first_s - streams.start_s, np.maximum(streams.prompt_tokens, 1)
    pace_s = max(0.0, float(np.quantile(ttft_s / tokens, 0.1)))
    prompt_s = np.maximum(tokens * pace_s, float(np.quantile(ttft_s, 0.1)))

    def explained(event_s: Array) -> Array:
        """The sum over the first n of the requests in the order of `event_s`, for each n."""
        return np.concatenate(([0.0], np.cumsum(prompt_s[np.argsort(event_s)])))

    sent = np.searchsorted(np.sort(streams.start_s), at_s[1:], side="left")
    begun = np.searchsorted(np.sort(streams.first_s), at_s[:-1], side="right")
    return explained(streams.start_s)[sent] - explained(streams.first_s)[begun]


def _slowest(streams: Streams, at_s: float) -> float:
    """The longest median gap of the streams that are in mid-answer just after `at_s`; endless where
    none is."""
    gaps_s = streams.gap_s[(streams.first_s <= at_s) & (streams.last_s > at_s)]
    known = gaps_s[~np.isnan(gaps_s)]
    return float(known.max()) if len(known) else math.inf
