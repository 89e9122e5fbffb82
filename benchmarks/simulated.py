"""Runs against the simulated engine in a time of its own: minutes of load pass in moments.

The client, the way to the server and the readings beside the load are simulated too, each with
what may be wrong with it. Tokens, queue, KV pool and times are the engine's own.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Load
from journal.records.request import ClientHealth, Trace
from journal.records.samples import GpuReading, HostReading, Readings, Samples, ServerReading
from journal.records.workload import Workload
from journal.simulator.engine_model import Job, Script, SimulatedEngine, Timer

PERIOD_S = 0.1  # of readings


class _Call:
    """A call that is still to come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualLoop:
    """An event loop whose time, `now_s`, goes from call to call."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        call = _Call(callback)
        heapq.heappush(self._calls, (self.now_s + delay, next(self._order), call))
        return call

    def run(self, until: Callable[[], bool]) -> None:
        """Make the calls in their order until `until` holds or none is left."""
        while self._calls and not until():
            self.now_s, _, call = heapq.heappop(self._calls)
            if call.callback is not None:
                call.callback()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A simulated run. `way_s` is the time to the server and back, `let_through` the requests that
    a proxy passes on at once, `chunk_s` the time that the client takes for a chunk, of which it
    reads one at a time; `tells` is whether the server gives /metrics and the times of each
    request."""

    script: Script = field(default_factory=Script)
    batch: int = 8
    requests: int = 64
    warmup: int = 2
    prompt_tokens: int = 64
    output_tokens: int = 32
    shared_prefix: int = 0
    way_s: float = 0.0
    let_through: int | None = None
    chunk_s: float = 0.0
    tells: bool = True
    gpu_use: bool = False
    others_busy: float = 0.0  # of the host's processors
    facts: EngineFacts = field(default_factory=EngineFacts)
    engine: Engine | None = None
    seed: int = 0

    def cell(self) -> Cell:
        return Cell(
            experiment="simulated",
            model="simulated",
            quantisation=None,
            engine=self.engine,
            batch=self.batch,
            rate=None,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            load=Load(requests=self.requests, warmup=self.warmup),
            workload=Workload(shared_prefix=self.shared_prefix),
        )


class _Run:
    """One run while it goes on."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.loop = VirtualLoop()
        script = replace(setting.script, noise_seed=setting.script.noise_seed + setting.seed)
        self.engine = SimulatedEngine(script, self.loop, self.loop.time)
        self.traces: list[Trace] = []
        self.readings: list[ServerReading] = []
        self.next = itertools.count()
        self.held: list[Callable[[], None]] = []  # by the proxy
        self.on_way = 0
        self.reads_until_s = self.reading_s = 0.0
        self.late_s: list[float] = []
        self.stopped = False

    def samples(self) -> Samples:
        setting, loop = self.setting, self.loop
        self._read()
        for _ in range(setting.warmup):
            count = len(self.traces) + 1
            self._send(warmup=True, then=lambda: None)
            loop.run(lambda count=count: len(self.traces) >= count)  # type: ignore[misc]
        began_s = loop.now_s
        for stream in range(setting.batch):
            wait_s = stream * setting.script.itl_s * setting.output_tokens / setting.batch
            loop.call_later(wait_s, self._stream)
        total = setting.requests + setting.warmup
        loop.run(lambda: sum(not trace.warmup for trace in self.traces) >= total - setting.warmup)
        self.stopped = True
        loop.run(lambda: self.on_way == 0)
        traces = sorted(self.traces, key=lambda trace: trace.index)
        share = self.reading_s / max(loop.now_s - began_s, 1e-9)
        late_s = sorted(self.late_s)[int(0.99 * len(self.late_s))]
        return Samples(
            cell=setting.cell(),
            facts=setting.facts,
            traces=tuple(traces),
            readings=Readings(
                server=tuple(self.readings) if setting.tells else (),
                gpu=tuple(map(self._gpu, self.readings)) if setting.gpu_use else (),
                host=tuple(map(self._host, self.readings)),
            ),
            client=ClientHealth(
                loop_delay_p99_s=late_s, send_delay_p99_s=late_s, cpu_fraction=min(1.0, share)
            ),
        )

    def _stream(self) -> None:
        if not self.stopped:
            self._send(warmup=False, then=self._stream)

    def _send(self, *, warmup: bool, then: Callable[[], None]) -> None:
        setting, index = self.setting, next(self.next)
        sent_s = self.loop.now_s
        chunk_s: list[float] = []
        shared = setting.shared_prefix
        prompt = (*range(shared), *(-index - 1,) * (setting.prompt_tokens - shared))
        measured = not warmup and index < setting.requests + setting.warmup

        def on_tokens(first: int, count: int) -> None:
            at_s = self.loop.now_s + setting.way_s / 2
            begins_s = max(at_s, self.reads_until_s)
            self.reads_until_s = begins_s + setting.chunk_s
            self.reading_s += setting.chunk_s
            self.late_s.append(self.reads_until_s - at_s)
            chunk_s.append(self.reads_until_s)
            if first + count >= setting.output_tokens:
                self.loop.call_later(max(0.0, chunk_s[-1] - self.loop.now_s), over)

        def over() -> None:
            self.on_way -= 1
            self.traces.append(self._trace(index, not measured, sent_s, chunk_s, job))
            if self.held:
                self.held.pop(0)()
            then()

        job = Job(prompt, setting.output_tokens, on_tokens)
        self.on_way += 1
        passed = setting.let_through is None or self.on_way <= setting.let_through
        go = lambda: self.loop.call_later(  # noqa: E731
            setting.way_s / 2, lambda: self.engine.submit(job)
        )
        if passed:
            go()
        else:
            self.held.append(go)

    def _trace(
        self, index: int, unmeasured: bool, sent_s: float, chunk_s: list[float], job: Job
    ) -> Trace:
        setting = self.setting
        tells = setting.tells
        return Trace(
            index=index,
            warmup=unmeasured,
            scheduled_s=sent_s,
            start_s=sent_s,
            end_s=chunk_s[-1],
            outcome="ok",
            prompt_tokens_asked=setting.prompt_tokens,
            output_tokens_asked=setting.output_tokens,
            chunk_s=tuple(chunk_s),
            chunk_tokens=(1,) * len(chunk_s),
            prompt_tokens=setting.prompt_tokens,
            output_tokens=setting.output_tokens,
            cached_tokens=job.cached_tokens,
            server_queue_s=job.scheduled_at - job.queued_at if tells else None,
            server_prefill_s=job.first_at - job.scheduled_at if tells else None,
            server_decode_s=job.last_at - job.first_at if tells else None,
        )

    def _read(self) -> None:
        engine, script = self.engine, self.setting.script
        self.readings.append(
            ServerReading(
                at_s=self.loop.now_s,
                running=float(len(engine.running)),
                waiting=float(len(engine.waiting)),
                kv_cache_fraction=min(1.0, engine.blocks_used / script.kv_blocks),
                preemptions_total=float(engine.preemptions),
                prefix_queries_total=float(engine.prefix_queries),
                prefix_hits_total=float(engine.prefix_hits),
                prompt_tokens_total=float(engine.prompt_tokens),
                output_tokens_total=float(engine.output_tokens),
            )
        )
        if not (self.stopped and self.on_way == 0):
            self.loop.call_later(PERIOD_S, self._read)

    def _gpu(self, reading: ServerReading) -> GpuReading:
        """The GPU, which works while requests run but for the part of its host."""
        script = self.setting.script
        work_s = script.itl_s + script.itl_s_per_running * max(0.0, (reading.running or 0) - 1)
        share = work_s / (work_s + script.host_s) if reading.running else 0.0
        return GpuReading(at_s=reading.at_s, device=0, utilisation_fraction=share)

    def _host(self, reading: ServerReading) -> HostReading:
        ours = 1.0
        busy = ours + 16 * self.setting.others_busy
        at_s = reading.at_s
        return HostReading(at_s=at_s, cpus=16, busy_s=busy * at_s, ours_s=ours * at_s, stolen_s=0.0)


def simulated(setting: Setting) -> Samples:
    """The samples of one run."""
    return _Run(setting).samples()
