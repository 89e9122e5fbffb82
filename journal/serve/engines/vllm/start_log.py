"""A start of vLLM by its log: the phase that it is in, and the parts of its memory.

Figures are kept by the process that logs them, since the ranks of an engine may differ, and are
combined at the end. They are of one GPU each. Wordings are those of vLLM 0.6 to 0.33.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from journal.records.engine import EngineFacts
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS
from journal.serve.engines.vllm.log_entries import LogEntry, each_entry
from journal.serve.engines.vllm.packages import GRAPHS_IN_ACTIVATION, numbers
from journal.serve.engines.vllm.start_times import StartTimes
from journal.serve.engines.vllm.start_wordings import (
    BLOCK_SIZE,
    BLOCKS,
    CONCURRENCY,
    GIB,
    OVERRIDDEN,
    PHASES,
    POOL_IN_BYTES,
    SETTING,
    SIZES,
    TELLING,
    TOKENS,
    WITHOUT_ESTIMATE,
    WORDS,
)

# Of several lines of one process in one start: the ranks of an old engine write as one.
_TOGETHER = {"weights": max, "pool": min, "tokens": min}
MOST_LINES = 20_000
# Of a server at work: its requests, and its figures every ten seconds.
EVERY_DAY = re.compile(r'"(?:GET|POST) /\S* HTTP/[\d.]+" \d|Avg prompt throughput')
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
    settings: dict[str, float] = field(default_factory=dict)
    times: StartTimes = field(default_factory=StartTimes)
    block_tokens: int = BLOCK_TOKENS
    estimate_applied: bool = True
    concurrency: dict[str, tuple[int, float]] = field(default_factory=dict)
    phase: str | None = None
    starts: int = 0
    overridden: float = 1.0  # the blocks that the user asked for, as a part of those that fit

    def read(self, entry: LogEntry) -> None:
        """Take the figures of a line."""
        text = entry.text
        if self._begins_anew(entry):
            # The banner with the version stands before the arguments that begin a start.
            words = {} if self.ranks else self.words
            fresh = StartLog(starts=self.starts + 1, words=words)
            for name in self.__slots__:
                setattr(self, name, getattr(fresh, name))
        if not TELLING.search(text):
            return
        self.times.read(entry)
        self.phase = phase_of(text) or self.phase
        if WITHOUT_ESTIMATE.search(text):
            self.estimate_applied = False
        self._read_settings(entry)
        for name, pattern in WORDS.items():
            if word := _first(pattern, text):
                self.words[name] = word
        if size := _first(BLOCK_SIZE, text):
            self.block_tokens = int(size)
        for name, value in self._figures(text):
            self.ranks.setdefault(entry.process, Rank()).take(name, value)

    def _read_settings(self, entry: LogEntry) -> None:
        text = entry.text
        if match := CONCURRENCY.search(text):
            tokens, times = _number(match[1]), _number(match[2])
            if tokens is not None and times is not None:
                self.concurrency[entry.process] = (round(tokens), times)
        for name, raw, desired, current, length, reduced in SETTING.findall(text):
            value = _number(raw or desired or current or length or reduced)
            stands_for = "max_model_len" if length or reduced else "gpu_memory_utilization"
            if value is not None:
                self.settings[name or stands_for] = value

    def _begins_anew(self, entry: LogEntry) -> bool:
        """Whether this line begins another start than the lines before it."""
        if _BEGINS.search(entry.text):
            return True
        if _ONE_OF_A_START.fullmatch(entry.process):
            name = entry.process.partition(" ")[0]
            if any(p != entry.process and p.partition(" ")[0] == name for p in self.ranks):
                return True
        rank = self.ranks.get(entry.process)
        if rank is None or rank.get("pool") is None:
            return False
        return any(pattern.search(entry.text) for pattern in SIZES["weights"])

    def _figures(self, text: str) -> Iterable[tuple[str, int | None]]:
        for name, wordings in SIZES.items():
            raw = next((raw for wording in wordings if (raw := _first(wording, text))), None)
            if raw is not None:
                value = _number(raw)
                yield name, None if value is None or value < 0 else round(value * GIB)
                if name == "pool" and value is not None and value < 0:
                    yield "pool_missing", round(-value * GIB)
        if match := OVERRIDDEN.search(text):
            self.overridden = int(match[2]) / max(1, int(match[1]))
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
    for entry in each_entry(lines):
        log.read(entry)
    return log


def last_start(lines: Iterable[str]) -> tuple[StartLog, list[LogEntry]]:
    """The last start in `lines`, and its lines taken apart: the last MOST_LINES of them, without
    those that a server writes again and again."""
    log, kept, starts = StartLog(), deque[LogEntry](maxlen=MOST_LINES), 0
    for entry in each_entry(line for line in lines if not EVERY_DAY.search(line)):
        log.read(entry)
        if log.starts != starts:
            starts = log.starts
            kept.clear()
        kept.append(entry)
    return log, list(kept)


def phase_of(line: str) -> str | None:
    """The phase of a start that this line begins; None where it begins none."""
    return next((phase for pattern, phase in PHASES if pattern.search(line)), None)


def start_facts(lines: Iterable[str]) -> EngineFacts:
    """The memory of an engine by the log of its start: of one GPU, the one with the least pool,
    where it uses several; pools and their tokens are summed over the engines of data parallelism. A
    figure that the log does not give is None."""
    return facts_of(start_log(lines))


def facts_of(log: StartLog) -> EngineFacts:
    """The facts of `start_facts`, of a log that was read."""
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
    return _as_facts(one, log)


def _of_replica(log: StartLog, processes: list[str]) -> dict[str, int | None]:
    """The figures of the rank that limits an engine: its own, and where it has logged none, those
    of another rank of the same pipeline stage. Tokens are the fewest of any rank."""
    ranks = log.ranks
    pools = {process: pool_of(ranks[process], log) for process in processes}
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


def pool_of(rank: Rank, log: StartLog) -> int | None:
    """Bytes of the KV pool of a process: as logged, or as many of them as the user's blocks take;
    None where nothing is left for one."""
    if "pool" not in rank.figures:
        return rank.get("pool_in_use")
    pool = rank.get("pool")
    return None if pool is None else round(pool * log.overridden)


def context_of(figures: Mapping[str, int | None]) -> int | None:
    """Bytes of the driver and its libraries: as logged, or what vLLM had taken less the weights."""
    consumed, weights = figures.get("consumed"), figures.get("weights")
    if consumed is None:
        return figures.get("context")
    return consumed - weights if weights is not None and weights <= consumed else None


def estimate_of(figures: Mapping[str, int | None], log: StartLog) -> int | None:
    """Bytes of the estimate of the CUDA graphs that the peak of the activations includes; None
    where it includes none."""
    version = log.words.get("version")
    # Versions that give the weights apart, not within what is consumed, keep the estimate apart.
    if figures.get("consumed") is None or not log.estimate_applied:
        return None
    if version is not None and numbers(version) < GRAPHS_IN_ACTIVATION:
        return None
    return figures.get("graph_estimate")


def _as_facts(figures: Mapping[str, int | None], log: StartLog) -> EngineFacts:
    words, graphs = log.words, figures.get("graphs")
    return EngineFacts(
        version=words.get("version"),
        dtype=words.get("dtype"),
        quantisation=words.get("quantisation"),
        kv_cache_dtype=words.get("kv_cache_dtype"),
        weights_bytes=figures.get("weights"),
        graph_bytes=figures.get("graphs_in_use") if graphs is None else graphs,
        activation_bytes=figures.get("activation"),
        graph_estimate_bytes=estimate_of(figures, log),
        context_bytes=context_of(figures),
        kv_pool_bytes=figures.get("pool"),
        kv_pool_tokens=figures.get("tokens"),
        phases=log.times.phases(),
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
        value = float(raw.replace(",", "").rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
