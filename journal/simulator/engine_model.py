"""A simulated engine: it gives tokens on an exactly known schedule and computes nothing.

Times inside are the engine's own: monotonic seconds without a scripted stall, so that every token
that is due during the stall comes after it, as late as the stall was long.
"""

import heapq
import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from journal.simulator.prometheus import Timings

Fault = Literal[
    "status",  # answers with `error_status`
    "redirect",  # answers with a redirect to another host
    "error_in_stream",  # HTTP 200, then an error object in mid-stream, then [DONE]
    "cut",  # the connection is cut in mid-stream
    "stalled",  # silence from mid-stream on
    "garbage",  # an event that is not JSON in mid-stream, then usage and [DONE]
    "not_http",  # bytes that are not HTTP
    "abort",  # ends in mid-stream with finish reason abort, usage and [DONE]
    "short",  # ends in mid-stream with finish reason stop, usage and [DONE]
    "no_tokens",  # usage and [DONE], but not one token
    "no_finish",  # no finish reason
    "no_usage",  # no usage although the request wants it
    "no_done",  # no [DONE]
]
Quirk = Literal[
    "empty_first",  # a first chunk without text, at once
    "content_length",  # Content-Length in place of chunked encoding
    "until_close",  # neither: the end of the connection ends the body
    "gzip",  # a compressed body, whether the client accepts it or not
    "continue",  # an interim 100 Continue before the answer
    "crlf",  # SSE lines that end in CR LF, with comments between them
    "no_keep_alive",  # each connection is closed after its answer
]


LEAST_STEP = 0.05  # of a step without noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The script of a simulated server. Token `k` of a stream (from 0) is due at
    `ttft_s + prefill_s_per_token * prompt_tokens + k * itl_s` after the request began to run,
    where `itl_s` grows by `itl_s_per_running` for every other running request; tokens leave
    `tokens_per_chunk` at a time, when the first of them is due. With `prefill_blocks` no other
    token is made while a prompt is read, as in an engine that does both in one step. At most
    `max_running` requests run at once, and only while their KV blocks fit; the others wait. From
    `stall_at_s` after the first request the engine stands still for `stall_s`. All steps that begin
    within the same `noise_s` (None: `itl_s`) share a relative noise whose standard deviation is
    `noise_fraction`, drawn with `noise_seed`. `gpus` share the work of prompts and tokens, and each
    further one adds `exchange_s` to a token; `host_s` is the part of a token's time in which the
    GPU waits for its host. The first `cold_requests` prompts take `cold_s` more. Every
    `fault_every`-th request meets `fault`; quirks
    are unusual but correct ways to answer. The names at /metrics are those of vLLM 0.32 behind
    `metric_prefix`.
    """

    model: str = "simulated-model"
    ttft_s: float = 0.05
    itl_s: float = 0.01
    tokens_per_chunk: int = 1
    prefill_s_per_token: float = 0.0
    prefill_blocks: bool = False
    itl_s_per_running: float = 0.0
    max_running: int = 4096
    max_model_len: int = 32768
    block_size: int = 16
    kv_blocks: int = 65536
    prefix_caching: bool = False
    stall_at_s: float | None = None
    stall_s: float = 0.0
    noise_fraction: float = 0.0
    noise_s: float | None = None
    noise_seed: int = 0
    gpus: int = 1
    exchange_s: float = 0.0
    host_s: float = 0.0
    cold_requests: int = 0
    cold_s: float = 0.0
    chat_overhead_tokens: int = 5
    fault: Fault | None = None
    fault_every: int = 1
    error_status: int = 500
    quirks: tuple[Quirk, ...] = ()
    api_key: str | None = None
    metrics: bool = True
    version: bool = True
    completions: bool = True
    token_prompts: bool = True
    per_request_metrics: bool = False
    metric_prefix: str = "vllm:"


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None: ...


class Loop(Protocol):
    """What the engine needs of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer: ...


@dataclass(slots=True, eq=False)
class Job:
    """One request inside the engine. `on_tokens(first, count)` is called for every chunk; `first`
    is the number of tokens before it."""

    prompt: tuple[int | str, ...]
    output_tokens: int
    on_tokens: Callable[[int, int], None]
    made: int = 0
    cached_tokens: int = 0
    blocks: int = 0
    gone: bool = False
    queued_at: float = 0.0
    scheduled_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    due: float = field(default=math.inf)


class SimulatedEngine:
    """The engine of one script. `clock` gives the time in s by which `loop` calls: another than
    the real one makes a run of minutes take moments."""

    def __init__(
        self, script: Script, loop: Loop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.script = script
        self.running: dict[Job, None] = {}  # in the order in which they began to run
        self.waiting: deque[Job] = deque()
        self.asked = 0  # requests for tokens so far, the faulty ones too
        self.blocks_used = 0
        self.preemptions = self.prompt_tokens = self.output_tokens = 0
        self.prefix_queries = self.prefix_hits = 0
        self.timings = Timings()
        self._prefixes: set[int] = set()
        self._loop = loop
        self._due: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._timer: Timer | None = None
        self._clock = clock
        self._read = 0  # prompts so far
        self._began: float | None = None
        self._read_until = 0.0  # when the prompts that block are read

    def submit(self, job: Job) -> None:
        if self._began is None:
            self._began = self._clock()
        job.queued_at = self._now()
        self.waiting.append(job)
        self._admit()

    def cancel(self, job: Job) -> None:
        """Drop a job, as when its client has gone."""
        if job.gone:
            return
        job.gone = True
        self.timings.finished["abort"] += 1
        if job in self.running:
            self._release(job)
            self._admit()
        else:
            self.waiting.remove(job)

    def _stall(self) -> tuple[float, float]:
        if self.script.stall_at_s is None or self._began is None:
            return math.inf, 0.0
        return self._began + self.script.stall_at_s, self.script.stall_s

    def _now(self) -> float:
        at, length = self._stall()
        wall = self._clock()
        return wall if wall < at else max(at, wall - length)

    def _wall(self, engine_time: float) -> float:
        at, length = self._stall()
        return engine_time if engine_time < at else engine_time + length

    def _blocks_for(self, job: Job, more: int = 0) -> int:
        return math.ceil((len(job.prompt) + job.made + more) / self.script.block_size)

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.script.max_running:
            job = self.waiting[0]
            needed = self._blocks_for(job, more=1)
            if self.running and self.blocks_used + needed > self.script.kv_blocks:
                break
            self.waiting.popleft()
            self.running[job] = None
            job.blocks = needed
            self.blocks_used += needed
            self._prefill(job)
        self._arm()

    def _prefill(self, job: Job) -> None:
        now = self._now()
        if job.scheduled_at == 0.0:
            job.scheduled_at = now
            self.prompt_tokens += len(job.prompt)
            job.cached_tokens = self._cached(job.prompt)
        new_tokens = len(job.prompt) + job.made - job.cached_tokens
        prefill_s = self.script.prefill_s_per_token * new_tokens / self.script.gpus
        self._read += 1
        if self._read <= self.script.cold_requests:
            prefill_s += self.script.cold_s
        begins = now
        if self.script.prefill_blocks:
            self._delay(prefill_s)
            begins = max(now, self._read_until)
            self._read_until = begins + prefill_s
        job.due = begins + self.script.ttft_s + prefill_s
        heapq.heappush(self._due, (job.due, next(self._order), job))

    def _delay(self, delay_s: float) -> None:
        """Put off every token that is due by `delay_s`."""
        for _, _, job in self._due:
            job.due += delay_s
        self._due = [(due + delay_s, order, job) for due, order, job in self._due]

    def _cached(self, prompt: tuple[int | str, ...]) -> int:
        """The number of tokens of `prompt` in whole blocks that an earlier prompt began with."""
        if not self.script.prefix_caching:
            return 0
        size = self.script.block_size
        keys = [0]
        for end in range(size, len(prompt), size):
            keys.append(hash((keys[-1], prompt[end - size : end])))
        del keys[0]
        hits = size * len(list(itertools.takewhile(self._prefixes.__contains__, keys)))
        self._prefixes.update(keys)
        self.prefix_queries += len(prompt)
        self.prefix_hits += hits
        return hits

    def _arm(self) -> None:
        """Set the one timer to the next token. Loop timers count in ms: never fire too early."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = self._wall(self._due[0][0]) - self._clock()
            self._timer = self._loop.call_later(max(0.0, math.ceil(delay * 1e3) / 1e3), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._now()
        while self._due and self._due[0][0] <= now:
            due, _, job = heapq.heappop(self._due)
            if not job.gone and job in self.running and due == job.due:
                self._step(job, due)
        self._admit()

    def _step(self, job: Job, due: float) -> None:
        count = min(self.script.tokens_per_chunk, job.output_tokens - job.made)
        self._make_room(job, count)
        first = job.made
        job.made += count
        self.output_tokens += count
        before, job.last_at = job.last_at, due
        if first == 0:
            job.first_at = due
        self.timings.tokens(job, before, count)
        if job.made >= job.output_tokens:
            job.gone = True
            self.timings.finish(job, "length")
            self._release(job)
        else:
            pace = self._pace_s()
            job.due = due + pace * self.script.tokens_per_chunk * self._slowness(due)
            heapq.heappush(self._due, (job.due, next(self._order), job))
        job.on_tokens(first, count)

    def _pace_s(self) -> float:
        """The time of a step in s, for the requests that run now."""
        script = self.script
        work_s = script.itl_s + script.itl_s_per_running * (len(self.running) - 1)
        return work_s / script.gpus + script.exchange_s * (script.gpus - 1) + script.host_s

    def _slowness(self, due: float) -> float:
        """The factor on a step that begins at `due`, the same for all jobs."""
        script = self.script
        if script.noise_fraction == 0 or self._began is None:
            return 1.0
        each_s = script.itl_s if script.noise_s is None else script.noise_s
        stretch = math.floor((due - self._began) / each_s)
        chance = random.Random(f"{script.noise_seed} {stretch}")
        return max(LEAST_STEP, 1 + script.noise_fraction * chance.gauss())

    def _make_room(self, job: Job, count: int) -> None:
        """Grow the job's KV blocks; where they do not fit, preempt the youngest other jobs."""
        needed = self._blocks_for(job, more=count)
        while self.blocks_used + needed - job.blocks > self.script.kv_blocks:
            youngest = next((other for other in reversed(self.running) if other is not job), None)
            if youngest is None:
                break
            self._release(youngest)
            self.waiting.appendleft(youngest)
            self.preemptions += 1
        self.blocks_used += needed - job.blocks
        job.blocks = needed

    def _release(self, job: Job) -> None:
        del self.running[job]
        self.blocks_used -= job.blocks
        job.blocks = 0
