"""Readings taken beside a load, and everything raw about one run."""

from dataclasses import dataclass

from journal.records.cell import Cell
from journal.records.doubt import Values
from journal.records.engine import EngineFacts
from journal.records.request import ClientHealth, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One look at one card through NVML. `process_bytes` is the server's process tree's share."""

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
    """One scrape of the server's /metrics. Names ending in `_total` are counters."""

    at_s: float
    running: float | None = None
    waiting: float | None = None
    kv_cache_fraction: float | None = None
    preemptions_total: float | None = None
    prefix_queries_total: float | None = None
    prefix_hits_total: float | None = None
    prompt_tokens_total: float | None = None
    output_tokens_total: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """The server's process tree on this host: resident memory (summed) and CPU time used."""

    at_s: float
    rss_bytes: int
    processes: int
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """This host, where the client runs. `busy_s` is the time that all programs together have used
    on the `cpus` that this one may use, `ours_s` the part of this program and of the server that
    it measures (None where that cannot be seen), `stolen_s` what a hypervisor took; `asleep_s` is
    the time that the host was suspended. All count since some moment before the run."""

    at_s: float
    cpus: int
    busy_s: float | None = None
    ours_s: float | None = None
    stolen_s: float | None = None
    asleep_s: float | None = None
    swapped_bytes_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All that was read beside the load. `absent` says what could not be, by the
    values of a doubt "absent" each."""

    gpu: tuple[GpuReading, ...] = ()
    server: tuple[ServerReading, ...] = ()
    process: tuple[ProcessReading, ...] = ()
    absent: tuple[Values, ...] = ()
    host: tuple[HostReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Everything raw about one run of one cell. Its warm-up traces are kept, and marked."""

    cell: Cell
    facts: EngineFacts
    traces: tuple[Trace, ...]
    readings: Readings
    client: ClientHealth
