"""Worlds of a server that batches continuously: at each step it takes up what waits.

Requests that come while it reads long prompts are read together after them, and their streams then
go on together. Times are in steps, as in benchmarks/worlds.py.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, cycle

import numpy as np

from benchmarks.worlds import STEP_S, TOKENS, Array, Draw, Noise, cell_of, samples_of, steps
from journal.plan.sequence import sequence
from journal.records.cell import Cell
from journal.records.experiment import Load
from journal.records.request import Trace
from journal.records.samples import Samples
from journal.records.workload import Workload

Prompts = Callable[[np.random.Generator, int], Array]  # how long each of so many is read, in steps

SHORT, LONG = 0.5, 16.0  # steps in which a prompt is read of which a cache has nearly all, or none
AGAIN = 0.02  # steps in which a token that was written is read again
GUESSES = 3  # tokens that a step tries beside its own


@dataclass(frozen=True, slots=True)
class Policy:
    """What a server does with the prompts that wait. `piece`: it reads so many steps' worth of
    them in a step, beside a token of each other request; None: one whole prompt in a step in which
    it writes for nobody. `fits`: the tokens of unfinished answers that fit into its memory; beyond
    them the last request is read again later. `accepted`: how likely a guessed token is right."""

    piece: float | None = math.inf
    fits: float = math.inf
    accepted: float = 0.0


JOINT = Policy()


def equal(reads: float) -> Prompts:
    """Prompts that are all read in `reads` steps."""
    return lambda _, count: np.full(count, reads)


def some_long(share: float, long: float = LONG) -> Prompts:
    """Prompts of which a share is long, in no order."""
    return lambda random, count: np.where(random.random(count) < share, long, SHORT)


@dataclass(slots=True, eq=False)
class _Job:
    """A request in the server. `reads`: the steps of its prompt that are not read yet; `after`: how
    long its stream waits until the next request comes."""

    index: int
    start: float
    tokens: int
    prompt: float
    after: float = 0.0
    reads: float = 0.0
    marks: list[float] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)  # the tokens of each
    left_at: float | None = None  # when its user left

    @property
    def written(self) -> int:
        return sum(self.chunks)


class _Server:
    """A server that makes one step after the other."""

    def __init__(
        self, random: np.random.Generator, noise: Noise | float, count: int, policy: Policy
    ) -> None:
        self._lengths = cycle(steps(random, 40 * count, noise).tolist())
        self._random, self._policy = random, policy
        self._waiting: deque[_Job] = deque()
        self._running: list[_Job] = []
        self.now = 0.0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    def come(self, job: _Job) -> None:
        job.reads = job.prompt
        self.now = max(self.now, job.start) if self.is_idle else self.now
        self._waiting.append(job)

    def step(self) -> list[_Job]:
        """Makes a step; the jobs that it ends."""
        read, came = self._read()
        apart = self._policy.piece is None and bool(came)
        writes = came if apart else [*self._running, *came]
        self.now += read + (0.0 if apart else next(self._lengths))
        for job in writes:
            job.marks.append(self.now)
            job.chunks.append(min(job.tokens - job.written, 1 + self._guessed()))
        every = [*self._running, *came]
        self._running = [job for job in every if job.written < job.tokens]
        while len(self._running) > 1 and self._used > self._policy.fits:
            job = self._running.pop()
            job.reads = job.prompt + AGAIN * job.written
            self._waiting.appendleft(job)
        return [job for job in every if job.written == job.tokens]

    @property
    def _used(self) -> int:
        return sum(job.written for job in self._running)

    def _read(self) -> tuple[float, list[_Job]]:
        """How long the step reads prompts, and those whose prompts are read then."""
        budget = math.inf if self._policy.piece is None else self._policy.piece
        read, came, used = 0.0, list[_Job](), float(self._used)
        while self._waiting and budget > 0 and (used < self._policy.fits or not self._running):
            job = self._waiting[0]
            part = min(budget, job.reads)
            job.reads, budget, read = job.reads - part, budget - part, read + part
            if job.reads > 0:
                break
            came.append(self._waiting.popleft())
            used += TOKENS / 2
            if self._policy.piece is None:
                break
        return read, came

    def _guessed(self) -> int:
        right = 0
        while right < GUESSES and self._random.random() < self._policy.accepted:
            right += 1
        return right

    def leave(self, patience: float) -> list[_Job]:
        """Drops the jobs whose users have waited for `patience`."""
        gone = [job for job in (*self._waiting, *self._running) if job.start + patience < self.now]
        for job in gone:
            job.left_at = job.start + patience
        self._waiting = deque(job for job in self._waiting if job.left_at is None)
        self._running = [job for job in self._running if job.left_at is None]
        return gone


def streams(
    requests: int,
    batch: int,
    noise: Noise | float,
    prompts: Prompts,
    policy: Policy = JOINT,
    *,
    way: float = 0.05,
    lengths: float = 0.0,
    patience: float = math.inf,
) -> Draw:
    """A closed loop as the journal sends it. `way`: from the end of an answer until the client's
    next request has come; `lengths`: the `length_spread` of its cell; `patience`: after which a
    user leaves."""

    def draw(random: np.random.Generator) -> Samples:
        load = _load(requests, patience, lengths)
        cell = replace(cell_of(load, batch=batch), seed=int(random.integers(2**31)))
        slots = sequence(cell)
        reads = prompts(random, len(slots)).tolist()
        jobs = [_Job(i, 0.0, slot.output_tokens, reads[i], way) for i, slot in enumerate(slots)]
        server = _Server(random, noise, len(slots), policy)
        _in_turn(server, jobs, [0.0] * batch, patience)
        return _told(jobs, cell, [i for i, slot in enumerate(slots) if slot.filler])

    return draw


def thinking(
    requests: int, users: int, think: float, noise: Noise | float, prompts: Prompts
) -> Draw:
    """Users who think for `think` steps after each answer, of lengths that differ."""

    def draw(random: np.random.Generator) -> Samples:
        reads = prompts(random, requests).tolist()
        drawn = TOKENS * np.exp(0.5 * random.standard_normal(requests) - 0.125)
        tokens = np.maximum(4, np.round(drawn)).astype(int).tolist()
        jobs = [_Job(i, 0.0, tokens[i], reads[i], think) for i in range(requests)]
        begins = [think * user / users for user in range(users)]
        _in_turn(_Server(random, noise, requests, JOINT), jobs, begins, math.inf)
        workload = Workload(turns=4, think_s=think * STEP_S)
        cell = cell_of(_load(requests, math.inf), batch=users)
        return _told(jobs, replace(cell, workload=workload))

    return draw


def _in_turn(
    server: _Server, jobs: Sequence[_Job], begins: Sequence[float], patience: float
) -> None:
    """Sends each of `jobs` when a stream is free for it; the streams begin at `begins`."""
    free, coming = sorted(begins), deque(jobs)
    while (coming and free) or not server.is_idle:
        while coming and free and (free[0] <= server.now or server.is_idle):
            job = coming.popleft()
            job.start = heapq.heappop(free)
            server.come(job)
        over = server.step()
        for job in (*over, *server.leave(patience)):
            end = server.now if job.left_at is None else job.left_at
            heapq.heappush(free, end + job.after)


def arrivals(
    requests: int,
    rate: float,
    noise: Noise | float,
    prompts: Prompts,
    policy: Policy = JOINT,
    *,
    patience: float = math.inf,
) -> Draw:
    """Poisson arrivals, `rate` in a step."""

    def draw(random: np.random.Generator) -> Samples:
        reads = prompts(random, requests).tolist()
        at = np.cumsum(random.exponential(1 / rate, requests)).tolist()
        jobs = [_Job(i, at[i], TOKENS, reads[i]) for i in range(requests)]
        server, coming = _Server(random, noise, requests, policy), deque(jobs)
        while coming or not server.is_idle:
            while coming and (coming[0].start <= server.now or server.is_idle):
                server.come(coming.popleft())
            server.step()
            server.leave(patience)
        return _told(jobs, cell_of(_load(requests, patience), rate=rate / STEP_S))

    return draw


def _load(requests: int, patience: float, lengths: float = 0.0) -> Load:
    leaves = None if math.isinf(patience) else patience * STEP_S
    return Load(requests=requests, warmup=0, length_spread=lengths, abandon_after_s=leaves)


def _told(jobs: Sequence[_Job], cell: Cell, fillers: Collection[int] = ()) -> Samples:
    """The samples of a run of `jobs`, in order of index."""
    answers = [(job.index, job.start, np.array(job.marks or [job.start])) for job in jobs]
    samples = samples_of(answers, cell, fillers=fillers)
    return replace(samples, traces=tuple(map(_trace, samples.traces, jobs)))


def _trace(trace: Trace, job: _Job) -> Trace:
    if job.left_at is None:
        asked = job.tokens
        chunks = tuple(job.chunks)
        return replace(trace, chunk_tokens=chunks, output_tokens=asked, output_tokens_asked=asked)
    end_s = job.left_at * STEP_S
    known = tuple(at_s for at_s in trace.chunk_s if at_s <= end_s)[: len(job.chunks)]
    return replace(
        trace,
        outcome="abandoned",
        end_s=end_s,
        chunk_s=known,
        chunk_tokens=tuple(job.chunks[: len(known)]),
        output_tokens=None,
        output_tokens_asked=job.tokens,
    )


def remembering(requests: int, batch: int, kept: float) -> Draw:
    """A closed loop in which the time to first token of a request is like that of the one before,
    with correlation `kept`; all else is each request's own."""

    def draw(random: np.random.Generator) -> Samples:
        normal, own = random.standard_normal((2, requests))
        fresh = (normal[1:] * math.sqrt(1 - kept**2)).tolist()
        noise = accumulate(fresh, lambda last, new: kept * last + new, initial=float(normal[0]))
        first = TOKENS / 4 * np.exp(0.3 * np.fromiter(noise, float, requests))
        begins, answers = [TOKENS * i / batch for i in range(batch)], []
        for index in range(requests):
            start = heapq.heappop(begins)
            marks = start + first[index] + np.arange(TOKENS) * (1 + 0.05 * own[index])
            heapq.heappush(begins, float(marks[-1]))
            answers.append((index, start, marks))
        return samples_of(answers, cell_of(Load(requests=requests), batch=batch))

    return draw
