"""What is known of an engine, and the server that answers for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt

from journal.records.doubt import Values

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"  # the variable that says which a process sees
GpuName = int | str  # the NVML index of a whole GPU, the UUID of an instance of MIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a served model knew a short text: its perplexity over `tokens` of it, the same in
    bits per byte of text, and the greedy `outputs` for fixed prompts. `absent` says in a sentence
    each what could not be had."""

    tokens: int | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    outputs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRates:
    """What the data sheet of a card says that is not known here: GB/s of its memory, and TFLOP/s
    without sparsity. `fp8_tflops` None: it computes in 16 bits whatever the weights."""

    bandwidth_gb_per_s: Annotated[float, Gt(0)]
    fp16_tflops: Annotated[float, Gt(0)]
    fp8_tflops: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another engine of the same experiment that was on this host while a run lasted. `gpus` are
    the names of its GPUs; `busy_s` says from when to when it loaded its model or was under
    load, in s since the origin of the run."""

    model: str
    gpus: tuple[GpuName, ...] = ()
    busy_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What is known of an engine: what it said of itself (its log at start-up, its /version, its
    /metrics), what its model's files say, and the host it runs on.

    `weights_bytes`, `graph_bytes`, `activation_bytes` (their peak) and `context_bytes` (what the
    driver and its libraries hold) are those of one card, as the log gives them;
    `graph_estimate_bytes` is the part of `activation_bytes` that only estimates the graphs.
    `config` is what
    theory needs of the model's config.json, `checkpoint_bytes` the size of its tensors as they
    are served, `card` the name of the cards by NVML, `cards` how many of them are on this host,
    `card_rates` what they can do where an experiment says so, `usd_per_hour` what the host costs.
    `vram_baseline_bytes` is what its GPUs held together before it started.
    `quality` is there where an experiment asked for it, `last_words`, the line of the log that
    tells why, where the engine failed. `neighbours` are other engines beside it, in one run.
    """

    version: str | None = None
    argv: tuple[str, ...] = ()
    log_path: str | None = None
    start_s: float | None = None
    weights_bytes: int | None = None
    graph_bytes: int | None = None
    kv_pool_bytes: int | None = None
    kv_pool_tokens: int | None = None
    block_size: int | None = None
    prefix_caching: bool | None = None
    dtype: str | None = None
    quantisation: str | None = None
    kv_cache_dtype: str | None = None
    activation_bytes: int | None = None
    context_bytes: int | None = None
    graph_estimate_bytes: int | None = None
    config: Mapping[str, Any] | None = None
    checkpoint_bytes: int | None = None
    card: str | None = None
    usd_per_hour: float | None = None
    quality: Quality | None = None
    last_words: str | None = None
    card_rates: GpuRates | None = None
    cards: int | None = None
    neighbours: tuple[Neighbour, ...] = ()
    vram_baseline_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNames:
    """The names under which a kind of server tells its state at /metrics.

    `prefix` begins each of them. `readings` maps a field of ServerReading to the names of its
    samples, the newest first: where a server shows an old and a new name side by side, only the
    newest counts. `pool` is the sample whose labels describe the KV pool, `ttft` and `itl` are
    histograms in s.
    """

    prefix: str
    readings: Mapping[str, tuple[str, ...]]
    pool: str
    ttft: str
    itl: str

    @property
    def read(self) -> tuple[str, ...]:
        """The names of all samples that a ServerReading is made of."""
        return tuple(name for names in self.readings.values() for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server that answers. `base_url` ends with /v1. `vocabulary` is the half-open range of
    token ids that prompts may be drawn from. `extensions` is whether the engine's own request
    fields (of exact lengths and running token counts) are taken. `metric_names` are those of its
    /metrics, None: vLLM's. `pid` is the root of the server's process tree
    when that runs on this host, `gpus` the names of its GPUs. `absent` says what this
    server does not offer, by the values of a doubt "absent" each."""

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
    metric_names: MetricNames | None = None
    pid: int | None = None
    gpus: tuple[GpuName, ...] = ()
    facts: EngineFacts = field(default_factory=EngineFacts)
    absent: tuple[Values, ...] = ()
