"""Doubts about what the server answered: failures, lengths, and how the answers were cut up."""

from collections import Counter
from itertools import takewhile

import numpy as np

from journal.doubts.rule import Case, Finding, Rule, some
from journal.records.request import Trace
from journal.units import number, percent

PROMPT_TOLERANCE = 0.05
TOKENS_PER_CHUNK = 1.5
SHARED_CHUNKS_NOTE = 0.01
SHARED_CHUNKS_FLAG = 0.5
ZERO_GAPS = 0.1
LOST = 3  # requests at the end that found no server
EXCERPT = 160  # characters of a server's own words


def _commonest_error(traces: list[Trace]) -> str:
    words = Counter(trace.error or "no reason given" for trace in traces).most_common(1)[0][0]
    plain = " ".join(words.split())
    return plain if len(plain) <= EXCERPT else plain[:EXCERPT] + "..."


def _nothing_succeeded(case: Case) -> Finding | None:
    if case.view.done:
        return None
    if not case.view.measured:
        if broken := [trace for trace in case.view.samples.traces if trace.error]:
            return "invalid", (
                f"Nothing was measured, because the warm-up failed ({_commonest_error(broken)}): "
                "mend the cause, and run again."
            )
        return "invalid", "No request was measured: ask for at least one, and run again."
    reason = _commonest_error(list(case.view.measured))
    return "invalid", (
        f"Not one of {case.count} requests succeeded (most often: {reason}): mend the cause, which "
        "the server's log may tell, and run again."
    )


def _errors(case: Case) -> Finding | None:
    failed = [trace for trace in case.view.measured if trace.outcome == "error"]
    if not failed or not case.view.done:
        return None
    share, allowed = len(failed) / case.count, case.view.cell.load.max_error_rate
    what = (
        f"{some(len(failed), case.count, 'requests')} failed (most often: "
        f"{_commonest_error(failed)})"
    )
    if share > allowed:
        return "invalid", (
            f"{what}, more than the {percent(allowed)} that load.max_error_rate allows, and what "
            "is left is no fair sample: mend the cause and run again."
        )
    return "flag", (
        f"{what}; they count in no latency and add no tokens, but while they failed the others "
        "had the server to themselves: mend the cause and run again."
    )


def _given_up(case: Case) -> Finding | None:
    asked = case.view.cell.load.requests
    if not case.view.done or case.count >= asked:
        return None
    return "invalid", (
        f"Only {some(case.count, asked, 'requests')} were sent, because too many of them failed or "
        "the server stood still: mend the cause and run again."
    )


def _server_lost(case: Case) -> Finding | None:
    last_first = sorted(case.view.measured, key=lambda t: (t.start_s, t.index), reverse=True)
    unheard = (
        trace.outcome == "error" and trace.status is None and not trace.timed_out
        for trace in last_first
    )
    lost = sum(takewhile(bool, unheard))
    if not case.view.done or lost < LOST:
        return None
    return "invalid", (
        f"The last {lost} of {case.count} requests found no server, which must have ended or been "
        "cut off while it was measured: look into its log for the cause, and run again."
    )


def _short_outputs(case: Case) -> Finding | None:
    found = [
        trace.output_tokens
        for trace in case.view.done
        if trace.output_tokens is not None and trace.output_tokens < trace.output_tokens_asked
    ]
    if not found:
        return None
    return "flag", (
        f"{some(len(found), len(case.view.done), 'answers')} were shorter than asked (the shortest "
        f"has {min(found)} tokens, asked were {case.view.cell.output_tokens}), which makes "
        "requests quick and batches thin: use a server that honours ignore_eos, or ask for fewer "
        "output tokens."
    )


def _long_outputs(case: Case) -> Finding | None:
    found = [
        trace.output_tokens
        for trace in case.view.done
        if trace.output_tokens is not None and trace.output_tokens > trace.output_tokens_asked
    ]
    if not found:
        return None
    return "flag", (
        f"{some(len(found), len(case.view.done), 'answers')} were longer than asked (the longest "
        f"has {max(found)} tokens, asked were {case.view.cell.output_tokens}): the server does not "
        "keep to max_tokens, so compare with other servers by tokens per second only."
    )


def _prompt_tokens(case: Case) -> Finding | None:
    pairs = [(t.prompt_tokens, t.prompt_tokens_asked) for t in case.view.done]
    other = [(got, asked) for got, asked in pairs if got is not None and got != asked]
    if not other:
        return None
    far = any(abs(got - asked) > PROMPT_TOLERANCE * asked for got, asked in other)
    counts = sorted({got for got, _ in other})
    shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return "flag" if far else "note", (
        f"The server counted {shown} prompt tokens where {other[0][1]} were asked, in "
        f"{some(len(other), len(pairs), 'requests')}; the metrics use its count: look for a chat "
        "template or a token that it adds, or use a server that takes token ids."
    )


def _usage_missing(case: Case) -> Finding | None:
    missing = sum(t.prompt_tokens is None or t.output_tokens is None for t in case.view.done)
    if not missing:
        return None
    return "flag", (
        f"The server gave no usage in {some(missing, len(case.view.done), 'answers')}: their "
        "tokens are known where token ids came with each chunk, and the rates and sums of tokens "
        "that would be guesses are absent; use a server that honours "
        "stream_options.include_usage."
    )


def _done_missing(case: Case) -> Finding | None:
    missing = sum(trace.done is False for trace in case.view.done)
    if not missing:
        return None
    return "note", (
        f"{some(missing, len(case.view.done), 'streams')} ended without [DONE]; each was complete "
        "as HTTP and had its finish reason, so it counts: a proxy that cuts streams would look "
        "otherwise, and clients that wait for [DONE] may not take this server's."
    )


def _reasoning_not_streamed(case: Case) -> Finding | None:
    hidden = [
        trace.reasoning_tokens
        for trace in case.view.done
        if trace.reasoning_tokens and trace.reasoning_chunks == 0
    ]
    if not hidden:
        return None
    return "note", (
        f"{some(len(hidden), len(case.view.done), 'answers')} had thoughts that were counted and "
        f"not streamed (up to {max(hidden)} tokens), so TTFT holds the time to think, and TPOT "
        "leaves these tokens out: compare with servers that stream thoughts by ttfo_s."
    )


def _reconnected(case: Case) -> Finding | None:
    again = sum(bool(trace.reconnected) for trace in case.view.measured)
    if not again:
        return None
    return "note", (
        f"{some(again, case.count, 'requests')} met a kept connection that the server had closed "
        "and were sent once more on a fresh one, which their latency includes: set the server's "
        "keep-alive time above the gaps between requests."
    )


def _not_streamed(case: Case) -> Finding | None:
    view = case.view
    whole = int(np.sum((view.first_s == view.last_s) & (view.streamed_tokens > 1)))
    if not whole:
        return None
    return "flag", (
        f"{some(whole, len(view.done), 'answers')} came in one piece, so their TTFT is that of "
        "the last token and they have no time per token: turn off buffering in the server or in "
        "the proxy before it."
    )


def _several_tokens_per_chunk(case: Case) -> Finding | None:
    view = case.view
    first = np.diff(view.chunk_owner, prepend=-1) != 0
    later = view.chunk_tokens[~first & ~np.isnan(view.chunk_tokens)]
    if len(later) == 0 or (shared := float(np.mean(later > 1))) < SHARED_CHUNKS_NOTE:
        return None
    return "flag" if shared >= SHARED_CHUNKS_FLAG else "note", (
        f"{percent(shared)} of the chunks hold several tokens ({number(float(later.mean()))} on "
        "average), so the gap per chunk (icl_s) and the gap per token (itl_s, each chunk's gap "
        "shared evenly among its tokens) are different things: compare servers by itl_s or "
        "tpot_s, and give icl_s for what a reader sees."
    )


def _tokens_per_chunk_unknown(case: Case) -> Finding | None:
    view = case.view
    unknown = np.array([bool(np.isnan(count)) for count in view.chunk_tokens], dtype=bool)
    rows = np.unique(view.chunk_owner[unknown])
    if len(rows) == 0:
        return None
    average = float((view.output_tokens[rows] / view.chunks[rows]).mean())
    many = average >= TOKENS_PER_CHUNK
    shown = "" if np.isnan(average) else f", {number(average)} on average,"
    return "flag" if many else "note", (
        f"The server does not tell how many tokens each chunk holds{shown} in "
        f"{some(len(rows), len(view.done), 'answers')}; the gap per token (itl_s) leaves these "
        "out, and the gap per chunk (icl_s) is not it: read tpot_s, or use a server with "
        "stream_options.continuous_usage_stats."
    )


def _chunks_together(case: Case) -> Finding | None:
    gaps = case.view.icl.values
    if len(gaps) == 0 or (share := float(np.mean(gaps <= 0))) < ZERO_GAPS:
        return None
    return "flag", (
        f"{percent(share)} of the chunks came together with the one before, in one read, so gaps "
        "show how the way here bundles them and not how the server works: turn off buffering in "
        "the proxy, or compare by tpot_s."
    )


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
        "A failed request frees its place early, and the others run in a thinner batch.",
        _errors,
    ),
    Rule(
        "given_up",
        "one request that was not sent",
        "The load was ended before its time, so that what is left is no fair sample.",
        _given_up,
    ),
    Rule(
        "server_lost",
        f"the last {LOST} requests without an HTTP answer",
        "A server that breaks down was not well before; one request may find none by chance.",
        _server_lost,
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
        "The work done is not the work asked for.",
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
        "Tokens counted by chunks would be wrong wherever a chunk holds more or less than one.",
        _usage_missing,
    ),
    Rule(
        "done_missing",
        "one counted answer without [DONE]",
        "The API's own sign of the end is missing, and the frame of the HTTP body stands for it.",
        _done_missing,
    ),
    Rule(
        "reasoning_not_streamed",
        "one answer whose usage counts thoughts of which no chunk came",
        "The first chunk then comes after the thinking, and not after the prefill.",
        _reasoning_not_streamed,
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
        "The first token cannot be told from the last.",
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
