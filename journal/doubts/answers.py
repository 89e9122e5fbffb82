"""Doubts about the answers of the server: failures, lengths, and tokens and times of chunks."""

from collections import Counter
from itertools import takewhile

import numpy as np

from journal.doubts.rule import Case, Finding, Rule
from journal.records.doubt import Severity
from journal.records.request import Trace
from journal.units import percent

PROMPT_TOLERANCE = 0.05
TOKENS_PER_CHUNK = 1.5
SHARED_CHUNKS_NOTE = 0.01
SHARED_CHUNKS_FLAG = 0.5
ZERO_GAPS = 0.1
WAITED_OUT = 0.1  # of the measured span: what is less moves throughput less than a repeat does
LOST = 3  # requests at the end without an HTTP answer
EXCERPT = 160  # characters of a server's own error message


def _commonest_error(traces: list[Trace]) -> str | None:
    """The most frequent error of `traces` (one or more), on one line of at most EXCERPT characters;
    None where the most frequent gave no reason."""
    error = Counter(trace.error or None for trace in traces).most_common(1)[0][0]
    line = None if error is None else " ".join(error.split())
    return line if line is None or len(line) <= EXCERPT else line[:EXCERPT] + "..."


def _nothing_succeeded(case: Case) -> Finding | None:
    if case.view.done:
        return None
    if not case.view.measured:
        if failed := [trace for trace in case.view.samples.traces if trace.error]:
            return "invalid", {"variant": "warm_up", "error": _commonest_error(failed)}
        return "invalid", {"variant": "nothing_asked"}
    if all(trace.outcome == "abandoned" for trace in case.view.measured):
        patience_s = case.view.cell.load.abandon_after_s
        return "invalid", {"variant": "abandoned", "requests": case.count, "patience_s": patience_s}
    error = _commonest_error(list(case.view.measured))
    return "invalid", {"requests": case.count, "error": error}


ENDED_EARLY = 0.9  # of the time that was asked for


def _errors(case: Case) -> Finding | None:
    failed = [trace for trace in case.view.measured if trace.outcome == "error"]
    if not failed or not case.view.done:
        return None
    allowed = case.view.cell.load.max_error_rate
    return _failed(len(failed), case.count, _commonest_error(failed), allowed)


def _failed(failed: int, requests: int, error: str | None, allowed: float) -> Finding:
    values = {"failed": failed, "requests": requests, "error": error}
    if failed / requests > allowed:
        return "invalid", {"variant": "too_many", **values, "allowed_fraction": allowed}
    return "flag", values


def of_failures(requests: int, failed: int, allowed: float) -> dict[str, Finding]:
    """The finding on `failed` of `requests` requests whose errors are not known, by the name of its
    doubt; `allowed` is the fraction (0 to 1) that may fail."""
    if failed and failed >= requests:
        return {"nothing_succeeded": ("invalid", {"requests": requests, "error": None})}
    return {"errors": _failed(failed, requests, None, allowed)} if failed else {}


def _given_up(case: Case) -> Finding | None:
    requests, lasts_s = case.view.cell.load.requests, case.view.cell.lasts_s
    if case.view.done and lasts_s is not None:
        lasted_s = float(case.view.loop_end_s.max() - case.view.all_start_s.min())
        if lasted_s < ENDED_EARLY * lasts_s:
            return "invalid", {"variant": "early", "lasted_s": lasted_s, "asked_s": lasts_s}
    if not case.view.done or case.count >= requests:
        return None
    return "invalid", {"sent": case.count, "asked": requests}


def _server_lost(case: Case) -> Finding | None:
    last_first = sorted(case.view.measured, key=lambda t: (t.start_s, t.index), reverse=True)
    unanswered = (
        trace.outcome == "error" and trace.status is None and not trace.timed_out
        for trace in last_first
    )
    lost = sum(takewhile(bool, unanswered))
    if not case.view.done or lost < LOST:
        return None
    return "invalid", {"lost": lost, "requests": case.count}


def _timed_out(case: Case) -> Finding | None:
    """Requests that timed out, where for WAITED_OUT of the span nothing else was in flight."""
    late = [trace for trace in case.view.measured if _waited_in_vain(trace)]
    span = case.view.span
    if not late or span is None or span.length_s <= 0 or not case.view.done:
        return None
    every = [*case.view.measured, *case.view.beside]
    alone_s = _covered_s(every) - _covered_s(
        [trace for trace in every if not _waited_in_vain(trace)]
    )
    share = min(1.0, alone_s / span.length_s)
    if share < WAITED_OUT:
        return None
    tokens_per_s = case.value("output_tokens_per_s")
    return "flag", {
        "late": len(late),
        "requests": case.count,
        "timeout_s": case.view.cell.load.timeout_s,
        "alone_fraction": share,
        "tokens_per_s": tokens_per_s,
        "without_per_s": None if tokens_per_s is None or share >= 1 else tokens_per_s / (1 - share),
    }


def _waited_in_vain(trace: Trace) -> bool:
    return bool(trace.timed_out) and trace.outcome == "error"


def _covered_s(traces: list[Trace]) -> float:
    """The time in s during which at least one of `traces` was in flight."""
    covered, until_s = 0.0, -np.inf
    for start_s, end_s in sorted((trace.start_s, trace.end_s) for trace in traces):
        covered += max(0.0, end_s - max(start_s, until_s))
        until_s = max(until_s, end_s)
    return covered


def _short_outputs(case: Case) -> Finding | None:
    if case.view.cell.workload.natural_end:
        return None
    short = [pair for pair in _outputs(case) if pair[0] < pair[1]]
    if not short:
        return None
    shortest, requested = min(short)
    return "flag", {
        "short": len(short),
        "answers": len(case.view.done),
        "shortest_tokens": shortest,
        "asked_tokens": requested,
    }


def _long_outputs(case: Case) -> Finding | None:
    long = [pair for pair in _outputs(case) if pair[0] > pair[1]]
    if not long:
        return None
    longest, requested = max(long)
    return "flag", {
        "long": len(long),
        "answers": len(case.view.done),
        "longest_tokens": longest,
        "asked_tokens": requested,
    }


def _outputs(case: Case) -> list[tuple[int, int]]:
    """The output tokens of each answer that has a count, and how many were requested of it."""
    counts = ((trace.output_tokens, trace.output_tokens_asked) for trace in case.view.done)
    return [(count, goal) for count, goal in counts if count is not None]


def _prompt_tokens(case: Case) -> Finding | None:
    pairs = [(t.prompt_tokens, t.prompt_tokens_asked) for t in case.view.done]
    other = [(count, goal) for count, goal in pairs if count is not None and count != goal]
    if not other:
        return None
    far = any(abs(count - goal) > PROMPT_TOLERANCE * goal for count, goal in other)
    counts = sorted({count for count, _ in other})
    severity: Severity = "flag" if far else "note"
    if len({goal for _, goal in other}) > 1:
        count, goal = max(other, key=lambda pair: abs(pair[0] - pair[1]) / pair[1])
        return severity, {
            "variant": "spread",
            "counted_tokens": count,
            "asked_tokens": goal,
            "other": len(other),
            "requests": len(pairs),
        }
    return severity, {
        "variant": "alike" if len(counts) == 1 else "several",
        "least_tokens": counts[0],
        "most_tokens": counts[-1],
        "asked_tokens": other[0][1],
        "other": len(other),
        "requests": len(pairs),
    }


def _usage_missing(case: Case) -> Finding | None:
    missing = sum(t.prompt_tokens is None or t.output_tokens is None for t in case.view.done)
    if not missing:
        return None
    values = {"missing": missing, "answers": len(case.view.done)}
    sources = Counter(trace.tokens_by for trace in case.view.done)
    if sources["usage"] == len(case.view.done):
        return "flag", {"variant": "prompts", **values}
    counts = {f"by_{source}": sources[source] for source in ("ids", "chunks", "text")}
    return "flag", {"variant": "counted", **values, **counts, "unknown": sources[None]}


def _done_missing(case: Case) -> Finding | None:
    missing = sum(trace.done is False for trace in case.view.done)
    return ("note", {"missing": missing, "streams": len(case.view.done)}) if missing else None


def _left_open(case: Case) -> Finding | None:
    """Answers that counted at their [DONE], although their bodies did not end."""
    open_ = sum(bool(trace.timed_out) for trace in case.view.done)
    return ("note", {"open": open_, "streams": len(case.view.done)}) if open_ else None


def _reasoning_not_streamed(case: Case) -> Finding | None:
    hidden = [
        trace.reasoning_tokens
        for trace in case.view.done
        if trace.reasoning_tokens and trace.reasoning_chunks == 0
    ]
    if not hidden:
        return None
    return "note", {
        "hidden": len(hidden),
        "answers": len(case.view.done),
        "most_tokens": max(hidden),
    }


def _thoughts_only(case: Case) -> Finding | None:
    answers = case.view.done
    bare = sum(bool(trace.reasoning_chunks) and trace.ttfo_s is None for trace in answers)
    return ("note", {"bare": bare, "answers": len(answers)}) if bare else None


def _refused(case: Case) -> Finding | None:
    refused = sum(bool(trace.refused) for trace in case.view.done)
    return ("note", {"refused": refused, "answers": len(case.view.done)}) if refused else None


def _reconnected(case: Case) -> Finding | None:
    again = sum(bool(trace.reconnected) for trace in case.view.measured)
    return ("note", {"again": again, "requests": case.count}) if again else None


def _not_streamed(case: Case) -> Finding | None:
    view = case.view
    whole = int(np.sum((view.first_s == view.last_s) & (view.streamed_tokens > 1)))
    return ("flag", {"whole": whole, "answers": len(view.done)}) if whole else None


def _several_tokens_per_chunk(case: Case) -> Finding | None:
    view = case.view
    first = np.diff(view.chunk_owner, prepend=-1) != 0
    later = view.chunk_tokens[~first & ~np.isnan(view.chunk_tokens)]
    if len(later) == 0 or (shared := float(np.mean(later > 1))) < SHARED_CHUNKS_NOTE:
        return None
    severity: Severity = "flag" if shared >= SHARED_CHUNKS_FLAG else "note"
    return severity, {"shared_fraction": shared, "tokens_per_chunk": float(later.mean())}


def _tokens_per_chunk_unknown(case: Case) -> Finding | None:
    view = case.view
    rows = np.unique(view.chunk_owner[np.isnan(view.chunk_tokens)])
    if len(rows) == 0:
        return None
    average = float((view.output_tokens[rows] / view.chunks[rows]).mean())
    values = {"unknown": len(rows), "answers": len(view.done)}
    if np.isnan(average):
        return "note", {"variant": "uncounted", **values}
    severity: Severity = "flag" if average >= TOKENS_PER_CHUNK else "note"
    return severity, {**values, "tokens_per_chunk": average}


def _chunks_together(case: Case) -> Finding | None:
    gaps = case.view.icl.values
    if len(gaps) == 0 or (share := float(np.mean(gaps <= 0))) < ZERO_GAPS:
        return None
    return "flag", {"together_fraction": share}


RULES = (
    Rule(
        "nothing_succeeded",
        "no success",
        "There is nothing to measure.",
        _nothing_succeeded,
    ),
    Rule(
        "errors",
        "one failure; invalid above load.max_error_rate",
        "A failed request frees its place early, and the others run in a smaller batch.",
        _errors,
    ),
    Rule(
        "given_up",
        "one request that was not sent",
        "The load ended before its time, so that the requests that were sent are no fair sample.",
        _given_up,
    ),
    Rule(
        "server_lost",
        f"the last {LOST} requests without an HTTP answer",
        "A server that breaks down was in trouble before; one request may miss it by chance.",
        _server_lost,
    ),
    Rule(
        "timed_out",
        f"nothing but requests that timed out in flight for {percent(WAITED_OUT)} of the span",
        "Throughput is tokens over the span, of which that much is waiting for nothing.",
        _timed_out,
    ),
    Rule(
        "short_outputs",
        "one answer shorter than asked",
        "An answer that ends early makes E2E short and leaves its place in the batch empty.",
        _short_outputs,
    ),
    Rule(
        "long_outputs",
        "one answer longer than asked",
        "The server did more work than the load asks for.",
        _long_outputs,
    ),
    Rule(
        "prompt_tokens",
        f"one prompt counted otherwise than asked; a flag from {percent(PROMPT_TOLERANCE)} off",
        "Prefill grows with the prompt, so TTFT is off by about the same share.",
        _prompt_tokens,
    ),
    Rule(
        "usage_missing",
        "one answer without usage",
        "Tokens counted by chunks would be wrong where a chunk holds more or less than one.",
        _usage_missing,
    ),
    Rule(
        "done_missing",
        "one counted answer without [DONE]",
        "The API's own sign of the end is missing, and the end of the HTTP body stands for it.",
        _done_missing,
    ),
    Rule(
        "left_open",
        "one counted answer whose body did not end after [DONE]",
        "The wait for its end, and a new connection for the next request, are work for the client.",
        _left_open,
    ),
    Rule(
        "reasoning_not_streamed",
        "one answer whose usage counts thoughts of which no chunk came",
        "The first chunk then comes after the thinking, and not after the prefill.",
        _reasoning_not_streamed,
    ),
    Rule(
        "thoughts_only",
        "one answer that holds thoughts and nothing else",
        "Its tokens are timed, and no reader got an answer: there is no time to that.",
        _thoughts_only,
    ),
    Rule(
        "refused",
        "one answer that came as a refusal",
        "A refusal is text of the server, which may be ready before the model has said a word.",
        _refused,
    ),
    Rule(
        "reconnected",
        "one request that was sent a second time",
        "Opening a connection takes a round trip or more, which other requests did not wait for.",
        _reconnected,
    ),
    Rule(
        "not_streamed",
        "one answer of several tokens in a single chunk or read",
        "The first token has the same time as the last.",
        _not_streamed,
    ),
    Rule(
        "several_tokens_per_chunk",
        f"{percent(SHARED_CHUNKS_NOTE)} of the chunks after the first hold more than one; a flag "
        f"from {percent(SHARED_CHUNKS_FLAG)}",
        "From half of the chunks on, the median gap between chunks is no longer that of a token.",
        _several_tokens_per_chunk,
    ),
    Rule(
        "tokens_per_chunk_unknown",
        f"one answer whose chunks cannot be counted in tokens; a flag from {TOKENS_PER_CHUNK} "
        "tokens per chunk on average",
        "At 1.5 tokens a chunk, half of the chunks may hold two.",
        _tokens_per_chunk_unknown,
    ),
    Rule(
        "chunks_together",
        f"{percent(ZERO_GAPS)} of the gaps between chunks are 0",
        "From there on p90 and above are gaps between bundles, and p50 follows.",
        _chunks_together,
    ),
)
