"""Any log of vLLM, explained: one start that succeeded, failed, or is not over in it."""

import re
from collections.abc import Iterable, Sequence

from journal.records.explanation import Explanation, RankMemory
from journal.serve.engines.vllm.failure import (
    BUS_ERROR,
    CRASHED,
    KILLED,
    NO_REASON,
    RAISED,
    VANISHED,
    Cause,
    cause_of,
    ending,
)
from journal.serve.engines.vllm.log_entries import LogEntry
from journal.serve.engines.vllm.start_log import (
    Rank,
    StartLog,
    context_of,
    estimate_of,
    facts_of,
    last_start,
    pool_of,
)

# A line that only a server which came up writes.
SERVES = re.compile(r"Application startup complete|Uvicorn running on|Available routes are")
# Lines of an engine that ended, whatever else goes on.
ENDED = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineCore failed to start"
    r"|Engine process failed to start|EngineCore encountered (?:a fatal|an issue)"
    r"|AsyncEngineDeadError|Engine loop (?:is not running|has died)"
)


def explanation(lines: Iterable[str]) -> Explanation:
    """The explanation of the last start in `lines`, which may be those of any text."""
    start, log = last_start(lines)
    served_at = next((i for i, entry in enumerate(log) if SERVES.search(entry.text)), None)
    facts, cause = facts_of(start), _cause(log, start, served_at)
    longest, at_once = _requests(start, facts.kv_pool_tokens)
    return Explanation(
        engine_version=facts.version,
        weights_bytes=facts.weights_bytes,
        kv_pool_bytes=facts.kv_pool_bytes,
        kv_pool_tokens=facts.kv_pool_tokens,
        activation_bytes=facts.activation_bytes,
        graph_estimate_bytes=facts.graph_estimate_bytes,
        graph_bytes=facts.graph_bytes,
        context_bytes=facts.context_bytes,
        phases=facts.phases,
        ranks={name: _of_rank(rank, start) for name, rank in start.ranks.items()},
        longest=longest,
        at_once=at_once,
        serves=served_at is not None,
        phase=start.phase,
        cause_words=None if cause is None else cause.words,
        remedy_words=None if cause is None else cause.advice,
    )


def _cause(log: Sequence[LogEntry], start: StartLog, served_at: int | None) -> Cause | None:
    """Why the engine ended; None where its log does not show that it did."""
    since = log[served_at:] if served_at is not None else log
    died = any(
        ENDED.search(entry.text)
        or VANISHED.search(entry.text)
        or KILLED.fullmatch(entry.text)
        or CRASHED.match(entry.text)
        or BUS_ERROR.fullmatch(entry.text)
        for entry in since
    )
    if not died and (served_at is not None or ending(log, outlived=False) is None):
        return None
    if served_at is not None:
        # The requests of a server raise exceptions too: those of its engine count first.
        of_engine = [entry for entry in since if not _of_a_request(entry)]
        since = of_engine if ending(of_engine) is not None else since
    cause = cause_of(since, start)
    return cause if cause.words != NO_REASON or died else None


def _of_a_request(entry: LogEntry) -> bool:
    of_server = entry.process == "" or entry.process.startswith("APIServer")
    return of_server and RAISED.fullmatch(entry.text) is not None


def _requests(start: StartLog, tokens: int | None) -> tuple[int | None, float | None]:
    """The longest request, in tokens, and the number of such requests that fit at once."""
    if start.concurrency:
        engines = list(start.concurrency.values())
        return engines[-1][0], sum(times for _, times in engines)
    named = (start.settings.get(name) for name in ("max_model_len", "max_seq_len"))
    longest = next((round(value) for value in named if value), None)
    return longest, None if tokens is None or longest is None else tokens / longest


def _of_rank(rank: Rank, start: StartLog) -> RankMemory:
    figures = rank.figures
    graphs = figures.get("graphs")
    return RankMemory(
        weights_bytes=figures.get("weights"),
        kv_pool_bytes=pool_of(rank, start),
        kv_pool_tokens=figures.get("tokens"),
        activation_bytes=figures.get("activation"),
        graph_estimate_bytes=estimate_of(figures, start),
        graph_bytes=figures.get("graphs_in_use") if graphs is None else graphs,
        context_bytes=context_of(figures),
        consumed_bytes=figures.get("consumed"),
        total_bytes=figures.get("total"),
        free_bytes=figures.get("free"),
    )
