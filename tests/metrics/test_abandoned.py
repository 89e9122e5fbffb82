"""Requests whose users left: how many, what came to them, and what the server wrote for nobody."""

from builders import a_cell, a_trace, samples_of

from journal.metrics.table import metrics
from journal.records.experiment import Load
from journal.records.request import Trace
from journal.records.samples import Readings, Samples, ServerReading

NAMES = ("abandoned", "abandoned_fraction", "abandoned_tokens", "unread_tokens")
WHOLE = a_trace(0, chunk_s=(0.2, 0.4, 0.6, 0.8), chunk_tokens=(1, 1, 1, 1), output_tokens=4)
LEFT = a_trace(1, outcome="abandoned", chunk_s=(0.2, 0.4), chunk_tokens=(2, 3))
UNCOUNTED = a_trace(2, outcome="abandoned", chunk_s=(0.2, 0.4, 0.6))
WARMUP = a_trace(3, warmup=True, chunk_s=(0.2,), chunk_tokens=(7,))
LOAD = Load(requests=24, abandon_after_s=0.9)


def found(
    *traces: Trace, load: Load = LOAD, written: tuple[float | None, ...] = (10.0, 40.0)
) -> list[float | None]:
    server = tuple(
        ServerReading(at_s=2.0 * k - 1, output_tokens_total=total)
        for k, total in enumerate(written)
    )
    samples: Samples = samples_of(a_cell(load=load), *traces, readings=Readings(server=server))
    figures = metrics(samples)
    return [figures[name].value for name in NAMES]


def test_users_that_leave_are_counted_with_what_came_to_them() -> None:
    """4 + 5 + 3 + 7 of the 30 tokens that the server wrote were received."""
    assert found(WHOLE, LEFT, UNCOUNTED, WARMUP) == [2, 2 / 3, 5 + 3, 30 - 19]


def test_what_came_in_excess_of_what_was_written_is_no_negative_number() -> None:
    assert found(WHOLE, LEFT, UNCOUNTED, written=(10.0, 20.0)) == [2, 2 / 3, 8, 0]


def test_where_nobody_left_no_token_was_for_nobody() -> None:
    assert found(WHOLE) == [0, 0, 0, None]


def test_where_users_do_not_leave_there_is_no_such_number() -> None:
    assert found(WHOLE, LEFT, load=Load(requests=24)) == [None] * 4


def test_what_was_not_counted_is_absent() -> None:
    assert found(LEFT, written=(None, None)) == [1, 1, 5, None]
    assert found() == [0, None, 0, None]
    unknown = a_trace(4, chunk_s=(0.2,))
    assert found(unknown, LEFT) == [1, 1 / 2, 5, None]
