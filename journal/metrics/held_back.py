"""Answers that something on the way here held back until they were over, as a proxy does that
buffers: the first chunk then comes as late as the last token, however the server streamed.

From the times of one answer this cannot be told from a long prefill. Three things tell it: the
server's own time between its first token and its last; its count of tokens, which runs ahead of
those that came here; and answers of different length, whose first chunk is the later the longer
they are.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

from journal.metrics.arrays import Array
from journal.metrics.statistics import t_quantile
from journal.records.request import Trace
from journal.records.samples import Samples

HELD = 0.5  # of the time that the tokens took: from there on answers are called held back
CERTAIN = 0.99
EXCLUDED = 0.3  # the error of the share within which holding back counts as looked for
LENGTHS_VARY = 0.1  # of their mean
REQUESTS = 6
READINGS = 5  # of the server's count
FOREIGN = 0.05  # of the tokens, by which the counts may differ

Source = Literal["server", "counter", "lengths"]


class Holding(NamedTuple):
    """The share of the tokens' time that lies before the first chunk, and what shows it; both None
    where nothing does. `waits_fraction` is the share of a median request before its first chunk,
    NaN without any chunk."""

    fraction: float | None
    by: Source | None
    waits_fraction: float

    @property
    def is_held(self) -> bool:
        """Whether answers were held back."""
        return bool(
            self.fraction is not None and self.fraction >= HELD and self.waits_fraction >= HELD
        )


def holding(samples: Samples, measured: Sequence[Trace]) -> Holding:
    """What the traces of a run and the readings of its server say about answers held back."""
    done = [trace for trace in measured if trace.answered and trace.chunk_s]
    if not done:
        return Holding(None, None, float("nan"))
    first = np.array([trace.chunk_s[0] - trace.start_s for trace in done])
    lasted = np.array([trace.end_s - trace.start_s for trace in done])
    waits = float(np.median(first / np.maximum(lasted, 1e-9)))
    begin_s = min(trace.start_s for trace in measured)
    beside = [t for t in samples.traces if t.start_s >= begin_s and t.answered]
    shares: list[tuple[Source, float | None]] = [
        ("server", _by_server(done)),
        ("counter", _by_counter(samples, done)),
        ("lengths", _by_lengths([trace for trace in beside if trace.chunk_s])),
    ]
    known = [(share, source) for source, share in shares if share is not None]
    return Holding(*max(known), waits) if known else Holding(None, None, waits)


def _by_server(done: Sequence[Trace]) -> float | None:
    """By the server's own time from the first token to the last, where it tells that."""
    pairs = [
        (trace.chunk_s[-1] - trace.chunk_s[0], trace.server_decode_s)
        for trace in done
        if trace.server_decode_s
    ]
    if not pairs:
        return None
    return 1 - float(np.median([here_s / there_s for here_s, there_s in pairs]))


def _by_counter(samples: Samples, done: Sequence[Trace]) -> float | None:
    """By how far the server's count of tokens is ahead of those that came here: of answers that
    come when they are over, by half of the time that their tokens take."""
    looks = [
        (r.at_s, r.output_tokens_total)
        for r in samples.readings.server
        if r.output_tokens_total is not None
    ]
    counted = _stamps(samples.traces) if len(looks) >= READINGS else None
    if counted is None:
        return None
    at_s, theirs = np.array(sorted(looks)).T
    stamps, tokens = counted
    ours = np.append(0.0, np.cumsum(tokens))[np.searchsorted(stamps, at_s, side="right")]
    ahead = theirs - ours - (theirs[-1] - ours[-1])
    begin_s, end_s = done[0].start_s, max(trace.end_s for trace in done)
    inside = (at_s >= begin_s) & (at_s <= end_s)
    before = ahead[at_s < float(stamps[0])]
    if at_s[-1] < stamps[-1] or inside.sum() < READINGS or not len(before):
        return None
    if abs(float(before[0])) > FOREIGN * float(ours[-1]):
        return None
    came = float(np.sum(tokens[(stamps >= begin_s) & (stamps <= end_s)]))
    lasted_s = float(np.median([trace.end_s - trace.start_s for trace in done]))
    if came <= 0 or lasted_s <= 0:
        return None
    return 2 * float(ahead[inside].mean()) * (end_s - begin_s) / came / lasted_s


def _stamps(traces: Sequence[Trace]) -> tuple[Array, Array] | None:
    """When the tokens of all answers (one or more) came, in order, and how many each time; None
    where a request has no count."""
    tokens: list[Array] = []
    for trace in traces:
        count = len(trace.chunk_s)
        if trace.tokens is None or not count:
            return None
        if trace.chunk_tokens is not None and len(trace.chunk_tokens) == count:
            tokens.append(np.array(trace.chunk_tokens, dtype=float))
        else:
            tokens.append(np.full(count, trace.tokens / count))
    stamps = np.fromiter(chain.from_iterable(trace.chunk_s for trace in traces), dtype=float)
    order = np.argsort(stamps, kind="stable")
    return stamps[order], np.concatenate(tokens)[order]


def _by_lengths(traces: Sequence[Trace]) -> float | None:
    """By how much later the first chunk of a longer answer comes, relative to its end: least
    squares over the tokens of answer and prompt. None where the lengths hardly vary, or where the
    share is not certain."""
    known = [t for t in traces if t.tokens is not None]
    tokens = np.array([trace.tokens for trace in known], dtype=float)
    if len(known) < REQUESTS or tokens.std() < LENGTHS_VARY * tokens.mean():
        return None
    prompts = np.array([trace.prompt_tokens_asked for trace in known], dtype=float)
    columns = [np.ones(len(known)), tokens, *([prompts] if np.ptp(prompts) else [])]
    design = np.stack(columns, axis=1)
    inverse = np.linalg.pinv(design)
    first = np.array([trace.chunk_s[0] - trace.start_s for trace in known])
    lasted = np.array([trace.end_s - trace.start_s for trace in known])
    slope = float((inverse @ lasted)[1])
    if slope <= 0:
        return None
    fitted = inverse @ first
    rest = first - design @ fitted
    freedom = max(1, len(known) - design.shape[1])
    variance = float(rest @ rest) / freedom * float(inverse[1] @ inverse[1])
    error = t_quantile(CERTAIN, freedom) * variance**0.5 / slope
    share = float(fitted[1]) / slope
    return share if error <= EXCLUDED or share - error >= HELD / 2 else None
