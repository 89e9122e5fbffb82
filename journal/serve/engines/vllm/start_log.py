"""A start of vLLM by its log: the phase that it is in, and the parts of its memory.

Figures are kept by the process that logs them, since the ranks of an engine may differ, and are
combined at the end. They are of one GPU each. Wordings are those of vLLM 0.6 to 0.33.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from journal.records.engine import EngineFacts
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS
from journal.serve.engines.vllm.log_entries import LogEntry, entries
from journal.serve.engines.vllm.packages import GRAPHS_IN_ACTIVATION, numbers

GIB = 2**30

FETCHING, LOADING = "fetching the weights", "loading the weights"
# A line that matches begins the phase that stands beside it.
PHASES = tuple(
    (re.compile(pattern), phase)
    for pattern, phase in (
        (r"non-default args:", "reading the model's config"),
        (r"Initializing an? (?:V\d )?LLM engine", "starting the engine core"),
        (r"Starting to load model|Loading model from scratch", FETCHING),
        (r"Time spent downloading weights|checkpoint shards|Runai Model Streamer:", LOADING),
        (r"Loading weights took|Model loading took|Loading model weights took", "profiling memory"),
        (r"Start compiling|Dynamo bytecode transform|Compiling a graph", "compiling"),
        (r"KV cache size:|# GPU blocks:", "warming up"),
        (r"Capturing (?:the model for )?CUDA graph|Graph capturing", "capturing graphs"),
        (r"init engine .* took", "starting the server"),
        (r"Starting vLLM", "waiting for the first answer"),
    )
)

NUMBER = r"(-?[\d.,]+)"
_SIZE = rf"{NUMBER} ?Gi?B"  # vLLM 0.6 and 0.7 wrote GB and meant GiB
# A figure and the wordings that give it, in GiB.
SIZES: Mapping[str, tuple[re.Pattern[str], ...]] = {
    name: tuple(re.compile(wording) for wording in wordings)
    for name, wordings in {
        "weights": (
            rf"Model loading took {_SIZE}",
            rf"Loading model weights took {_SIZE}",
            rf"model weights take {_SIZE}",
        ),
        "pool": (
            rf"Available KV cache memory: {_SIZE}",
            rf"reserved {_SIZE} memory for KV Cache as specified",
            rf"(?:Explicitly|Auto) set \({NUMBER}/.*GiB for KV cache",
            rf"the memory reserved for KV Cache is {_SIZE}",
            rf"\bkv_cache_size={_SIZE}",
        ),
        "pool_in_use": (rf"Current kv cache memory in use is {_SIZE}",),
        "activation": (
            rf"{_SIZE} for peak activation",
            rf"activation peak memory takes {_SIZE}",
        ),
        "graphs": (rf"Graph capturing finished .*took {_SIZE}",),
        "graphs_in_use": (rf"{_SIZE} for CUDAGraph memory",),
        "graph_estimate": (
            rf"Estimated (?:\w+ )?CUDA graph memory: {_SIZE} total",
            rf"CUDA graph pool memory: .*\(actual\), {_SIZE} \(estimated\)",
        ),
        "context": (
            rf"{_SIZE} for non-torch memory",
            rf"non_torch_memory takes {_SIZE}",
            rf"\bnon_torch_memory={_SIZE}",
        ),
        "consumed": (rf"{_SIZE} for consumed memory \(weights \+ non-torch\)",),
    }.items()
}
POOL_IN_BYTES = re.compile(r"Current kv cache memory in use is (\d+) bytes")
TOKENS = re.compile(rf"KV cache size: {NUMBER} tokens")
BLOCKS = re.compile(r"# (?!CPU)\w+ blocks: (\d+)")
BLOCK_SIZE = re.compile(r"'block_size': (\d+)|\bblock_size=(\d+)")
_CONFIG = r"Initializing an? (?:V\d )?LLM engine.*?[ ,(]"
WORDS: Mapping[str, re.Pattern[str]] = {
    "version": re.compile(
        r"Initializing an? (?:V\d )?LLM engine \(v([^)]+)\)|API server version:? ([\w.+]+)"
    ),
    "dtype": re.compile(_CONFIG + r"dtype=(?:torch\.)?(\w+)"),
    "quantisation": re.compile(_CONFIG + r"quantization=(?!None)(\w[\w-]*)"),
    "kv_cache_dtype": re.compile(_CONFIG + r"kv_cache_dtype=(\w+)"),
}
# Of several lines of one process in one start: the ranks of an old engine write as one.
_TOGETHER = {"weights": max, "pool": min, "tokens": min}
_BEGINS = re.compile(r"non-default args:|API server version")
_ONE_OF_A_START = re.compile(r"(?:EngineCore\w*|APIServer) pid=\d+")


@dataclass(slots=True)
class Rank:
    """The figures of one process, in bytes and tokens; a figure that the log gives as less than 0
    is None, because nothing follows from it. The keys are those of SIZES, and "tokens"."""

    figures: dict[str, int | None] = field(default_factory=dict)

    def take(self, name: str, value: int | None) -> None:
        before, together = self.figures.get(name), _TOGETHER.get(name)
        if together and before is not None and value is not None:
            value = together(before, value)
        self.figures[name] = value

    def get(self, name: str) -> int | None:
        return self.figures.get(name)


@dataclass(slots=True)
class StartLog:
    """The last start in a log: its figures by process, and the words of its configuration."""

    ranks: dict[str, Rank] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    block_tokens: int = BLOCK_TOKENS

    def read(self, entry: LogEntry) -> None:
        """Take the figures of a line."""
        text = entry.text
        if self._begins_anew(entry):
            self.ranks, self.words, self.block_tokens = {}, {}, BLOCK_TOKENS
        for name, pattern in WORDS.items():
            if word := _first(pattern, text):
                self.words[name] = word
        if size := _first(BLOCK_SIZE, text):
            self.block_tokens = int(size)
        for name, value in self._figures(text):
            self.ranks.setdefault(entry.process, Rank()).take(name, value)

    def _begins_anew(self, entry: LogEntry) -> bool:
        """Whether this line begins another start than the lines before it."""
        if _BEGINS.search(entry.text):
            return True
        if _ONE_OF_A_START.fullmatch(entry.process):
            name = entry.process.partition(" ")[0]
            if any(p != entry.process and p.partition(" ")[0] == name for p in self.ranks):
                return True
        rank = self.ranks.get(entry.process)
        loads_again = any(pattern.search(entry.text) for pattern in SIZES["weights"])
        return loads_again and rank is not None and rank.get("pool") is not None

    def _figures(self, text: str) -> Iterable[tuple[str, int | None]]:
        for name, wordings in SIZES.items():
            raw = next((raw for wording in wordings if (raw := _first(wording, text))), None)
            if raw is not None:
                value = _number(raw)
                yield name, None if value is None or value < 0 else round(value * GIB)
        if raw := _first(POOL_IN_BYTES, text):
            yield "pool_in_use", int(raw)
        if raw := _first(TOKENS, text):
            count = _number(raw)
            yield "tokens", None if count is None or count < 0 else round(count)
        elif raw := _first(BLOCKS, text):
            yield "tokens", int(raw) * self.block_tokens


def start_log(lines: Iterable[str]) -> StartLog:
    """The last start in `lines`."""
    log = StartLog()
    for entry in entries(lines):
        log.read(entry)
    return log


def start_facts(lines: Iterable[str]) -> EngineFacts:
    """The memory of an engine by the log of its start: of one GPU, the one with the least pool,
    where it uses several; pools and their tokens are summed over the engines of data parallelism. A
    figure that the log does not give is None."""
    log = start_log(lines)
    replicas: dict[str, list[str]] = {}
    for process in log.ranks:
        replicas.setdefault(_number_of("DP", process), []).append(process)
    of_replicas = [_of_replica(log, processes) for processes in replicas.values()]
    with_pool = [figures for figures in of_replicas if figures.get("pool") is not None]
    least = min(with_pool, key=lambda figures: figures["pool"] or 0) if with_pool else None
    one: dict[str, int | None] = dict(least or (of_replicas[-1] if of_replicas else {}))
    for other in of_replicas:
        one = {**other, **{name: value for name, value in one.items() if value is not None}}
    for name in ("pool", "tokens"):
        known = [value for figures in of_replicas if (value := figures.get(name)) is not None]
        one[name] = sum(known) if known else None
    return _as_facts(one, log.words)


def _of_replica(log: StartLog, processes: list[str]) -> dict[str, int | None]:
    """The figures of the rank that limits an engine: its own, and where it has logged none, those
    of another rank of the same pipeline stage. Tokens are the fewest of any rank."""
    ranks = log.ranks
    pools = {process: _pool(ranks[process]) for process in processes}
    known = {process: pool for process, pool in pools.items() if pool is not None}
    chosen = min(known, key=lambda process: known[process]) if known else processes[-1]
    stage = _number_of("PP", chosen)
    figures: dict[str, int | None] = {}
    for process in [*(p for p in reversed(processes) if p != chosen), chosen]:
        if _number_of("PP", process) in (stage, ""):
            logged = ranks[process].figures.items()
            figures |= {name: value for name, value in logged if value is not None}
    figures["pool"] = pools[chosen]
    tokens = [count for p in processes if (count := ranks[p].get("tokens")) is not None]
    figures["tokens"] = min(tokens) if tokens else None
    return figures


def _pool(rank: Rank) -> int | None:
    pool = rank.get("pool")
    return rank.get("pool_in_use") if pool is None and "pool" not in rank.figures else pool


def _as_facts(figures: Mapping[str, int | None], words: Mapping[str, str]) -> EngineFacts:
    context, consumed = figures.get("context"), figures.get("consumed")
    weights, graphs = figures.get("weights"), figures.get("graphs")
    estimate = None
    if consumed is not None:
        context = consumed - weights if weights is not None and weights <= consumed else None
        version = words.get("version")
        if version is None or numbers(version) >= GRAPHS_IN_ACTIVATION:
            estimate = figures.get("graph_estimate")
    return EngineFacts(
        version=words.get("version"),
        dtype=words.get("dtype"),
        quantisation=words.get("quantisation"),
        kv_cache_dtype=words.get("kv_cache_dtype"),
        weights_bytes=weights,
        graph_bytes=figures.get("graphs_in_use") if graphs is None else graphs,
        activation_bytes=figures.get("activation"),
        graph_estimate_bytes=estimate,
        context_bytes=context,
        kv_pool_bytes=figures.get("pool"),
        kv_pool_tokens=figures.get("tokens"),
    )


def _number_of(kind: str, process: str) -> str:
    """The rank of `process` in a kind of parallelism, such as "1" of Worker_PP1_TP0 for "PP"; empty
    where its name lacks it."""
    match = re.search(rf"(?:\b|_){kind}(\d+)", process)
    if match is None and kind == "DP":
        match = re.match(r"EngineCore_(\d+)", process)
    return match[1] if match else ""


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    """The first group of `pattern` with a match in `text`; None without one."""
    match = pattern.search(text)
    return next((group for group in match.groups() if group), None) if match else None


def _number(raw: str) -> float | None:
    try:
        return float(raw.replace(",", "").rstrip("."))
    except ValueError:
        return None
