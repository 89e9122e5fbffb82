"""Histograms of lengths in tokens, as bars."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from journal.report.document import Bar, Bars, Segment, Text, say

MOST_BINS = 8
WIDE = 16  # the ratio of the longest to the shortest from which bins double


def bins(lengths: Mapping[int, int]) -> list[int]:
    """The beginnings of at most MOST_BINS bins that hold all `lengths` (a count for each): equally
    wide by a round number, or each twice the one before where lengths differ by WIDE times."""
    least, most = min(lengths), max(lengths)
    if most >= WIDE * max(1, least):
        first, last = int(math.log2(max(1, least))), int(math.log2(max(1, most)))
        step = math.ceil((last - first + 1) / MOST_BINS)
        begins = [2**power for power in range(first, last + 1, step)]
        return [0, *begins[1:]] if least < begins[0] else begins
    widths = (digit * 10**power for power in count() for digit in (1, 2, 5))
    width = next(one for one in widths if most // one - least // one < MOST_BINS)
    return [number * width for number in range(least // width, most // width + 1)]


def length_bars(name: str, title: Text, lengths: Counter[int], begins: Sequence[int]) -> Bars:
    """The share of requests in each bin, by the beginnings of the bins."""
    total, counts = lengths.total(), [0] * len(begins)
    for length, times in lengths.items():
        counts[bisect_right(begins, length) - 1] += times
    bars = tuple(
        Bar(say("sent.from", n=f"{begin:,}"), (Segment("", times / total, 0),))
        for begin, times in zip(begins, counts, strict=True)
    )
    return Bars(name, title, "fraction", bars)
