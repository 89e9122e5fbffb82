"""The facts of an engine, and the endpoint of the server that it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le

from journal.errors import EndpointError
from journal.records.address import joined
from journal.records.doubt import Values
from journal.records.money import USD, Money
from journal.redaction import in_url

SHORT = 4
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"  # the variable that limits the GPUs of a process
GpuName = int | str  # the NVML index of a whole GPU, the UUID of an instance of MIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The quality of a served model by a short check: its perplexity over `tokens` of a fixed text,
    the same in bits per byte of text, and the greedy `outputs` for fixed prompts. `answers` are
    those to fixed questions, asked twice. `absent` has a sentence for each part that could not be
    measured."""

    tokens: int | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    outputs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    answers: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRates:
    """The rates of a GPU by its data sheet, as an experiment file gives them: GB/s of its memory,
    and TFLOP/s without sparsity. `fp8_tflops` is None where it computes in 16 bits whatever the
    weights."""

    bandwidth_gb_per_s: Annotated[float, Gt(0), Le(1e12)]
    fp16_tflops: Annotated[float, Gt(0), Le(1e12)]
    fp8_tflops: Annotated[float, Gt(0), Le(1e12)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another engine of the same experiment that was on this host during a run. `gpus` are the
    names of its GPUs; `busy_s` are the spans (start, end) in which it loaded its model or was
    under load, in s since the origin of the run."""

    model: str
    gpus: tuple[GpuName, ...] = ()
    busy_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPhases:
    """The phases of an engine's start by its log, in s; None: not logged. `kind` is "cold" where
    weights were downloaded or code was compiled anew, "warm" where nothing was, None where the log
    does not go far enough to tell.

    `download_s` fetches the weights, `load_s` brings them into memory (as the slowest process did),
    `compile_s` compiles the model or loads compiled code, `graphs_s` captures the CUDA graphs.
    `init_s` profiles memory, creates the KV cache and warms up: it contains compiling and
    capturing.
    """

    kind: Literal["cold", "warm"] | None = None
    download_s: float | None = None
    load_s: float | None = None
    compile_s: float | None = None
    graphs_s: float | None = None
    init_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """The facts of an engine, from its log at start-up, its /version, its /metrics, the files of
    its model and its host. None: not known.

    `weights_bytes`, `graph_bytes`, `activation_bytes` (at their peak) and `context_bytes` (of the
    driver and its libraries) are those of one GPU, as the log gives them; `graph_estimate_bytes`
    is the part of `activation_bytes` that only estimates the graphs. `config` is the part of the
    model's config.json that theory reads, `checkpoint_bytes` the size of its tensors as they are
    served. `card` is the name of its GPUs by NVML, `cards` the number of them on this host, and
    `card_rates` their rates where the experiment gives them: the old names, since they are stored.
    `usd_per_hour` is the price of the host, `price_per_hour` that in another currency,
    `vram_baseline_bytes` the memory in use on all its GPUs before it started. `quality` is the
    result of the check, where an experiment has one; `last_words` is the line of the log with the
    cause, where the engine failed. `neighbours` are other engines on the host during the run;
    `phases` are those of its start. `request_fields` are the fields of a request that the server
    refuses, each with the name that it takes instead (None: left out).
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
    price_per_hour: Money | None = None
    quality: Quality | None = None
    last_words: str | None = None
    card_rates: GpuRates | None = None
    cards: int | None = None
    neighbours: tuple[Neighbour, ...] = ()
    vram_baseline_bytes: int | None = None
    phases: StartPhases | None = None
    request_fields: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def currency(self) -> str | None:
        """The currency of the host's price; None where none is known."""
        if self.usd_per_hour is not None:
            return USD
        return self.price_per_hour.currency if self.price_per_hour else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNames:
    """The names of a kind of server's samples at /metrics.

    All of them begin with `prefix`. `readings` maps a field of ServerReading to the names of its
    samples, the newest first: where a server has an old and a new name side by side, only the
    newest counts. A name may end in a label, {position="0"}, of which there are several. `pool` is
    the sample whose labels describe the KV pool; `ttft` and `itl` are histograms in s; each is
    empty where there is none. `ranks` are labels of processes that share one engine and give the
    same again: only samples of rank 0 count. `sometimes` are fields that only some engines have,
    so that nothing is missing without them."""

    prefix: str
    readings: Mapping[str, tuple[str, ...]]
    pool: str
    ttft: str
    itl: str
    ranks: tuple[str, ...] = ()
    sometimes: frozenset[str] = frozenset()

    @property
    def read(self) -> tuple[str, ...]:
        """The names of all samples of a ServerReading, without labels."""
        every = (name for names in self.readings.values() for name in names)
        return tuple(dict.fromkeys(name.partition("{")[0] for name in every))


@dataclass(frozen=True, slots=True)
class Access:
    """What a server lets a client in by: its key, and further headers by name and value."""

    api_key: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def sent(self) -> dict[str, str]:
        """The headers to send. A header of the user's takes the place of the key's. Raises
        EndpointError, without the text, for characters that no header may hold."""
        texts = {"the key": self.api_key or "", **dict(self.headers)}
        for name, text in texts.items():
            if not (text.isascii() and text.isprintable() and text == text.strip()):
                raise EndpointError(
                    f"{name} holds characters that no header may hold: give it on one line, "
                    "without blanks around it and other letters than ASCII's"
                )
        names = {name.lower() for name, _ in self.headers}
        with_key = self.api_key is not None and "authorization" not in names
        key = {"Authorization": f"Bearer {self.api_key}"} if with_key else {}
        return key | dict(self.headers)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, and the values of headers, with and without a word such as Bearer before.
        Values of fewer than SHORT characters are no secrets, and hiding them would spoil texts."""
        values = (value for _, value in self.headers)
        words = (part for value in values for part in (value, value.partition(" ")[2]))
        return (*filter(None, [self.api_key]), *(word for word in words if len(word) >= SHORT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server that answers requests below `base_url`; `posts_to` is the whole address of these
    requests where a redirect showed another. `headers` go with each, beside the key. `vocabulary`
    is the half-open range of token ids from which prompts are drawn. `extensions` is whether the
    server takes the engine's own request fields (for exact lengths and running token counts).
    `tokenizer` is the path of the model's tokenizer.json, where it is on this host and the server
    gives no usage; `tokenizes_at` is the address at which such a server counts tokens.
    `metric_names` are the names of its /metrics; None: those of vLLM. `pid` is the root of the
    server's process tree where it runs on this host, `gpus` are the names of its GPUs. `absent`
    lists the features that the server lacks, each as the values of a doubt "absent"."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    posts_to: str | None = None
    api: Literal["completions", "chat"] = "completions"
    prompt_form: Literal["token_ids", "text"] = "token_ids"
    vocabulary: tuple[int, int] = (1000, 30000)
    tokens_per_word: float | None = None
    overhead_tokens: int = 0
    extensions: bool = True
    tokenizer: str | None = None
    tokenizes_at: str | None = None
    max_model_len: int | None = None
    has_metrics: bool = False
    metric_names: MetricNames | None = None
    pid: int | None = None
    gpus: tuple[GpuName, ...] = ()
    facts: EngineFacts = field(default_factory=EngineFacts)
    absent: tuple[Values, ...] = ()

    @property
    def access(self) -> Access:
        """The key and the headers that requests go with."""
        return Access(self.api_key, self.headers)

    @property
    def request_url(self) -> str:
        """The address that requests for tokens go to."""
        path = "/completions" if self.api == "completions" else "/chat/completions"
        return self.posts_to or joined(self.base_url, path)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may show: the key, and the values of headers and query."""
        return (*self.access.secrets, *in_url(self.base_url))
