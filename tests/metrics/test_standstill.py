"""Standstills beside long prompts, in streams whose every chunk is known."""

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.table import metrics
from journal.records.samples import Samples
from journal.records.workload import Part, Workload

MIX = Workload(mix=(Part(prompt_tokens=10, output_tokens=4),))


def beside(still_s: list[float], *, workload: Workload = MIX) -> Samples:
    """Short requests that write every 0.1 s from 0 on, but for a gap of `still_s` each while a long
    prompt is read: that of request n from 10 n on."""
    traces = []
    for number, gap_s in enumerate(still_s):
        begin_s = 10.0 * number
        before = [begin_s + 0.1 * n for n in range(1, 6)]
        after = [before[-1] + gap_s + 0.1 * n for n in range(4)]
        for lane in (0, 1, 2):
            held = [*before, *after] if lane == 0 else [*before, *(t - gap_s + 0.1 for t in after)]
            traces.append(
                a_trace(
                    len(traces),
                    start_s=begin_s,
                    scheduled_s=begin_s,
                    end_s=held[-1],
                    chunk_s=tuple(held),
                    prompt_tokens=10,
                )
            )
        sent_s = before[-1] + 0.01
        first_s = sent_s + gap_s - 0.02
        traces.append(
            a_trace(
                len(traces),
                start_s=sent_s,
                scheduled_s=sent_s,
                end_s=first_s + 5.0,
                chunk_s=(first_s, first_s + 5.0),
                prompt_tokens=100,
            )
        )
    return samples_of(a_cell(batch=4, workload=workload), *traces)


def test_the_longest_gap_of_any_other_stream_counts() -> None:
    figures = metrics(beside([0.5, 0.7, 0.9]))
    assert figures["standstill_median_s"].value == pytest.approx(0.7)
    assert figures["standstill_most_s"].value == pytest.approx(0.9)
    assert figures["standstill_median_s"].count == 3


def test_few_long_prompts_say_nothing() -> None:
    assert metrics(beside([0.5, 0.7]))["standstill_median_s"].value is None


def test_prompts_of_one_length_have_none() -> None:
    assert metrics(beside([0.5] * 4, workload=Workload()))["standstill_most_s"].value is None
