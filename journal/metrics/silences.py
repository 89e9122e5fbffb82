"""Stalls: times in which no stream had a chunk although some were in mid-answer, longer than the
prompts that were being read explain."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from journal.metrics.arrays import Array, Index, Mask

USUAL = 10.0  # gaps between chunks: a step in a hundred of a noisy server takes six times as long
LEAST_S = 0.05  # what a scheduler of a shared machine may do
QUICK = 0.1  # the part of the requests whose TTFT is hardly more than the reading of their prompts
GROWTH = 2.0  # the power of a prompt's length by which its reading grows at most, as attention does
UNLIKE = 2.0  # times as long as other prompts ever took: no reading of a prompt that is like them
LONGEST = 4  # readings of each size that are looked at: one is that of the silence itself


class Stalls(NamedTuple):
    """How many stalls there were, how long the longest and all of them lasted, when the longest
    began, and the usual gap between the chunks of a stream; all in s."""

    times: int
    longest_s: float
    total_s: float
    at_s: float
    usual_s: float


class Silences(NamedTuple):
    """The stalls of a load (None: without any), and the longest silence in s of which nobody knows
    whether it was a stall or the reading of prompts (0: none)."""

    stalls: Stalls | None
    unsure_s: float


class Streams(NamedTuple):
    """The streams of a load, in s: when each was sent, its first chunk and its last (or its end,
    where it had none), and its median gap between chunks (NaN: not known); the times of all chunks;
    the tokens of each prompt that the server had to read, and whether they are known: else they are
    all of the prompt, of which a cache may have had any part."""

    start_s: Array
    first_s: Array
    last_s: Array
    gap_s: Array
    chunk_s: Array
    prompt_tokens: Array
    is_known: Mask


class _Waits(NamedTuple):
    """What waited for its first chunk in each of the times between two chunks of any stream: when
    these begin and end, in s; the tokens of all prompts that waited, how many of these are not
    known, and for how long in s the quickest prompts explain the silence, and the quickest of all;
    and how long in s nothing waited yet."""

    at_s: Array
    until_s: Array
    tokens: Array
    unknown: Array
    explained_s: Array
    least_s: Array
    alone_s: Array


def silences(streams: Streams, late_s: float, fresh: bool) -> Silences:
    """The silences of a load whose client was up to `late_s` late. `fresh` is whether its prompts
    are such as no cache can have.

    An engine may read prompts and make no token meanwhile: each request that waits for its first
    chunk explains as long a silence as the prompt of the quickest tenth took, or as its own tokens
    take at the pace of the quickest tenth. Where nobody tells which of these tokens a cache had, a
    prompt may take as long as any other did: a longer silence is a stall where it is UNLIKE all
    others and the prompts are fresh, and else nobody knows. Nor does anybody where the quickest
    tenth explains a silence and the quickest request does not: many stalls slow nearly all. A
    silence is none for streams that are as slow by themselves.
    """
    at_s = np.unique(streams.chunk_s)
    known = ~np.isnan(streams.gap_s)
    if len(at_s) < 2 or not known.any():
        return Silences(None, 0.0)
    waits = _waits(streams, at_s)
    usual_s = float(np.median(streams.gap_s[known]))
    lasted_s = np.diff(at_s)
    limit_s = max(USUAL * usual_s, LEAST_S)
    silent_s = np.maximum(lasted_s - waits.least_s, waits.alone_s) - late_s
    long = np.flatnonzero(silent_s > limit_s)
    slow_s = np.array([USUAL * _slowest(streams, at_s[place]) for place in long])
    limits_s = np.maximum(limit_s, slow_s)[silent_s[long] > slow_s]
    long = long[silent_s[long] > slow_s]
    if not len(long):
        return Silences(None, 0.0)
    alone = waits.alone_s[long] - late_s > limits_s
    apart = alone | (lasted_s[long] - waits.explained_s[long] - late_s > limits_s)
    sure = alone | (apart & (waits.unknown[long] == 0))
    if fresh and not sure[apart].all():
        sure |= apart & _unlike(_readings(streams, waits), waits, long, late_s)
    unsure_s, long = float(lasted_s[long[~sure]].max(initial=0.0)), long[sure]
    if not len(long):
        return Silences(None, unsure_s)
    longest = long[np.argmax(lasted_s[long])]
    found = Stalls(
        times=len(long),
        longest_s=float(lasted_s[longest]),
        total_s=float(lasted_s[long].sum()),
        at_s=float(at_s[longest]),
        usual_s=usual_s,
    )
    return Silences(found, unsure_s)


def _waits(streams: Streams, at_s: Array) -> _Waits:
    """The requests that waited for their first chunk between each of the times and the next."""
    starts_s = np.sort(streams.start_s)
    sent = np.searchsorted(starts_s, at_s[1:], side="left")
    begun = np.searchsorted(np.sort(streams.first_s), at_s[:-1], side="right")
    by_start, by_first = np.argsort(streams.start_s), np.argsort(streams.first_s)

    def waiting(values: Array) -> Array:
        """The sum of `values`, one for each request, over those that waited."""
        until, since = (
            np.concatenate(([0.0], np.cumsum(values[order]))) for order in (by_start, by_first)
        )
        waited: Array = until[sent] - since[begun]
        return waited

    before = np.searchsorted(starts_s, at_s[:-1], side="right")
    arrive_s = np.append(starts_s, np.inf)[before]
    explained_s, least_s = map(waiting, _reading_s(streams, (QUICK, 0.0)))
    alone_s = np.where(before > begun, 0.0, np.minimum(arrive_s, at_s[1:]) - at_s[:-1])
    return _Waits(
        at_s[:-1],
        at_s[1:],
        waiting(np.maximum(streams.prompt_tokens, 1).astype(float)),
        np.rint(waiting((~streams.is_known).astype(float))),
        explained_s,
        least_s,
        alone_s,
    )


def _reading_s(streams: Streams, parts: Sequence[float]) -> Array:
    """How long the reading of each prompt takes in s, in a row for each of `parts`, by the quickest
    part of the requests, whose times may be the same for all, grow with the tokens, or with their
    square."""
    ttft_s, tokens = streams.first_s - streams.start_s, np.maximum(streams.prompt_tokens, 1.0)
    grown = (tokens**power for power in (0.0, 1.0, GROWTH))
    explained = [
        np.outer(np.fmax(0.0, np.quantile(ttft_s / growth, parts)), growth) for growth in grown
    ]
    longest_s: Array = np.max(explained, axis=0)
    return longest_s


def _readings(streams: Streams, waits: _Waits) -> Array:
    """Readings of prompts, the LONGEST of each size in powers of two: rows of tokens, s, and when
    they began and ended. They are the silences in which requests waited, and the TTFT of requests
    that waited while no other did."""
    alone, waited = waits_alone(streams.start_s, streams.first_s), waits.tokens > 0
    rows = np.concatenate(
        [
            np.column_stack((streams.prompt_tokens, streams.start_s, streams.first_s))[alone],
            np.column_stack((waits.tokens, waits.at_s, waits.until_s))[waited],
        ]
    )
    tokens, took_s = np.maximum(rows[:, 0], 1.0), rows[:, 2] - rows[:, 1]
    size = np.floor(np.log2(tokens))
    longest = np.lexsort((-took_s, size))
    _, begins = np.unique(size[longest], return_index=True)
    rank = np.arange(len(longest)) - np.repeat(begins, np.diff(np.append(begins, len(longest))))
    kept = longest[rank < LONGEST]
    return np.column_stack((tokens[kept], took_s[kept], rows[kept, 1], rows[kept, 2]))


def waits_alone(start_s: Array, first_s: Array) -> Mask:
    """Whether each request, sent at `start_s` and with its first chunk at `first_s`, waited for it
    while no other did."""
    order = np.argsort(start_s, kind="stable")
    since_s, until_s = start_s[order], first_s[order]
    before_s = np.append(-np.inf, np.maximum.accumulate(until_s))[:-1]
    alone = np.zeros(len(order), dtype=bool)
    alone[order] = (before_s <= since_s) & (np.append(since_s[1:], np.inf) >= until_s)
    return alone


def _unlike(readings: Array, waits: _Waits, long: Index, late_s: float) -> Mask:
    """Whether each of the silences `long` was UNLIKE the readings of all other prompts, those of at
    least half as many tokens where there are such, as long as these would take."""
    tokens, took_s, begin_s, end_s = readings.T
    unlike = np.zeros(len(long), dtype=bool)
    for row, place in enumerate(long):
        at_s, until_s, size = waits.at_s[place], waits.until_s[place], waits.tokens[place]
        others = (end_s <= at_s) | (begin_s >= until_s)
        near = others & (tokens >= size / 2)
        compared = near if near.any() else others
        growth = np.maximum(1.0, size / tokens[compared]) ** GROWTH
        longest_s = (took_s[compared] * growth).max(initial=-np.inf)
        unlike[row] = until_s - at_s - late_s > UNLIKE * longest_s > 0
    return unlike


def _slowest(streams: Streams, at_s: float) -> float:
    """The longest median gap of the streams that are in mid-answer just after `at_s`; endless where
    none is."""
    gaps_s = streams.gap_s[(streams.first_s <= at_s) & (streams.last_s > at_s)]
    known = gaps_s[~np.isnan(gaps_s)]
    return float(known.max()) if len(known) else math.inf
