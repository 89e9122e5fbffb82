"""Runs with known answers: a server and a client without a fault, to which tests add one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Load, Slo
from journal.records.request import ClientHealth, Trace
from journal.records.samples import (
    GpuReading,
    HostReading,
    ProcessReading,
    Readings,
    Samples,
    ServerReading,
)

HEALTHY = ClientHealth(
    loop_delay_p99_s=0.0004, loop_delay_max_s=0.001, send_delay_p99_s=0.0003, cpu_fraction=0.12
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run on a schedule: every request takes `ttft_s` and then `itl_s` per token, each chunk
    holds `per_chunk` tokens, and every time is multiplied by a random number near 1."""

    batch: int | None = 8
    rate: float | None = None
    requests: int = 24
    warmup: int = 2
    prompt_tokens: int = 64
    output_tokens: int = 32
    ttft_s: float = 0.05
    itl_s: float = 0.01
    per_chunk: int = 1
    told: bool = True
    noise: float = 0.0
    seed: int = 0
    period_s: float = 0.1
    gpu: bool = False
    slo: Slo | None = None

    def trace(self, index: int, at_s: float, factor: float, warmup: bool = False) -> Trace:
        counts = [self.per_chunk] * (self.output_tokens // self.per_chunk)
        if rest := self.output_tokens % self.per_chunk:
            counts.append(rest)
        after = np.cumsum([0, *counts[1:]]) * self.itl_s
        chunk_s = tuple(float(at_s + (self.ttft_s + gap) * factor) for gap in after)
        return Trace(
            index=index,
            warmup=warmup,
            scheduled_s=at_s,
            start_s=at_s,
            end_s=chunk_s[-1],
            outcome="ok",
            prompt_tokens_asked=self.prompt_tokens,
            output_tokens_asked=self.output_tokens,
            chunk_s=chunk_s,
            chunk_tokens=tuple(counts) if self.told else None,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=0,
            output_chars=4 * self.output_tokens,
            finish_reason="length",
            status=200,
        )

    def traces(self) -> list[Trace]:
        random = np.random.default_rng(self.seed)
        factors = np.exp(random.normal(0, self.noise, self.requests + self.warmup))
        warm = []
        free = 0.0
        for index in range(self.warmup):
            warm.append(self.trace(index, free, factors[index], warmup=True))
            free = warm[-1].end_s
        if self.rate is None:
            slots = [free] * (self.batch or 1)
        else:
            gaps = random.exponential(1 / self.rate, self.requests)
            slots = list(free + np.cumsum(gaps))
        measured = []
        for index in range(self.requests):
            slot = int(np.argmin(slots))
            trace = self.trace(self.warmup + index, slots[slot], factors[self.warmup + index])
            slots[slot] = trace.end_s if self.rate is None else np.inf
            measured.append(trace)
        return warm + measured

    def samples(self) -> Samples:
        traces = self.traces()
        times = np.arange(
            0, max(trace.end_s for trace in traces) + 2 * self.period_s, self.period_s
        )
        return Samples(
            cell=Cell(
                experiment="known",
                model="known",
                quantisation=None,
                engine=None,
                batch=self.batch if self.rate is None else None,
                rate=self.rate,
                prompt_tokens=self.prompt_tokens,
                output_tokens=self.output_tokens,
                load=Load(requests=self.requests, warmup=self.warmup),
                slo=self.slo,
            ),
            facts=EngineFacts(),
            traces=tuple(traces),
            readings=Readings(
                server=tuple(_server(float(at_s), traces) for at_s in times),
                process=tuple(
                    ProcessReading(at_s=float(at_s), rss_bytes=2**30, processes=3) for at_s in times
                ),
                gpu=tuple(_card(float(at_s)) for at_s in times) if self.gpu else (),
                host=tuple(_host(float(at_s)) for at_s in times),
            ),
            client=HEALTHY,
        )


def _server(at_s: float, traces: Sequence[Trace]) -> ServerReading:
    running = sum(trace.start_s <= at_s < trace.end_s for trace in traces)
    written = sum(
        tokens
        for trace in traces
        for stamp, tokens in zip(trace.chunk_s, trace.chunk_tokens or (), strict=False)
        if stamp <= at_s
    )
    return ServerReading(
        at_s=at_s,
        running=float(running),
        waiting=0.0,
        kv_cache_fraction=running / 100,
        preemptions_total=0.0,
        prefix_queries_total=0.0,
        prefix_hits_total=0.0,
        output_tokens_total=float(written) if traces[0].chunk_tokens is not None else None,
    )


def _card(at_s: float) -> GpuReading:
    return GpuReading(
        at_s=at_s,
        device=0,
        used_bytes=20 * 2**30,
        total_bytes=80 * 2**30,
        process_bytes=19 * 2**30,
        other_processes=0,
        utilisation_fraction=0.9,
        power_w=300.0,
        energy_j=1000.0 + 300.0 * at_s,
        sm_clock_hz=1.98e9,
        throttle_reasons=0,
    )


def _host(at_s: float) -> HostReading:
    return HostReading(
        at_s=at_s,
        cpus=8,
        busy_s=1000.0 + 3.0 * at_s,
        ours_s=100.0 + 2.8 * at_s,
        stolen_s=0.0,
        asleep_s=3600.0,
        swapped_bytes_total=2**30,
    )


def _edited(samples: Samples, edit: Callable[[Trace], Trace]) -> Samples:
    traces = (trace if trace.warmup else edit(trace) for trace in samples.traces)
    return replace(samples, traces=tuple(traces))


@pytest.fixture(scope="session")
def run() -> type[Run]:
    """The builder: `run(batch=8, ...).samples()`."""
    return Run


@pytest.fixture(scope="session")
def edited() -> Callable[[Samples, Callable[[Trace], Trace]], Samples]:
    """`edited(samples, edit)`: the samples with every measured trace edited."""
    return _edited
