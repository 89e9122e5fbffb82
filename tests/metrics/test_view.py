"""The arrays of a run: streamed tokens, the median prompt, and the steady state of both loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.view import View
from journal.metrics.window import Span, steady_open
from journal.records.experiment import Load
from journal.records.workload import Workload

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("thoughts", "chunks", "streamed"),
    [(30, 0, 70), (30, 5, 100), (None, 0, 100), (0, 0, 100), (100, 0, 100), (99, 0, 1)],
)
def test_thoughts_that_were_counted_and_not_streamed_are_no_tokens_of_the_stream(
    thoughts: int | None, chunks: int, streamed: int
) -> None:
    trace = a_trace(output_tokens=100, reasoning_tokens=thoughts, reasoning_chunks=chunks)
    unknown = a_trace(1, output_tokens=None, reasoning_tokens=thoughts, reasoning_chunks=chunks)
    found = View(samples_of(a_cell(), trace, unknown)).streamed_tokens
    assert found == pytest.approx([streamed, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "median"),
    [
        ({}, 64),
        ({"load": Load(requests=24, length_spread=0.3)}, 20),
        ({"workload": Workload(turns=3)}, 20),
    ],
    ids=["equal", "a spread", "conversations"],
)
def test_the_median_prompt_is_that_of_the_cell_where_all_are_equal(
    changes: dict[str, object], median: int
) -> None:
    """Of four the second, of seven the fourth."""
    traces = [a_trace(k, prompt_tokens_asked=10 * (k + 1)) for k in range(7)]
    cell = a_cell(**changes)
    assert View(samples_of(cell, *traces[:4])).median_prompt_tokens == median
    of_seven = View(samples_of(cell, *traces)).median_prompt_tokens
    assert of_seven == (40 if changes else median)
    assert View(samples_of(cell)).median_prompt_tokens == 64


def test_the_steady_state_of_an_open_loop_is_that_of_its_requests(run: Run) -> None:
    view = View(run(rate=20.0, requests=60).samples())
    assert view.steady == steady_open(view.all_start_s, view.all_end_s) is not None


def test_the_steady_state_of_a_closed_loop_lies_within_its_measured_requests(run: Run) -> None:
    view = View(run(batch=4, requests=20, convoy=False).samples())
    measured = [trace for trace in view.samples.traces if not trace.warmup]
    first_s = min(trace.start_s for trace in measured)
    last_s = max(trace.end_s for trace in measured)
    assert isinstance(view.steady, Span)
    assert first_s <= view.steady.start_s < view.steady.end_s <= last_s
    assert len(view.beside) > 0, "fillers keep the loop full beyond both ends"
