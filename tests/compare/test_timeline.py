"""Timelines hold the times of the traces, whatever of them is known."""

from dataclasses import replace

import pytest
from builders import a_record, a_trace
from hypothesis import given
from hypothesis import strategies as st

from journal.compare.timeline import MOST_ROWS, timeline, told_runs
from journal.records.request import Trace

CHUNKS_S = (10.3, 10.4, 10.6)


def told(**changes: object) -> Trace:
    given = {"scheduled_s": 10.0, "start_s": 10.0, "end_s": 10.7, "chunk_s": CHUNKS_S}
    return a_trace(**{"output_tokens": 3, "chunk_tokens": None, **given, **changes})


def parts(trace: Trace) -> list[tuple[str, float, float]]:
    made = timeline([trace])
    assert made is not None
    (row,) = made.rows
    return [(each.part, round(each.start_s, 6), round(each.end_s, 6)) for each in row.parts]


def test_the_parts_of_a_request_are_those_that_its_server_tells() -> None:
    trace = told(server_queue_s=0.05, server_prefill_s=0.2)
    assert parts(trace) == [
        ("queue", 0.0, 0.05),
        ("prefill", 0.05, 0.25),
        ("rest", 0.25, 0.3),
        ("decode", 0.3, 0.6),
    ]


def test_a_server_that_tells_no_parts_has_one_until_the_first_token() -> None:
    assert parts(told()) == [("unread", 0.0, 0.3), ("decode", 0.3, 0.6)]


def test_a_request_that_was_sent_late_was_due_before() -> None:
    assert parts(told(scheduled_s=9.5))[:2] == [("unsent", 0.0, 0.5), ("unread", 0.5, 0.8)]


def test_lengths_that_are_longer_than_the_time_there_was_end_with_it() -> None:
    trace = told(server_queue_s=0.1, server_prefill_s=9.0)
    assert parts(trace)[:2] == [("queue", 0.0, 0.1), ("prefill", 0.1, 0.3)]


@pytest.mark.parametrize(
    ("changes", "by_token"),
    [
        ({}, True),
        ({"chunk_tokens": (1, 1, 1)}, True),
        ({"chunk_tokens": (1, 2, 1), "output_tokens": 4}, False),
        ({"output_tokens": None, "finish_reason": "stop"}, False),
        ({"output_tokens": 5}, False),
    ],
)
def test_a_tick_is_a_token_only_where_that_is_known(
    changes: dict[str, object], by_token: bool
) -> None:
    made = timeline([told(**changes)])
    assert made is not None and made.rows[0].by_token is by_token


def test_requests_without_a_token_are_left_out_and_more_than_fit_are_counted() -> None:
    assert timeline([told(chunk_s=(), outcome="error")]) is None
    made = timeline([replace(told(), index=k) for k in reversed(range(MOST_ROWS + 5))])
    assert made is not None and made.in_flight == MOST_ROWS + 5
    assert [row.index for row in made.rows] == list(range(MOST_ROWS))


times = st.floats(0, 5)


@given(times, times, st.none() | times, st.none() | times, st.lists(times, min_size=1, max_size=9))
def test_parts_follow_each_other_from_due_to_the_last_token(
    late: float, ttft: float, queue: float | None, prefill: float | None, gaps: list[float]
) -> None:
    chunks_s = [late + ttft]
    for gap in gaps:
        chunks_s.append(chunks_s[-1] + gap)
    trace = told(
        **{"scheduled_s": 0.0, "start_s": late, "chunk_s": tuple(chunks_s)},
        **{"server_queue_s": queue, "server_prefill_s": prefill},
    )
    made = timeline([trace])
    assert made is not None
    ends = [0.0]
    for each in made.rows[0].parts:
        assert each.start_s == ends[-1] < each.end_s
        ends.append(each.end_s)
    assert ends[-1] == pytest.approx(chunks_s[-1])


def test_the_valid_runs_at_the_least_and_the_greatest_load_are_told() -> None:
    batches = (1, 4, 16, 64)
    records = [a_record("m", batch, 128, number=batch) for batch in batches]
    records[-1] = replace(records[-1], status="flagged")
    assert [run.cell.batch for run in told_runs(records)] == [1, 16]
    assert [run.cell.batch for run in told_runs(records[:1])] == [1]
    others = [a_record(f"m{k}", 1, 128, number=k) for k in range(4)]
    assert [run.cell.model for run in told_runs(others)] == ["m0", "m1"]
    assert told_runs(records[-1:]) == []
