"""Records that tests are made of: cells, runs, requests and samples, whole and alike everywhere.

Each builder gives what most tests do not care about, and takes what one does: `a_cell(batch=8)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from journal.plan.sequence import Slot, sequence
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load, Slo
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import (
    GpuReading,
    HostReading,
    ProcessReading,
    Readings,
    Samples,
    ServerReading,
)
from journal.report.day import Day

BEGAN = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
HOST = {
    "host": "bench",
    "os": "Debian GNU/Linux 13",
    "cpu": "AMD EPYC 9354",
    "cpu_threads_usable": 16,
    "memory_bytes": 128 * 2**30,
    "gpus": 1,
    "gpu_driver": "580.65",
    "gpu_0_name": "NVIDIA L40S",
    "gpu_0_total_bytes": 48 * 2**30,
}


def a_cell(**changes: object) -> Cell:
    """One request of 64 + 32 tokens at a time, on an engine of our own."""
    model = changes.get("model", "m")
    given = {
        "experiment": "first",
        "model": model,
        "quantisation": None,
        "engine": Engine(model=model, max_model_len=4096),  # type: ignore[arg-type]
        "batch": 1,
        "rate": None,
        "prompt_tokens": 64,
        "output_tokens": 32,
        "load": Load(requests=24),
    }
    return Cell(**{**given, **changes})  # type: ignore[arg-type]


def a_trace(index: int = 0, **changes: object) -> Trace:
    """A request that went at 0 s and was answered in full, in one chunk at 0.5 s."""
    given = {
        "warmup": False,
        "scheduled_s": 0.0,
        "start_s": 0.0,
        "end_s": 1.0,
        "outcome": "ok",
        "prompt_tokens_asked": 4,
        "output_tokens_asked": 4,
        "chunk_s": (0.5,),
    }
    return Trace(index=index, **{**given, **changes})  # type: ignore[arg-type]


def samples_of(cell: Cell, *traces: Trace, **changes: object) -> Samples:
    """Requests alone: nothing was read beside them."""
    given = {"facts": EngineFacts(), "readings": Readings(), "client": ClientHealth()}
    return Samples(cell=cell, traces=traces, **{**given, **changes})  # type: ignore[arg-type]


def a_record(
    model: str = "m",
    batch: int | None = 1,
    prompt_tokens: int = 64,
    *,
    number: int = 0,
    metrics: dict[str, float | Figure] | None = None,
    **changes: object,
) -> Record:
    """One run; `changes` go to the record, or to its cell where it has such a field."""
    cell = a_cell(model=model, batch=batch, prompt_tokens=prompt_tokens)
    of_cell = {name: value for name, value in changes.items() if name in Cell.__slots__}
    of_record = {name: value for name, value in changes.items() if name not in Cell.__slots__}
    figures = {
        name: value if isinstance(value, Figure) else Figure(float(value))
        for name, value in (metrics or {}).items()
    }
    given = {
        "id": f"{number:016x}",
        "experiment_id": "e1",
        "status": "valid",
        "started_at": BEGAN + timedelta(minutes=number),
        "duration_s": 30.0,
        "metrics": figures,
        "facts": EngineFacts(version="0.32.0"),
        "environment": HOST,
    }
    return Record(cell=replace(cell, **of_cell), **{**given, **of_record})  # type: ignore[arg-type]


def an_experiment(number: int = 1, **changes: object) -> ExperimentRecord:
    given = {"name": "first", "question": "", "hypothesis": "", **changes}
    return ExperimentRecord(
        id=f"e{number}",
        experiment=Experiment(**given),  # type: ignore[arg-type]
        started_at=BEGAN + timedelta(minutes=number - 1),
        status="done",
        ended_at=BEGAN + timedelta(hours=1),
        environment=HOST,
    )


def a_day(records: Sequence[Record], *experiments: ExperimentRecord) -> Day:
    return Day(
        date=date(2026, 11, 20),
        zone=UTC,
        records=tuple(records),
        experiments=experiments or (an_experiment(),),
    )


# ---- samples whose every time is known -----------------------------------------------------------

HEALTHY = ClientHealth(
    loop_delay_p99_s=0.0004, loop_delay_max_s=0.001, send_delay_p99_s=0.0003, cpu_fraction=0.12
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run on a schedule: every request takes `ttft_s` and then `itl_s` per token, each chunk
    holds `per_chunk` tokens (with its count where `counted`), and every time is multiplied by a
    random number near 1."""

    batch: int | None = 8
    rate: float | None = None
    requests: int = 24
    warmup: int = 2
    prompt_tokens: int = 64
    output_tokens: int = 32
    ttft_s: float = 0.05
    itl_s: float = 0.01
    per_chunk: int = 1
    counted: bool = True
    noise: float = 0.0
    seed: int = 0
    period_s: float = 0.1
    gpu: bool = False
    slo: Slo | None = None
    convoy: bool = True
    length_spread: float = 0.0

    def trace(
        self,
        index: int,
        at_s: float,
        factor: float,
        slot: Slot | None = None,
        warmup: bool = False,
    ) -> Trace:
        slot = slot or Slot(prompt_tokens=self.prompt_tokens, output_tokens=self.output_tokens)
        counts = [self.per_chunk] * (slot.output_tokens // self.per_chunk)
        if rest := slot.output_tokens % self.per_chunk:
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
            prompt_tokens_asked=slot.prompt_tokens,
            output_tokens_asked=slot.output_tokens,
            chunk_s=chunk_s,
            chunk_tokens=tuple(counts) if self.counted else None,
            prompt_tokens=slot.prompt_tokens,
            output_tokens=slot.output_tokens,
            cached_tokens=0,
            output_chars=4 * slot.output_tokens,
            finish_reason="length",
            status=200,
        )

    def traces(self) -> list[Trace]:
        random = np.random.default_rng(self.seed)
        slots = sequence(self.cell())
        factors = np.exp(random.normal(0, self.noise, len(slots)))
        warm = []
        free = 0.0
        for index in range(self.warmup):
            warm.append(self.trace(index, free, factors[index], slots[index], warmup=True))
            free = warm[-1].end_s
        if self.rate is None:
            lanes = [free] * (self.batch or 1)
        else:
            came = np.cumsum(random.exponential(1.0, self.requests))
            lasts_s = (self.requests - 1) / self.rate
            lanes = list(free + lasts_s * (came - came[0]) / max(came[-1] - came[0], 1e-9))
        sent = []
        for index, slot in list(enumerate(slots))[self.warmup :]:
            lane = int(np.argmin(lanes))
            begins_s = lanes[lane] + slot.phase * self.ttft_s
            trace = self.trace(index, begins_s, factors[index], slot, warmup=slot.filler)
            lanes[lane] = trace.end_s if self.rate is None else np.inf
            sent.append(trace)
        return warm + sent

    def cell(self) -> Cell:
        return Cell(
            experiment="known",
            model="known",
            quantisation=None,
            engine=None,
            batch=self.batch if self.rate is None else None,
            rate=self.rate,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            load=Load(
                requests=self.requests,
                warmup=self.warmup,
                convoy=self.convoy,
                length_spread=self.length_spread,
            ),
            slo=self.slo,
        )

    def samples(self) -> Samples:
        traces = self.traces()
        times = np.arange(
            0, max(trace.end_s for trace in traces) + 2 * self.period_s, self.period_s
        )
        return Samples(
            cell=self.cell(),
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


def edited(samples: Samples, edit: Callable[[Trace], Trace]) -> Samples:
    traces = (trace if trace.warmup else edit(trace) for trace in samples.traces)
    return replace(samples, traces=tuple(traces))
