"""Prompts of exactly the requested length, no two alike, and the request bodies around them.

A prompt is drawn from two generators: the cell's seed gives its body, so that two runs of a cell
have the same text, and the run's own id gives its first tokens, so that no run hits the prompt of
another in the server's prefix cache, which matches equal beginnings. Both are stored with the run,
so that its prompts can be drawn again.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import fsum
from random import Random

from journal.errors import SpecError
from journal.plan.dialect import in_dialect
from journal.plan.english_words import WORDS
from journal.plan.own_prompts import check_unchanged, due_times, own_requests
from journal.plan.ramp import ramped
from journal.plan.sequence import Slot, conversations, fillers, group, lengths, sequence
from journal.plan.spool import Spool
from journal.plan.trace_file import BLOCK_TOKENS
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.load_shape import Open
from journal.records.request import Request
from journal.serve.engines.vllm.request_fields import TOKEN_IDS, of_exact_length, of_running_usage

OPENING = 4  # tokens (or words) of a prompt that differ between runs


def requests(
    cell: Cell, endpoint: Endpoint, run_id: str, spool: Spool | None = None
) -> tuple[Request, ...]:
    """All requests of one run of `cell`, the warm-up first, ready to be sent. Prompts of one's own
    are written to `spool` (None: all of them are held in memory); the warm-up before them is of
    random tokens, so that each of them is met for the first time when it counts.

    In open loop each measured request has its `due_s`. Raises SpecError where prompt and output
    together are longer than the longest context of the server, and where a file of prompts has
    changed since the experiment began.
    """
    check_context(cell, endpoint.max_model_len)
    due = iter(arrivals(cell) if cell.shape.is_open else ())
    if cell.workload.is_own:
        warmup = [slot for slot in sequence(cell) if slot.warmup]
        own = own_requests(cell, endpoint, spool)
        after = len(warmup)
        return (
            *_drawn(cell, endpoint, run_id, warmup, due),
            *(replace(one, index=after + one.index, due_s=next(due, None)) for one in own),
        )
    check_unchanged(cell.workload)
    kept = None if cell.workload.trace is None else spool
    drawn = tuple(_drawn(cell, endpoint, run_id, sequence(cell), due, kept))
    if kept is not None:
        kept.close()
    return drawn


@dataclass(frozen=True)
class Endless:
    """The measured requests of a cell that lasts for a time, drawn when they are needed; `first` is
    the index of the first of them. `after` are the fillers for when the time is over."""

    cell: Cell
    endpoint: Endpoint
    run_id: str
    first: int
    after: tuple[Request, ...] = ()

    @cached_property
    def _lengths(self) -> list[tuple[int, int]]:
        return lengths(self.cell)

    def group(self, number: int) -> list[Request]:
        """The requests of group `number`, from 0: one, or the turns of a conversation."""
        index = self.first + number * self.cell.workload.turns
        slots = group(self.cell, self._lengths, number)
        return list(_drawn(self.cell, self.endpoint, self.run_id, slots, iter(()), begin=index))

    def request(self, index: int) -> Request:
        """The request with that index."""
        number, turn = divmod(index - self.first, self.cell.workload.turns)
        return self.group(number)[turn]


def endless(
    cell: Cell, endpoint: Endpoint, run_id: str, prepared: tuple[Request, ...]
) -> tuple[tuple[Request, ...], Endless | None]:
    """The requests to send before those that are measured, and those that are drawn while the load
    lasts; of a cell that does not last for a time, or has prompts of its own, `prepared` and
    None."""
    if cell.lasts_s is None or cell.workload.is_own:
        return prepared, None
    after = len(fillers(cell)[1])
    end = len(prepared) - after
    return prepared[:end], Endless(cell, endpoint, run_id, len(prepared), prepared[end:])


def _drawn(
    cell: Cell,
    endpoint: Endpoint,
    run_id: str,
    slots: Iterable[Slot],
    due: Iterator[float],
    spool: Spool | None = None,
    *,
    begin: int = 0,
) -> Iterator[Request]:
    """Requests with drawn prompts, one for each of `slots`, by index from `begin` on; their bodies
    lie in `spool` (None: in memory)."""
    for index, slot in enumerate(slots, start=begin):
        fields = body(cell, endpoint, run_id, index, slot)
        encoded = json.dumps(fields, separators=(",", ":")).encode()
        yield Request(
            index=index,
            body=encoded if spool is None else spool.add(encoded),
            prompt_tokens=slot.prompt_tokens,
            output_tokens=slot.output_tokens,
            warmup=slot.warmup,
            due_s=None if slot.warmup else next(due, None),
            filler=slot.filler,
            phase=slot.phase,
            natural_end=cell.workload.natural_end,
            conversation=slot.conversation,
            turn=slot.turn,
            think_s=cell.workload.think_s,
        )


def body(cell: Cell, endpoint: Endpoint, run_id: str, index: int, slot: Slot) -> dict[str, object]:
    """The JSON body of request `index`: greedy, streamed, and of exactly the output length of its
    `slot` where the server can hold it, unless the workload has natural ends."""
    fields: dict[str, object] = {
        "model": endpoint.model,
        "max_tokens": slot.output_tokens,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if endpoint.extensions:
        fields |= of_running_usage() if cell.workload.natural_end else of_exact_length()
    if _as_ids(endpoint, slot):
        fields |= {} if slot.turn is None else {TOKEN_IDS: True}  # the next turn repeats them
        fields["prompt"] = _ids(cell, endpoint, run_id, index, slot)
    elif endpoint.api == "completions":
        fields["prompt"] = _words(cell, endpoint, run_id, index, slot)
    else:
        text = _words(cell, endpoint, run_id, index, slot)
        fields["messages"] = [{"role": "user", "content": text}]
    return in_dialect(fields, endpoint.facts.request_fields, cell.load.body)


def _as_ids(endpoint: Endpoint, slot: Slot) -> bool:
    """Whether a prompt goes as token ids. That of a turn does where the server gives the ids of its
    answers, too."""
    of_answers = slot.turn is None or endpoint.extensions
    return endpoint.prompt_form == "token_ids" and of_answers


def _ids(cell: Cell, endpoint: Endpoint, run_id: str, index: int, slot: Slot) -> list[int]:
    """The prompt of a slot as token ids: its shared prefix or the blocks of its trace first."""
    own, common = _generators(cell, run_id, index)
    if slot.blocks:
        return block_ids(slot, endpoint, run_id, own)
    if slot.prefix is None:
        return token_ids(slot.prompt_tokens, endpoint, own, common)
    shared, before = cell.workload.shared_prefix, Random(f"{run_id} prefix {slot.prefix}")
    ids = token_ids(shared, endpoint, before, before)
    return ids + token_ids(slot.prompt_tokens - shared, endpoint, own, common)


def _words(cell: Cell, endpoint: Endpoint, run_id: str, index: int, slot: Slot) -> str:
    """The prompt of a slot as words, its shared prefix first."""
    own, common = _generators(cell, run_id, index)
    if slot.prefix is None:
        return prompt_words(slot.prompt_tokens, endpoint, own, common)
    shared, before = cell.workload.shared_prefix, Random(f"{run_id} prefix {slot.prefix}")
    text, left = prompt_words(shared, endpoint, before, before), slot.prompt_tokens - shared
    bare = replace(endpoint, overhead_tokens=0)  # the template's tokens are in the prefix
    return f"{text} {prompt_words(left, bare, own, common)}" if left else text


def token_ids(length: int, endpoint: Endpoint, own: Random, common: Random) -> list[int]:
    """A prompt of `length` token ids from the endpoint's vocabulary: the first by the run's `own`
    generator, the others by the `common` one of all runs of its cell."""
    low, high = endpoint.vocabulary
    opening = min(OPENING, length)
    return own.choices(range(low, high), k=opening) + common.choices(
        range(low, high), k=length - opening
    )


def block_ids(slot: Slot, endpoint: Endpoint, run_id: str, own: Random) -> list[int]:
    """A prompt of the blocks of a trace, the same ids wherever a block comes again in a run, cut to
    its length or made longer with tokens of its own."""
    ids: list[int] = []
    for block in slot.blocks:
        chance = Random(f"{run_id} block {block}")
        ids += chance.choices(range(*endpoint.vocabulary), k=BLOCK_TOKENS)
        if len(ids) >= slot.prompt_tokens:
            return ids[: slot.prompt_tokens]
    left = slot.prompt_tokens - len(ids)
    return ids + token_ids(left, endpoint, own, own)


def prompt_words(length: int, endpoint: Endpoint, own: Random, common: Random) -> str:
    """A prompt as a text of about `length` tokens by the server's own count, the tokens of the
    chat template included; generators as in `token_ids`."""
    per_word = endpoint.tokens_per_word or 1.0
    count = max(1, round((length - endpoint.overhead_tokens) / per_word))
    opening = min(OPENING, count)
    return " ".join(own.choices(WORDS, k=opening) + common.choices(WORDS, k=count - opening))


def arrivals(cell: Cell) -> list[float]:
    """The times at which the measured requests of an open-loop cell are due, in s from the first,
    on an absolute schedule: those of its trace, where it has one.

    The gaps are drawn from a gamma distribution of shape `burstiness` (1 is a Poisson process, 0
    stands for a constant gap) and then scaled, so that (requests - 1) / last is the cell's rate
    whatever the seed: few gaps, as they are drawn, miss it by a fifth and more.
    """
    if cell.workload.trace is not None:
        return due_times(cell.workload)
    assert isinstance(cell.shape, Open)
    shape, count = cell.shape.burstiness, cell.load.requests - 1
    chance = Random(f"arrivals {cell.seed}")
    gaps = [chance.gammavariate(shape, 1.0) if shape else 1.0 for _ in range(count)]
    drawn = fsum(gaps)
    if count == 0:
        return [0.0]
    if drawn == 0.0:  # so bursty that every gap is lost below the least float
        gaps[chance.randrange(count)] = drawn = 1.0
    shares = [so_far / drawn for so_far in accumulate(gaps, initial=0.0)]
    if cell.shape.profile is not None:
        return ramped(cell.shape.profile, shares)
    lasts_s = count / cell.shape.rate
    return [lasts_s * share for share in shares]


def _generators(cell: Cell, run_id: str, index: int) -> tuple[Random, Random]:
    own = Random(f"{run_id} {index}")
    common = Random(f"{cell.seed} {cell.prompt_tokens} {index}")
    return own, common


def check_context(cell: Cell, longest: int | None) -> None:
    """Refuse (SpecError) a cell of which a prompt and its output together are longer than the
    server's longest context, `longest` tokens (None: not known). The tokens of a prompt of one's
    own are not known beforehand: the server refuses the request that is too long."""
    if longest is None or cell.workload.is_own:
        return
    prompt, output = max(lengths(cell), key=sum)
    if cell.workload.is_conversation:
        last = max(conversations(cell), key=lambda turn: turn.said_tokens + turn.prompt_tokens)
        prompt, output = last.said_tokens + last.prompt_tokens, last.output_tokens
    if prompt + output > longest:
        drawn = " (the longest by length_spread)" if cell.load.length_spread else ""
        raise SpecError(
            f"{prompt} prompt + {output} output tokens = {prompt + output}{drawn} pass the "
            f"server's context of {longest}: ask for fewer, or serve with a larger max_model_len"
        )
