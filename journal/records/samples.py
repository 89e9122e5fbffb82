"""Readings taken beside a load, and the raw samples of one run."""

from dataclasses import dataclass

from journal.records.cell import Cell
from journal.records.doubt import Values
from journal.records.engine import EngineFacts
from journal.records.request import ClientHealth, Trace

IMPORTED = "imported"  # among the absent readings: another tool measured the run


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One reading of one GPU through NVML. `process_bytes` is the memory of the server's process
    tree on it, `throttle_reasons` NVML's bits of clocks event reasons. None: not known."""

    at_s: float
    device: int
    used_bytes: int | None = None
    total_bytes: int | None = None
    process_bytes: int | None = None
    other_processes: int | None = None
    utilisation_fraction: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    throttle_reasons: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReading:
    """One scrape of the server's /metrics. Fields that end in `_total` are counters, the others
    gauges. `accepted_at_N_total` counts the drafts of which the N-th token, from 1, was
    accepted."""

    at_s: float
    running: float | None = None
    waiting: float | None = None
    kv_cache_fraction: float | None = None
    preemptions_total: float | None = None
    prefix_queries_total: float | None = None
    prefix_hits_total: float | None = None
    prompt_tokens_total: float | None = None
    output_tokens_total: float | None = None
    drafts_total: float | None = None
    draft_tokens_total: float | None = None
    accepted_tokens_total: float | None = None
    accepted_at_1_total: float | None = None
    accepted_at_2_total: float | None = None
    accepted_at_3_total: float | None = None
    accepted_at_4_total: float | None = None
    accepted_at_5_total: float | None = None
    accepted_at_6_total: float | None = None
    accepted_at_7_total: float | None = None
    accepted_at_8_total: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """One reading of the server's process tree on this host: resident memory and CPU time, both
    summed over its `processes`."""

    at_s: float
    rss_bytes: int
    processes: int
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """One reading of this host, where the client runs. `busy_s` is the time that all programs
    together have used on the `cpus` that this one may use, `ours_s` the part of this program and
    of the server that it measures, `stolen_s` the time that a hypervisor took; `asleep_s` is the
    time that the host was suspended. All count since some moment before the run. None: not
    known."""

    at_s: float
    cpus: int
    busy_s: float | None = None
    ours_s: float | None = None
    stolen_s: float | None = None
    asleep_s: float | None = None
    swapped_bytes_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All readings beside a load. `absent` lists those that could not be taken, each as the values
    of a doubt "absent"."""

    gpu: tuple[GpuReading, ...] = ()
    server: tuple[ServerReading, ...] = ()
    process: tuple[ProcessReading, ...] = ()
    absent: tuple[Values, ...] = ()
    host: tuple[HostReading, ...] = ()

    @property
    def imported(self) -> bool:
        """Whether the run was measured by another tool, whose file was imported."""
        return any(values.get("variant") == IMPORTED for values in self.absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The raw samples of one run of one cell, warm-up traces included and marked."""

    cell: Cell
    facts: EngineFacts
    traces: tuple[Trace, ...]
    readings: Readings
    client: ClientHealth
