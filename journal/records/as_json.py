"""The JSON of runs, searches and gates as types: what `run`, `show` and `check` print with --json.
The schemas in docs/schemas are made from them. Keys may be added, and none is ever missing."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12


class SpreadJson(TypedDict):
    """A latency over the requests of a run, in s. A percentile with too few requests behind it is
    null."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class DoubtJson(TypedDict):
    """A reason not to take the run at face value."""

    name: str
    """The rule, as docs/metrics.md lists them."""
    severity: Literal["note", "flag", "invalid"]
    values: Mapping[str, Any]
    """The numbers and names behind the sentence, in SI units."""
    sentence: str


class MemoryPartJson(TypedDict):
    """A part of the memory, and the source of its number. The rest may be below 0."""

    name: str
    bytes: int
    by: str


class MemorySplitJson(TypedDict):
    """The parts of the memory that the engine took."""

    total_bytes: int
    total_by: str
    parts: list[MemoryPartJson]


class MixPartJson(TypedDict):
    """A part of a mix of requests; its lengths are numbers, or texts such as "64..256"."""

    prompt_tokens: int | str
    output_tokens: int | str
    weight: float


class WorkloadJson(TypedDict):
    """The workload of a run."""

    name: str
    key: str | None
    """Its name with its hash; null for random tokens."""
    sent_sha256: str | None
    """The hash of what was sent."""
    api: Literal["chat", "completions"] | None
    natural_end: bool
    mix: list[MixPartJson]
    turns: int
    think_s: float


class FixedRunJson(TypedDict):
    """The keys of a run that come first, in this order."""

    id: str
    experiment: str
    model: str
    quantisation: str | None
    concurrency: int | None
    """Requests in flight; null in open loop."""
    prompt_tokens: int | None
    """Asked of a prompt, or its mean; null where an imported file does not tell."""
    output_tokens: int | None
    requests: int | None
    """Requests that count: sent and measured."""
    errors: int | None
    started_at: str
    """UTC in ISO 8601."""
    duration_s: float
    ttft_s: SpreadJson
    itl_s: SpreadJson
    tpot_s: SpreadJson
    e2e_s: SpreadJson
    output_tokens_per_s: float | None
    total_tokens_per_s: float | None
    requests_per_s: float | None
    vram_peak_bytes: int | None
    kv_cache_peak_fraction: float | None
    mlflow_run_id: str | None
    doubts: list[str]
    """The sentences of the doubts."""


class RunJson(FixedRunJson):
    """One run: a cell, measured once. Durations are in s, sizes in bytes; what was not measured is
    null."""

    status: str
    """valid, flagged (a doubt casts doubt on it), invalid, failed or interrupted."""
    error: str | None
    rate: float | None
    """Requests per second in open loop; null in closed loop."""
    repeat: int
    requests_asked: int | None
    convoy: bool | None
    length_spread: float
    workload: WorkloadJson
    identity: str
    """Equal for runs of the same cell and setup."""
    experiment_id: str
    tool: str | None
    """The tool whose file it was imported from."""
    host: str | None
    user: str | None
    engine_version: str | None
    engine_start_s: float | None
    weights_bytes: int | None
    kv_pool_bytes: int | None
    kv_pool_tokens: int | None
    memory_split: MemorySplitJson | None
    icl_s: SpreadJson
    doubt_rules: list[DoubtJson]
    metrics: dict[str, float | None]
    """Every metric of the run under its name in docs/metrics.md."""
    intervals: dict[str, list[float]]
    """The 95% interval [low, high] of the metrics that have one."""
    environment: dict[str, Any]


class MeanJson(TypedDict):
    """The mean of a metric over repeats, with its 95% interval."""

    mean: float | None
    low: float | None
    high: float | None


class RepeatsJson(TypedDict):
    """The repeats of a cell in its experiment."""

    runs: list[str]
    """Their ids."""
    means: dict[str, MeanJson]


class SloJson(TypedDict):
    """The limits that a good request holds, and the part of the requests that must be good."""

    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None
    good_fraction: float


class ProbeJson(TypedDict):
    """One load that a search tried."""

    load: float
    """Requests per second, or requests in flight."""
    verdict: Literal["held", "missed", "undecided"]
    good_fraction: float | None
    interval: list[float | None]
    requests: int | None
    runs: list[str]


class CapacityJson(TypedDict):
    """The result of a search for the highest load that holds an SLO."""

    of: Literal["rate", "concurrency"]
    model: str
    quantisation: str | None
    prompt_tokens: int
    output_tokens: int
    slo: SloJson
    whole: bool
    """Whether the search came to its end."""
    holds_up_to: float | None
    undecided: Sequence[float | None] | None
    """The loads between which neither was shown."""
    breaks_from: float | None
    answered_per_s: float | None
    """The most that the server was seen to answer, where a run overloaded it."""
    alone: ProbeJson | None
    held: ProbeJson | None
    beyond: ProbeJson | None
    probes: list[ProbeJson]


class TryJson(TypedDict):
    """One KV pool that a search tried."""

    pool_bytes: int | None
    blocks: int | None
    serves: bool
    run: str


class NeededJson(TypedDict):
    """The result of a search for the least KV pool that serves a cell. Bytes are those of all GPUs
    together."""

    model: str
    quantisation: str | None
    concurrency: int | None
    prompt_tokens: int
    output_tokens: int
    whole: bool
    theory_bytes: int | None
    reserved_bytes: int | None
    in_use_peak_bytes: int | None
    least: TryJson | None
    most_that_did_not: TryJson | None
    tries: list[TryJson]


class SearchesJson(TypedDict, total=False):
    """The results of the searches of an experiment, of either kind."""

    capacity: list[CapacityJson]
    needed_vram: list[NeededJson]


class SearchedJson(SearchesJson):
    """What `run --json` prints where the experiment searched."""

    runs: list[RunJson]


# What limits a cell: `class` is null where it cannot be told, and `would_tell` then names the
# measurements that would tell it; `values` is its evidence in SI units.
BottleneckJson = TypedDict(
    "BottleneckJson",
    {
        "class": str | None,
        "evidence": str,
        "values": Mapping[str, Any],
        "would_tell": list[str],
        "sentence": str,
    },
)


class NextChangeJson(TypedDict):
    """The one change of a setting that the bottleneck calls for."""

    setting: str
    """The setting and its value, as `journal try --set` takes it."""
    toml: list[str]
    """The lines of the experiment file that go (-) and come (+)."""
    reason: str
    metric: str
    expected_ratio: list[float]
    """The metric with the change over that without: from, to."""
    risks: list[str]
    sentence: str


class ShownJson(RunJson):
    """What `show --json` prints: the run, what limits its cell, and what it is part of."""

    bottleneck: BottleneckJson | None
    """What limits the cell, by its class and its evidence; null where no rule could look."""
    next_change: NextChangeJson | None
    """The change to try next; null where no cause was measured, or no setting answers it."""
    repeats: NotRequired[RepeatsJson]
    capacity: NotRequired[list[CapacityJson]]


class CheckedJson(TypedDict):
    """One metric of a gate."""

    metric: str
    baseline: float | None
    candidate: float | None
    worse: float | None
    """The relative change for the worse: 0.05 is 5%, below 0 is better."""
    worse_low: float | None
    worse_high: float | None
    limit: float
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    more_repeats: int | None
    """Further repeats of each side that would decide."""


class GateJson(TypedDict):
    """What `check --json` prints."""

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    baseline: str
    candidate: str
    metrics: list[CheckedJson]
    hindrances: dict[str, list[str]]
    """What keeps it from a verdict: flagged, left_out, environment, missing, alone."""
