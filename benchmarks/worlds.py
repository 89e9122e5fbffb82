"""Worlds whose truth is known: runs of made-up servers as the journal stores them.

A step of the server makes one token for each request in flight, so that its noise is shared by all
of them. Times are in units of one step of 10 ms.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Load, Slo
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Readings, Samples

Array: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator], Samples]
Noise = Literal["white", "slow", "slower", "heavy", "hidden"]

STEP_S = 0.01
TOKENS = 32  # of each answer
CORRELATED = {"slow": 1.0, "slower": 4.0, "hidden": 4.0}  # over so many times TOKENS steps
DEVIATION = 0.1  # of a step, relative; of slow noise half as much
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
) -> Draw:
    """A closed loop against servers that all requests share in turn. `spread`: the streams begin
    one after the other within a request's time; `lengths`: the deviation of the logarithm of the
    output lengths; `prefill`: what each request that enters adds to its step; `speeds`: how long a
    step of each server takes."""

    def draw(random: np.random.Generator) -> Samples:
        many = round(requests / batch * TOKENS * (1 + 3 * lengths) * 1.5) + 12 * TOKENS
        clocks = [_Clock(steps(random, many, noise) * speed, prefill) for speed in speeds]
        tokens = np.full(requests, TOKENS)
        if lengths:
            drawn = TOKENS * np.exp(lengths * random.standard_normal(requests) - lengths**2 / 2)
            tokens = np.maximum(4, np.round(drawn).astype(int))
        begins = [TOKENS * i / batch if spread else 0.0 for i in range(batch)]
        heapq.heapify(begins)
        for index, length in enumerate(tokens.tolist()):
            server = clocks[index % len(clocks)]
            _, end = server.serve(index, heapq.heappop(begins), length)
            heapq.heappush(begins, end)
        answers = sorted((answer for clock in clocks for answer in clock.answers()), key=_index)
        return _samples(answers, batch=batch)

    return draw


class _Clock:
    """One server: each request takes part in the steps after the one in which it came."""

    def __init__(self, lengths: Array, prefill: float) -> None:
        self._lengths = lengths
        self._prefill = prefill
        self._at = list(accumulate(lengths.tolist(), initial=0.0))
        self._served: list[tuple[int, float, int, int]] = []
        self._extra = np.zeros(len(lengths))

    def serve(self, index: int, start: float, tokens: int) -> tuple[float, float]:
        """The start and the end of a request, without the prefills of later ones."""
        first = int(np.searchsorted(self._at, start - 1e-9))
        last = min(first + tokens, len(self._lengths) - 1)
        self._extra[first] += self._prefill
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
        clock = _Clock(steps(random, many, noise), 0.0)
        arrivals = np.cumsum(random.exponential(TOKENS / in_flight, requests))
        for index, start in enumerate(arrivals.tolist()):
            clock.serve(index, start, TOKENS)
        return _samples(clock.answers(), rate=in_flight / TOKENS / STEP_S)

    return draw


def queue(requests: int, lanes: int, load: float, service: Literal["fixed", "random"]) -> Draw:
    """Poisson arrivals at `load` times what `lanes` can do, each of which takes one request at a
    time, for a fixed or an exponential time whose mean is TOKENS steps."""

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
            marks = begin + takes * np.arange(1, 9) / 8
            answers.append((index, at, marks * (1 + 1e-6 * random.standard_normal(8))))
        return _samples(answers, rate=lanes * load / TOKENS / STEP_S)

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
        return _samples(answers, batch=batch)

    return draw


def _index(answer: tuple[int, float, Array]) -> int:
    return answer[0]


def _samples(
    answers: Sequence[tuple[int, float, Array]],
    batch: int | None = None,
    rate: float | None = None,
) -> Samples:
    """Answers (index, start, times of their tokens, in steps) as one run's samples. Its SLO is an
    end-to-end latency of 1.25 times that of a server without noise."""
    traces = []
    for index, start, marks in answers:
        at_s = (marks * STEP_S).tolist()
        traces.append(
            Trace(
                index=index,
                warmup=False,
                scheduled_s=start * STEP_S,
                start_s=start * STEP_S,
                end_s=at_s[-1],
                outcome="ok",
                prompt_tokens_asked=64,
                output_tokens_asked=len(at_s),
                chunk_s=tuple(at_s),
                chunk_tokens=(1,) * len(at_s),
                prompt_tokens=64,
                output_tokens=len(at_s),
            )
        )
    cell = Cell(
        experiment="calibrate",
        model="simulated",
        quantisation=None,
        engine=None,
        batch=batch,
        rate=rate,
        prompt_tokens=64,
        output_tokens=TOKENS,
        load=Load(requests=len(traces)),
        slo=Slo(e2e_ms=1.25 * TOKENS * STEP_S * 1e3),
    )
    return Samples(
        cell=cell,
        facts=EngineFacts(),
        traces=tuple(traces),
        readings=Readings(),
        client=ClientHealth(),
    )
