"""Requests that were alone, and those that waited, worked out by hand."""

from dataclasses import replace

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.table import metrics
from journal.records.request import Trace
from journal.records.samples import Readings, ServerReading

NAMES = ("ttft_alone_s", "tpot_alone_s")


def warm(index: int, at_s: float, *after_s: float, **changes: object) -> Trace:
    """A request of the warm-up that was sent at `at_s`; its chunks came so long after, of two
    tokens the first and of three each later one."""
    chunk_s = tuple(at_s + after for after in after_s)
    given = {"end_s": max((at_s, *chunk_s)), "chunk_tokens": (2, *[3] * (len(chunk_s) - 1))}
    sent = {"start_s": at_s, "scheduled_s": at_s, "chunk_s": chunk_s}
    return a_trace(index, warmup=True, **{**given, **sent, **changes})


def alone(*traces: Trace, begin_s: float = 8.0) -> list[float | None]:
    load = a_trace(90, start_s=begin_s, scheduled_s=begin_s, chunk_s=(begin_s + 1,), end_s=99.0)
    figures = metrics(samples_of(a_cell(), *traces, load))
    return [figures[name].value for name in NAMES]


def test_the_quickest_request_of_the_warm_up_was_alone() -> None:
    """One waits 0.3 s and takes 1.2 s for six tokens after the first chunk, the other 0.2 s and
    0.9 s for three."""
    slow, quick = warm(0, 1.0, 0.3, 0.9, 1.5), warm(1, 4.0, 0.2, 1.1)
    assert alone(slow, quick) == pytest.approx([0.2, 0.2])
    assert alone(slow) == pytest.approx([0.3, 0.2])
    assert alone(quick) == pytest.approx([0.2, 0.3])


def test_requests_that_were_not_alone_or_not_answered_are_left_out() -> None:
    slow, quick = warm(0, 1.0, 0.3, 0.9), warm(1, 4.0, 0.1, 0.2)
    own = alone(slow)
    assert alone(slow, quick, begin_s=quick.end_s) == alone(quick)
    for other in (
        replace(quick, end_s=8.1),  # a filler beside the load
        replace(quick, outcome="error"),
        replace(quick, chunk_s=(), chunk_tokens=()),
        replace(quick, warmup=False, start_s=8.5),
    ):
        assert alone(slow, other) == own
    assert alone() == [None, None]


def test_the_tokens_after_the_first_chunk_must_be_known() -> None:
    assert alone(warm(0, 1.0, 0.3, 0.9, chunk_tokens=None))[1] is None
    assert alone(warm(0, 1.0, 0.3))[1] is None


def test_the_queue_of_the_server_is_the_mean_of_its_readings() -> None:
    server = tuple(ServerReading(at_s=0.2 * k, waiting=2.0 * k) for k in range(5))
    figures = metrics(samples_of(a_cell(), a_trace(), readings=Readings(server=server)))
    assert figures["server_waiting_mean"].value == 4
