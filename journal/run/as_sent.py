"""The load as it was sent: the hash of its bytes, and the lengths that only the server knows."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from journal.plan.prompts import Endless
from journal.records.cell import Cell
from journal.records.request import Request, Trace

SENT_HASH = "sent_sha256"  # its name in the environment of a run


def sent_hash(prepared: Sequence[Request], traces: Sequence[Trace]) -> str:
    """The SHA-256, in hex, of the bodies of the requests that were sent, in the order of their
    index, each after its length; of a body that was made during the run, of its own SHA-256. Two
    runs of one hash sent the same bytes."""
    digest, sent = hashlib.sha256(), {trace.index: trace.sent_sha256 for trace in traces}
    for request in prepared:
        if request.index in sent:
            made = sent[request.index]
            body = request.content if made is None else bytes.fromhex(made)
            digest.update(len(body).to_bytes(8))
            digest.update(body)
    return digest.hexdigest()


def all_sent(
    prepared: Sequence[Request], more: Endless | None, traces: Sequence[Trace]
) -> list[Request]:
    """The prepared requests, and those of `traces` that were drawn while the load lasted."""
    drawn = (trace.index for trace in traces if more is not None and trace.index >= more.first)
    return [*prepared, *(more.request(index) for index in drawn if more is not None)]


def with_count(cell: Cell, traces: Sequence[Trace]) -> Cell:
    """The cell with the number of its requests, where a time limited them."""
    if cell.lasts_s is None:
        return cell
    count = max(1, sum(not trace.warmup for trace in traces))
    return replace(cell, load=replace(cell.load, requests=count))


def counted_by_server(cell: Cell, traces: tuple[Trace, ...]) -> tuple[Cell, tuple[Trace, ...]]:
    """The cell and the traces of prompts of one's own with the tokens that the server counted in
    them in the place of estimates; others as they are."""
    if not cell.workload.is_own:
        return cell, traces
    known = [t.prompt_tokens for t in traces if not t.warmup and t.prompt_tokens is not None]
    if known:
        cell = replace(cell, prompt_tokens=sorted(known)[(len(known) - 1) // 2])
    counted = (
        trace
        if trace.warmup or trace.prompt_tokens is None
        else replace(trace, prompt_tokens_asked=trace.prompt_tokens)
        for trace in traces
    )
    return cell, tuple(counted)
