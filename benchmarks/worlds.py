"""Worlds whose truth is known: runs of made-up servers as the journal stores them.

A step of the server makes one token for each request in flight, so that its noise is shared by all
of them. Times are in units of one step of 10 ms.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from journal.plan.sequence import sequence
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Load, Slo
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Readings, Samples
from journal.records.workload import Workload

Array: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator], Samples]
Noise = Literal["white", "slow", "slower", "heavy", "hidden"]

STEP_S = 0.01
TOKENS = 32  # of each answer
PROMPT = 64  # tokens
CORRELATED = {"slow": 1.0, "slower": 4.0, "hidden": 4.0}  # over so many times TOKENS steps
DEVIATION = 0.1  # of a step, relative; of slow noise half as much
CLOCK = 0.01  # of a step, 0.1 ms: how late a client reads an answer, as half of a normal
TIMEOUT = 100  # steps, after which a request fails
MISS = 16.0  # steps that a prompt takes of which a cache has nothing
REPEATED = Workload(prompts="prompts.txt", cycle=True)  # of which a cache has those sent before
STALLS, STALL = 0.01, 6.0  # of heavy noise: one step in a hundred takes six times as long


@dataclass(frozen=True, slots=True)
class World:
    """A kind of server under a kind of load; `draw` makes one run of it."""

    name: str
    draw: Draw


def steps(random: np.random.Generator, count: int, noise: Noise | float) -> Array:
    """How long each step takes, with noise of one kind; a number is a correlation time in units of
    TOKENS steps."""
    normal = random.standard_normal(count)
    if noise == "white":
        return np.maximum(1 + DEVIATION * normal, 0.05)
    if noise == "heavy":
        long = random.random(count) < STALLS
        return np.exp(DEVIATION * normal) * np.where(long, STALL, 1.0)
    over = CORRELATED[noise] if isinstance(noise, str) else noise
    kept = math.exp(-1 / (TOKENS * over))
    fresh = math.sqrt(1 - kept**2)
    rest = accumulate(normal[1:] * fresh, lambda last, new: kept * last + new, initial=normal[0])
    lasting = 1 + DEVIATION / 2 * np.fromiter(rest, float, count)
    if noise == "hidden":  # under white noise
        lasting = lasting + DEVIATION * random.standard_normal(count)
    return np.maximum(lasting, 0.05)


def closed(
    requests: int,
    batch: int,
    noise: Noise | float,
    *,
    spread: bool = False,
    lengths: float = 0.0,
    prefill: float = 0.5,
    speeds: Sequence[float] = (1.0,),
    misses: float = 0.0,
    tells: bool = True,
    prompts: float = 0.0,
) -> Draw:
    """A closed loop against servers that all requests share in turn. `spread`: the streams begin
    one after the other within a request's time; `lengths`: the deviation of the logarithm of the
    output lengths; `prefill`: what each request that enters adds to its step; `speeds`: how long a
    step of each server takes; `misses`: the share of prompts of which a cache has nothing, where it
    has nearly all of the others, and which add MISS steps; `tells`: whether the server says which
    these are; `prompts`: the deviation of the logarithm of the prompt lengths, whose squares
    `prefill` goes with."""

    def draw(random: np.random.Generator) -> Samples:
        many = round(requests / batch * TOKENS * (1 + 3 * lengths) * 1.5) + 12 * TOKENS
        clocks = [_Clock(steps(random, many, noise) * speed) for speed in speeds]
        tokens = _lengths(random, TOKENS, lengths, requests) if lengths else [TOKENS] * requests
        missed = random.random(requests) < misses if misses else np.zeros(requests, dtype=bool)
        asked = _lengths(random, PROMPT, prompts, requests) if prompts else [PROMPT] * requests
        begins = [TOKENS * i / batch if spread else 0.0 for i in range(batch)]
        heapq.heapify(begins)
        for index, length in enumerate(tokens):
            server = clocks[index % len(clocks)]
            reads = MISS if missed[index] else prefill * (asked[index] / PROMPT) ** 2
            _, end = server.serve(index, heapq.heappop(begins), length, reads)
            heapq.heappush(begins, end)
        answers = sorted((answer for clock in clocks for answer in clock.answers()), key=_index)
        if misses:
            hits = {index for index in range(requests) if not missed[index]} if tells else None
            cell = replace(cell_of(Load(requests=requests), batch=batch), workload=REPEATED)
            return samples_of(answers, cell, hits=hits)
        return samples_of(answers, cell_of(Load(requests=requests), batch=batch), prompts=asked)

    return draw


def _lengths(random: np.random.Generator, mean: int, spread: float, count: int) -> list[int]:
    """So many lengths in tokens, of which the logarithm has the deviation `spread`."""
    drawn = mean * np.exp(spread * random.standard_normal(count) - spread**2 / 2)
    return [max(4, round(length)) for length in drawn.tolist()]


def as_sent(
    requests: int, batch: int, noise: Noise | float, *, lengths: float = 0.0, failing: float = 0.0
) -> Draw:
    """A closed loop as the journal sends it, with fillers before the measured requests and after
    them; `lengths`: the `length_spread` of its cell; `failing`: the share of measured requests that
    fail after TIMEOUT steps."""

    def draw(random: np.random.Generator) -> Samples:
        load = Load(requests=requests, warmup=0, length_spread=lengths)
        cell = replace(cell_of(load, batch=batch), seed=int(random.integers(2**31)))
        slots = sequence(cell)
        many = 4 * sum(slot.output_tokens for slot in slots) // batch + 40 * TOKENS
        clock = _Clock(steps(random, many, noise))
        begins, failed, fillers = [0.0] * batch, set[int](), set[int]()
        for index, slot in enumerate(slots):
            start = heapq.heappop(begins)
            tokens = slot.output_tokens
            if slot.filler:
                fillers.add(index)
            elif random.random() < failing:
                failed.add(index)
                tokens = TIMEOUT
            heapq.heappush(begins, clock.serve(index, start, tokens, 0.5)[1])
        return samples_of(clock.answers(), cell, fillers=fillers, failed=failed)

    return draw


class _Clock:
    """One server: each request takes part in the steps after the one in which it came."""

    def __init__(self, lengths: Array) -> None:
        self._lengths = lengths
        self._at = list(accumulate(lengths.tolist(), initial=0.0))
        self._served: list[tuple[int, float, int, int]] = []
        self._extra = np.zeros(len(lengths))

    def serve(
        self, index: int, start: float, tokens: int, prefill: float = 0.0
    ) -> tuple[float, float]:
        """The start and the end of a request that adds `prefill` to its step, without the prefills
        of later ones."""
        first = bisect_left(self._at, start - 1e-9)
        last = min(first + tokens, len(self._lengths) - 1)
        self._extra[first] += prefill
        self._served.append((index, start, first, last))
        return start, self._at[last]

    def answers(self) -> list[tuple[int, float, Array]]:
        """Index, start and times of tokens of each request, prefills included."""
        late = np.concatenate([[0.0], np.cumsum(self._extra)])
        at = np.array(self._at) + late
        return [
            (index, start + late[first], at[first + 1 : last + 1])
            for index, start, first, last in self._served
        ]


def engine_in_open_loop(requests: int, in_flight: float, noise: Noise | float) -> Draw:
    """Poisson arrivals at a server that takes up all of them at once."""

    def draw(random: np.random.Generator) -> Samples:
        many = round(requests * TOKENS / in_flight * 1.6) + 20 * TOKENS
        clock = _Clock(steps(random, many, noise))
        arrivals = np.cumsum(random.exponential(TOKENS / in_flight, requests))
        for index, start in enumerate(arrivals.tolist()):
            clock.serve(index, start, TOKENS)
        cell = cell_of(Load(requests=requests), rate=in_flight / TOKENS / STEP_S)
        return samples_of(clock.answers(), cell)

    return draw


def queue(
    requests: int,
    lanes: int,
    load: float,
    service: Literal["fixed", "random"],
    limit: float = 1.25,
) -> Draw:
    """Poisson arrivals at `load` times what `lanes` can do, each of which takes one request at a
    time, for a fixed or an exponential time whose mean is TOKENS steps. `limit` is that of the SLO,
    in such times."""

    def draw(random: np.random.Generator) -> Samples:
        arrivals = np.cumsum(random.exponential(TOKENS / (lanes * load), requests))
        times = np.full(requests, float(TOKENS))
        if service == "random":
            times = random.exponential(TOKENS, requests)
        free = [0.0] * lanes
        answers = []
        for index, (at, takes) in enumerate(zip(arrivals.tolist(), times.tolist(), strict=True)):
            begin = max(at, heapq.heappop(free))
            heapq.heappush(free, begin + takes)
            marks = takes * np.arange(1, 9) / 8 * (1 + 1e-6 * random.standard_normal(8))
            late = CLOCK * abs(random.standard_normal())
            answers.append((index, at, begin + marks + late))
        cell = cell_of(Load(requests=requests), rate=lanes * load / TOKENS / STEP_S)
        slo = Slo(e2e_ms=limit * TOKENS * STEP_S * 1e3)
        return samples_of(answers, replace(cell, slo=slo))

    return draw


def independent(requests: int, batch: int) -> Draw:
    """A closed loop whose requests know nothing of each other: each has a speed of its own."""

    def draw(random: np.random.Generator) -> Samples:
        paces = np.exp(0.3 * random.standard_normal(requests))
        begins = [0.0] * batch
        answers = []
        for index, pace in enumerate(paces.tolist()):
            start = heapq.heappop(begins)
            marks = start + pace * np.arange(1, TOKENS + 1)
            heapq.heappush(begins, float(marks[-1]))
            answers.append((index, start, marks))
        return samples_of(answers, cell_of(Load(requests=requests), batch=batch))

    return draw


def _index(answer: tuple[int, float, Array]) -> int:
    return answer[0]


def cell_of(load: Load, batch: int | None = None, rate: float | None = None) -> Cell:
    """The cell of a run. Its SLO is an end-to-end latency of 1.25 times that of a server without
    noise."""
    return Cell(
        experiment="calibrate",
        model="simulated",
        quantisation=None,
        engine=None,
        batch=batch,
        rate=rate,
        prompt_tokens=PROMPT,
        output_tokens=TOKENS,
        load=load,
        slo=Slo(e2e_ms=1.25 * TOKENS * STEP_S * 1e3),
    )


def samples_of(
    answers: Sequence[tuple[int, float, Array]],
    cell: Cell,
    fillers: Collection[int] = (),
    failed: Collection[int] = (),
    hits: Collection[int] | None = None,
    prompts: Sequence[int] = (),
) -> Samples:
    """Answers (index, start, times of their tokens, in steps) as one run's samples; `fillers` are
    the indices of those that are not measured, `failed` of those that had no answer, `hits` of
    those whose prompts a cache had nearly whole (None: nothing is known of a cache),
    `prompts` the tokens of each prompt (without: PROMPT)."""
    traces = []
    for index, start, marks in answers:
        at_s = (marks * STEP_S).tolist()
        known: tuple[float, ...] = () if index in failed else tuple(at_s)
        traces.append(
            Trace(
                index=index,
                warmup=index in fillers,
                scheduled_s=start * STEP_S,
                start_s=start * STEP_S,
                end_s=at_s[-1],
                outcome="error" if index in failed else "ok",
                prompt_tokens_asked=prompts[index] if prompts else PROMPT,
                output_tokens_asked=len(at_s),
                chunk_s=known,
                chunk_tokens=(1,) * len(known),
                prompt_tokens=prompts[index] if prompts else PROMPT,
                output_tokens=len(at_s),
                cached_tokens=None if hits is None else 60 * (index in hits),
            )
        )
    return Samples(
        cell=cell,
        facts=EngineFacts(),
        traces=tuple(traces),
        readings=Readings(),
        client=ClientHealth(),
    )
