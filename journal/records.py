"""The record types that flow between the rooms, in the order in which they are made:

    Experiment -> Cell -> Endpoint -> Request -> Trace + readings -> Samples
               -> Figure (metrics) -> Doubt -> Record

Each is made by one room and never edited after. Units are in the names: `_s` seconds, `_bytes`
bytes, `_fraction` 0 to 1. Times named `at_s`, `start_s` and so on are seconds on the monotonic
clock since the origin of their run; only `started_at` says when, in UTC. Absent is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from journal.by_hand import Check as Check
from journal.by_hand import Checkup as Checkup
from journal.by_hand import Interaction as Interaction
from journal.by_hand import Note as Note
from journal.events import Event as Event
from journal.events import Listener as Listener
from journal.events import ignore as ignore
from journal.facts import CardRates
from journal.facts import EngineFacts as EngineFacts

Status = Literal["valid", "flagged", "invalid", "failed", "interrupted"]
Outcome = Literal["ok", "short", "error"]
Severity = Literal["note", "flag", "invalid"]
# Limits that plan/spec.py enforces when it parses a file.
Name = Annotated[str, MinLen(1)]
Count = Annotated[int, Gt(0)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
FORBID_EXTRA = {"extra": "forbid"}  # read by pydantic where plan/spec.py parses a file

# ---- plan ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How one vLLM server is started. Cells whose engines are equal share one start. `executor` is
    what runs its parts: on several hosts that is ray."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    model: Name
    revision: str | None = None
    quantisation: str | None = None
    dtype: str = "auto"
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    executor: Literal["mp", "ray"] | None = None
    max_model_len: Count | None = None
    gpu_memory_utilization: Positive | None = None
    kv_cache_memory_bytes: Count | None = None
    prefix_caching: bool = False
    trust_remote_code: bool = False
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    start_timeout_s: Positive = 900.0

    @property
    def cards(self) -> int:
        """How many cards (or, on the CPU, processes) share the model."""
        return self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The axes of an experiment; its cells are their product. `rate` empty means closed loop."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    batch: Counts = (1,)
    prompt_tokens: Counts = (128,)
    output_tokens: Counts = (64,)
    rate: tuple[Positive, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How each cell is driven. `burstiness` is the gamma shape of open-loop arrivals: 1 is
    Poisson, above 1 is smoother, 0 is a constant interval. `processes` None lets the load room
    choose. `interleave` takes the engines in turn at every repeat."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    requests: Count = 24
    warmup: Natural = 2
    repeats: Count = 1
    seed: Natural = 0
    burstiness: Annotated[float, Ge(0)] = 1.0
    timeout_s: Positive = 600.0
    processes: Count | None = None
    max_error_rate: Annotated[float, Ge(0), Le(1)] = 0.5
    interleave: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """A request is good when it holds every limit given, a load when `good_fraction` of it is."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    ttft_ms: Positive | None = None
    tpot_ms: Positive | None = None
    e2e_ms: Positive | None = None
    good_fraction: Annotated[float, Gt(0), Lt(1)] = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is asked and how it is tried. `engines` is empty when an endpoint is already there.
    `find_capacity` puts a search for the highest load that holds the SLO in place of the grid's,
    `needed_vram` adds one for each cell's least KV pool, `quality_check` a test of the model."""

    name: Name
    question: str = ""
    hypothesis: str = ""
    engines: tuple[Engine, ...] = ()
    grid: Grid = field(default_factory=Grid)
    load: Load = field(default_factory=Load)
    slo: Slo | None = None
    predict: Mapping[str, float] = field(default_factory=dict)
    usd_per_hour: Positive | None = None
    card_rates: CardRates | None = None
    source: str = ""
    find_capacity: Literal["rate", "concurrency"] | None = None
    needed_vram: bool = False
    quality_check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the grid, tried once. `batch` is the requests in flight (None in open loop);
    `rate` is the offered requests/s (None in closed loop). `identity` is a hash of all that
    defines the cell, the repeat included; equal identities are the same measurement."""

    experiment: str
    model: str
    quantisation: str | None
    engine: Engine | None
    batch: int | None
    rate: float | None
    prompt_tokens: int
    output_tokens: int
    load: Load
    slo: Slo | None = None
    repeat: int = 0
    seed: int = 0
    identity: str = ""


# ---- serve -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server that answers. `base_url` ends with /v1. `vocabulary` is the half-open range of
    token ids that prompts may be drawn from. `extensions` is whether vLLM's own request fields
    (ignore_eos, continuous_usage_stats) are taken. `pid` is the root of the server's process tree
    when that runs on this host, `gpus` the NVML indices of its cards. `absent` says in a sentence
    each what this server does not offer."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    api: Literal["completions", "chat"] = "completions"
    prompt_form: Literal["token_ids", "text"] = "token_ids"
    vocabulary: tuple[int, int] = (1000, 30000)
    tokens_per_word: float | None = None
    overhead_tokens: int = 0
    extensions: bool = True
    max_model_len: int | None = None
    has_metrics: bool = False
    pid: int | None = None
    gpus: tuple[int, ...] = ()
    facts: EngineFacts = field(default_factory=EngineFacts)
    absent: tuple[str, ...] = ()


# ---- load ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to be sent. `due_s` is when it is meant to go, from the start of the
    measured load (None in closed loop: as soon as a place is free)."""

    index: int
    body: bytes
    prompt_tokens: int
    output_tokens: int
    warmup: bool = False
    due_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one request met, as seen by the client. Frozen and stored: every metric can be
    computed again from it.
    `scheduled_s` is when it was meant to go (equal to `start_s` in closed loop), `start_s` when
    it was sent, `end_s` when the answer was complete. `chunk_s` holds the time of every chunk
    with content (a role-only delta is none), and `chunk_tokens`, where the server tells, the
    tokens in each. `prompt_tokens` and `output_tokens` are the server's usage; `*_asked` ours.
    `server_queue_s`, `server_prefill_s`, `server_decode_s` are vLLM's per-request metrics."""

    index: int
    warmup: bool
    scheduled_s: float
    start_s: float
    end_s: float
    outcome: Outcome
    prompt_tokens_asked: int
    output_tokens_asked: int
    chunk_s: tuple[float, ...] = ()
    chunk_tokens: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    output_chars: int | None = None
    finish_reason: str | None = None
    status: int | None = None
    error: str | None = None
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    server_decode_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHealth:
    """The client's own part in a run: how late it was, and how busy."""

    loop_delay_p99_s: float | None = None
    loop_delay_max_s: float | None = None
    send_delay_p99_s: float | None = None
    cpu_fraction: float | None = None
    processes: int = 1
    event_loop: str = "asyncio"


# ---- measure ---------------------------------------------------------------------------------


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
    """All that was read beside the load. `absent` says in a sentence each what could not be."""

    gpu: tuple[GpuReading, ...] = ()
    server: tuple[ServerReading, ...] = ()
    process: tuple[ProcessReading, ...] = ()
    absent: tuple[str, ...] = ()
    host: tuple[HostReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Everything raw about one run of one cell. Its warm-up traces are kept, and marked."""

    cell: Cell
    facts: EngineFacts
    traces: tuple[Trace, ...]
    readings: Readings
    client: ClientHealth


# ---- summarise -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value and, where one can be given, its 95% interval. `count` is the number of
    samples behind it. `value` None means that there is no such number; a doubt says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int | None = None


Metrics = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason not to take a run at face value. `name` is the rule's; `sentence` ends with what
    to do. Severity note: worth knowing; flag: the run is flagged; invalid: not to be believed."""

    name: str
    sentence: str
    severity: Severity = "flag"


# ---- record ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """One `journal run`: the experiment as it was frozen before it ran."""

    id: str
    experiment: Experiment
    started_at: datetime
    status: Literal["running", "done", "failed", "interrupted"] = "running"
    ended_at: datetime | None = None
    environment: Mapping[str, str | int | float | None] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    mlflow_experiment_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run: one cell, measured once. Its raw samples stand beside it in the store."""

    id: str
    experiment_id: str
    cell: Cell
    status: Status
    started_at: datetime
    duration_s: float
    metrics: Metrics = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    error: str | None = None
    facts: EngineFacts = field(default_factory=EngineFacts)
    environment: Mapping[str, str | int | float | None] = field(default_factory=dict)
    mlflow_run_id: str | None = None
