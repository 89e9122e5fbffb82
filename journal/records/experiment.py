"""Experiments: a question, engines, the grid of cells, the load and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from journal.records.claim import Claim
from journal.records.engine import GpuRates
from journal.records.money import USD, Money
from journal.records.workload import MOST_TOKENS, RANDOM_TOKENS, Workload

# Limits that plan/experiment_file.py enforces when it parses a file. What is above them cannot be
# meant, and some of it no database, no timer and no server could hold.
MOST_BYTES = 1 << 60
MOST_VARIANTS = 100
LONGEST_S = 30 * 86_400.0  # timers of a system may hold no more than 49 days
Name = Annotated[str, MinLen(1), MaxLen(300)]
Count = Annotated[int, Gt(0), Le(MOST_TOKENS)]
SharedTokens = Annotated[int, Ge(0), Le(MOST_TOKENS)]
Bytes = Annotated[int, Gt(0), Le(MOST_BYTES)]
Batch = Annotated[int, Gt(0), Le(1 << 16)]  # a host has so many ports
Few = Annotated[int, Gt(0), Le(1 << 12)]  # GPUs, processes, repeats
Requests = Annotated[int, Gt(0), Le(10_000_000)]
Seed = Annotated[int, Ge(0), Le((1 << 31) - 1 - (1 << 12))]  # a repeat adds its number
Rate = Annotated[float, Gt(0), Le(1e6)]
Duration = Annotated[float, Gt(0), Le(LONGEST_S)]
Positive = Annotated[float, Gt(0), Le(1e12)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
Batches = Annotated[tuple[Batch, ...], MinLen(1)]
# Read by pydantic where plan/experiment_file.py parses a file.
FORBID_EXTRA = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The start of one vLLM server; docs/experiments.md describes every field. Cells whose engines
    are equal share one start. `executor` runs its parts, "ray" on several hosts."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    model: Name
    revision: str | None = None
    quantisation: str | None = None
    dtype: str = "auto"
    tensor_parallel: Few = 1
    pipeline_parallel: Few = 1
    executor: Literal["mp", "ray"] | None = None
    max_model_len: Count | None = None
    gpu_memory_utilization: Positive | None = None
    kv_cache_memory_bytes: Bytes | None = None
    prefix_caching: bool = False
    trust_remote_code: bool = False
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    start_timeout_s: Duration = 900.0

    @property
    def gpu_count(self) -> int:
        """The number of GPUs (or, on the CPU, of processes) that share the model."""
        return self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The axes of an experiment; its cells are their product. An empty `rate` (requests/s) means
    closed loop, with each `batch` of requests in flight. `shared_prefix` varies that field of the
    workload; empty: no prompt shares its beginning with another."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    batch: Batches = (1,)
    prompt_tokens: Counts = (128,)
    output_tokens: Counts = (64,)
    rate: tuple[Rate, ...] = ()
    shared_prefix: tuple[SharedTokens, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of the requests of a load: its name, and the fields that it adds to each request,
    as `Load.body` does."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    name: Name
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load on each cell. `burstiness` is the gamma shape of open-loop arrivals: 1 is Poisson,
    above 1 is smoother, 0 is a constant interval. `processes` None leaves the number of client
    processes to the load room. `max_error_rate` (0 to 1) ends a cell that fails more often.
    `interleave` starts the engines anew for each repeat, in turn; None: where there are several
    engines. `convoy` begins all streams of a closed loop together; without it they begin, and stay,
    spread over the time of a request. `length_spread` is the coefficient of variation of the
    lengths of prompts and of outputs, whose means are those of the cell. `body` are further fields
    of each request, by name; None as a value leaves a field out. `max_in_flight` is the most
    requests of an open loop that may be in flight: those that are due beyond it wait, and their
    latency counts from when they were due; None: no limit. `duration_s` takes the place of
    `requests`: requests are sent for so long, and those in flight then are waited for. `ramp` is
    the profile of a rate that changes, such as "10..100 in 60s". `abandon_after_s` is the patience
    of users: a request that is not over by then is given up, and its connection closed. `variants`
    send the same requests with other fields of their bodies: each is a cell, whose load has the
    name as `variant` and the fields in `body`."""

    __pydantic_config__: ClassVar = FORBID_EXTRA
    # Values of fields that came later, for what was stored before they came.
    STORED_BEFORE: ClassVar[Mapping[str, object]] = {"convoy": True}

    requests: Requests = 24
    warmup: Annotated[int, Ge(0), Le(10_000_000)] = 2
    repeats: Few = 1
    seed: Seed = 0
    burstiness: Annotated[float, Ge(0), Le(1e6)] = 1.0
    timeout_s: Duration = 600.0
    processes: Few | None = None
    max_error_rate: Annotated[float, Ge(0), Le(1)] = 0.5
    interleave: bool | None = None
    convoy: bool = False
    length_spread: Annotated[float, Ge(0), Le(1)] = 0.0
    body: Mapping[str, Any] = field(default_factory=dict)
    max_in_flight: Batch | None = None
    duration_s: Duration | None = None
    abandon_after_s: Duration | None = None
    ramp: Annotated[str, MinLen(1), MaxLen(300)] | None = None
    variants: Annotated[tuple[Variant, ...], MaxLen(MOST_VARIANTS)] = ()
    variant: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Limits of latency. A request is good when it holds every limit given, and a load holds the
    SLO when `good_fraction` (0 to 1) of its requests are good."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    ttft_ms: Positive | None = None
    tpot_ms: Positive | None = None
    e2e_ms: Positive | None = None
    good_fraction: Annotated[float, Gt(0), Lt(1)] = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTrial:
    """A change of one setting that an experiment tries: its first engine is without it, its last
    one with it. `cause` is the class of the bottleneck that calls for it (None: its user asked),
    `gist` names the reason. `metric` is expected to be `low` to `high` times what it was (None:
    nothing is expected). `looks` is how often the trial may be judged, `run_id` the run that it
    sets out from."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    setting: str
    metric: str
    cause: str | None = None
    gist: str | None = None
    low: float | None = None
    high: float | None = None
    risks: tuple[str, ...] = ()
    looks: Few = 1
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment as it is frozen before it runs. `engines` is empty where it measures an
    endpoint. `find_capacity` puts a search for the highest load that holds the SLO in the place of
    the grid's loads, `needed_vram` adds a search for each cell's least KV pool, `quality_check` a
    check of the model's quality. `predict` maps metrics to predicted values, `claims` say how
    metrics will behave, `source` is the text of the file, `command` are the words after
    `journal` that asked for it, empty where none did. `card_rates` are the rates of its GPUs,
    under the old name since it is stored. `trial` is the change that `journal try` tries."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    name: Name
    question: str = ""
    hypothesis: str = ""
    engines: tuple[Engine, ...] = ()
    grid: Grid = field(default_factory=Grid)
    load: Load = field(default_factory=Load)
    slo: Slo | None = None
    predict: Mapping[str, float] = field(default_factory=dict)
    usd_per_hour: Positive | None = None
    price_per_hour: Money | None = None
    card_rates: GpuRates | None = None
    source: str = ""
    command: tuple[str, ...] = ()
    find_capacity: Literal["rate", "concurrency"] | None = None
    needed_vram: bool = False
    quality_check: bool = False
    workload: Workload = RANDOM_TOKENS
    claims: tuple[Claim, ...] = ()
    trial: ChangeTrial | None = None

    @property
    def price(self) -> Money | None:
        """The price of the host for an hour, in its own currency; None where none is given."""
        if self.usd_per_hour is None:
            return self.price_per_hour
        return Money(amount=self.usd_per_hour, currency=USD)

    @property
    def compared(self) -> tuple[Engine | str, ...]:
        """What claims number from 1: the engines, or the names of the variants of the load where
        one engine or none has several."""
        names = tuple(variant.name for variant in self.load.variants)
        return names if names and len(self.engines) < 2 else self.engines

    def at_endpoint(self) -> "Experiment":
        """This experiment at a server that runs already: without engines of its own, and without
        the claims about those by number."""
        bare = replace(self, engines=())
        there = {None, *range(1, len(bare.compared) + 1)}
        kept = (each for each in self.claims if {each.a, each.b, each.engine} <= there)
        return replace(bare, claims=tuple(kept))
