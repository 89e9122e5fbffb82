"""The sequence of a cell's requests: the lengths of each, and which of them are measured.

The streams of a closed loop are to stay spread. Where they begin together and their requests are
equally long, all of them read their prompts in one step of the engine and decode in the next ones,
wave after wave: TTFT is then that of a whole batch of prompts, and no prompt disturbs a decode. So
fillers, which do not count, go before and after the measured requests:

- one for each stream, whose output is cut to 1/batch, 2/batch, ... of the cell's: one stream after
  the other ends. Cut in tokens, they keep their distances at whatever pace the server decodes;
- batch - 1 whole ones, so that the first measured request goes when each stream has begun anew and
  the prompts that came together at the start have been read;
- batch - 1 after the measured requests, each cut so that it ends about when the last of those
  does: until then as many requests are in flight as the cell says.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, fsum, log1p, sqrt
from statistics import NormalDist

from journal.plan.mix import mixed
from journal.plan.trace_file import Arrival, arrivals_of
from journal.records.cell import Cell

ROUND = 256  # requests whose lengths have the means asked, where a time limits the load


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A request of a cell before its prompt is drawn: its lengths in tokens, the number of the
    shared prefix that it begins with (None: it has none), the ids of its blocks in a trace, and the
    fields of the same names in `Request`. Of a turn of a conversation, `prompt_tokens` are those
    that it adds, and `said_tokens` those that were said before it."""

    prompt_tokens: int
    output_tokens: int
    warmup: bool = False
    filler: bool = False
    phase: float = 0.0
    prefix: int | None = None
    blocks: tuple[int, ...] = ()
    conversation: int | None = None
    turn: int | None = None
    said_tokens: int = 0


def sequence(cell: Cell) -> tuple[Slot, ...]:
    """The requests of one run of `cell` in the order in which they are sent: the warm-up, each
    shared prefix once, the fillers before the measured requests, these (where their number is
    known), and the fillers after them."""
    if cell.workload.trace is not None and not cell.workload.is_own:
        return (*_warmup(cell), *map(_arriving, arrivals_of(cell.workload)))
    if cell.workload.is_conversation:
        return (*_warmup(cell), *(conversations(cell) if cell.lasts_s is None else ()))
    before, after = fillers(cell)
    measured = (Slot(prompt_tokens=n, output_tokens=k) for n, k in lengths(cell))
    loop = [*before, *(measured if cell.lasts_s is None else ()), *after]
    if cell.workload.shared_prefix:
        count = cell.workload.prefixes
        loop = [replace(slot, prefix=number % count) for number, slot in enumerate(loop)]
    return (*_warmup(cell), *primes(cell), *loop)


def conversations(cell: Cell) -> tuple[Slot, ...]:
    """The turns of the conversations of `cell`, one conversation after the other. The last one ends
    early where the load's requests are no multiple of the turns."""
    made: list[Slot] = []
    for number, (prompt_tokens, output_tokens) in enumerate(lengths(cell)):
        conversation, before = divmod(number, cell.workload.turns)
        last = made[-1] if before else None
        said = 0 if last is None else last.said_tokens + last.prompt_tokens + last.output_tokens
        made.append(
            Slot(
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                conversation=conversation,
                turn=before + 1,
                said_tokens=said,
            )
        )
    return tuple(made)


def group(cell: Cell, lengths: Sequence[tuple[int, int]], number: int) -> tuple[Slot, ...]:
    """The measured requests of group `number` (from 0) of a cell that lasts for a time: one
    request, or a conversation. `lengths` are those of a round of groups (`lengths` of the cell),
    and begin again after it."""
    turns, place = cell.workload.turns, number % ROUND
    said, made = 0, []
    for turn, (prompt, output) in enumerate(lengths[place * turns : (place + 1) * turns]):
        talk = number if cell.workload.is_conversation else None
        made.append(
            Slot(
                prompt_tokens=prompt,
                output_tokens=output,
                prefix=number % cell.workload.prefixes if cell.workload.shared_prefix else None,
                conversation=talk,
                turn=None if talk is None else turn + 1,
                said_tokens=said,
            )
        )
        said += prompt + output
    return tuple(made)


def _warmup(cell: Cell) -> list[Slot]:
    prompt, output = cell.planned_lengths
    one = Slot(prompt_tokens=prompt, output_tokens=output, warmup=True)
    return [one] * cell.load.warmup


def _arriving(one: Arrival) -> Slot:
    return Slot(prompt_tokens=one.prompt_tokens, output_tokens=one.output_tokens, blocks=one.blocks)


def primes(cell: Cell) -> tuple[Slot, ...]:
    """The requests that bring each shared prefix of `cell` into the server's cache before any of
    them is measured: the prefix alone, with one token to write."""
    shared, count = cell.workload.shared_prefix, cell.workload.prefixes
    prime = Slot(prompt_tokens=shared, output_tokens=1, warmup=True)
    return tuple(replace(prime, prefix=number) for number in range(count if shared else 0))


def fillers(cell: Cell) -> tuple[tuple[Slot, ...], tuple[Slot, ...]]:
    """The fillers of `cell` before its measured requests and after them; none where its streams
    are not spread."""
    streams = cell.spread_streams
    if not streams:
        return (), ()
    (_, usual), longest = cell.planned_lengths, max(output for _, output in lengths(cell))
    shares = [(stream + 1) / streams for stream in range(streams)]
    after = [1 - share for share in shares[:-1]]
    return (
        (
            *(_filler(cell, usual, share, phase=share) for share in shares),
            *(_filler(cell, usual, 1.0) for _ in range(streams - 1)),
        ),
        tuple(_filler(cell, longest, share) for share in after),
    )


def _filler(cell: Cell, output_tokens: int, share: float, phase: float = 0.0) -> Slot:
    return Slot(
        prompt_tokens=cell.planned_lengths[0],
        output_tokens=max(1, ceil(output_tokens * share - 1e-9)),
        warmup=True,
        filler=True,
        phase=phase,
    )


def lengths(cell: Cell) -> list[tuple[int, int]]:
    """The prompt and output tokens of each measured request of `cell`. Their means are the cell's
    lengths, and where these are long enough their coefficient of variation is `length_spread`.

    They are the lengths of its trace or mix, or else the quantiles of a log-normal distribution in
    an order of the cell's seed: each repeat has the same lengths, and prompts and outputs are drawn
    independently of each other."""
    if cell.workload.trace is not None and not cell.workload.is_own:
        return [(one.prompt_tokens, one.output_tokens) for one in arrivals_of(cell.workload)]
    count, spread = cell.load.requests, cell.load.length_spread
    if cell.workload.mix:
        return mixed(cell.workload.mix, count, cell.seed)
    if not spread or count < 2:
        return [cell.planned_lengths] * count
    chance = random.Random(f"lengths {cell.seed}")
    prompts, outputs = (spread_around(mean, spread, count) for mean in cell.planned_lengths)
    chance.shuffle(prompts)
    chance.shuffle(outputs)
    return list(zip(prompts, outputs, strict=True))


def spread_around(mean: int, spread: float, count: int) -> list[int]:
    """`count` whole numbers from 1 up, rising, whose sum is `count` x `mean` and whose standard
    deviation is about `spread` x `mean`."""
    sigma = sqrt(log1p(spread**2))
    quantile = NormalDist().inv_cdf
    drawn = [exp(sigma * quantile((number + 0.5) / count)) for number in range(count)]
    middle = fsum(drawn) / count
    deviation = sqrt(fsum((value - middle) ** 2 for value in drawn) / count)
    scale = spread * mean / deviation
    rounded = [max(1, round(mean + scale * (value - middle))) for value in drawn]
    return _summing_to(count * mean, rounded)


def _summing_to(total: int, numbers: list[int]) -> list[int]:
    """`numbers` with single tokens added to or taken from the largest, in turn, until they sum to
    `total`."""
    left, place = total - sum(numbers), len(numbers) - 1
    while left:
        step = 1 if left > 0 else -1
        if numbers[place] + step >= 1:
            numbers[place] += step
            left -= step
        place = place - 1 if place else len(numbers) - 1
    return sorted(numbers)
