"""Answers that were held back on their way, by each of the three things that tell it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.held_back import READINGS, REQUESTS, Holding, holding
from journal.records.request import Trace
from journal.records.samples import Readings, Samples, ServerReading

Run = Callable[..., Any]
Edited = Callable[[Samples, Callable[[Trace], Trace]], Samples]


def held(trace: Trace, share: float) -> Trace:
    """The trace of an answer, of whose tokens' time so much lies before the first chunk."""
    first_s, last_s = trace.chunk_s[0], trace.chunk_s[-1]
    here_s = tuple(at + share * (last_s - at) for at in trace.chunk_s)
    return replace(trace, chunk_s=here_s, server_decode_s=last_s - first_s)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_the_servers_own_time_tells_how_much_was_held(
    run: Run, edited: Edited, share: float
) -> None:
    samples = edited(run().samples(), lambda trace: held(trace, share))
    samples = replace(samples, readings=Readings())
    found = holding(samples, [trace for trace in samples.traces if not trace.warmup])
    assert found.by == "server"
    assert found.fraction == pytest.approx(share)
    waits = (0.05 + share * 0.31) / 0.36
    assert found.waits_fraction == pytest.approx(waits)
    assert found.is_held == (share > 0.5)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_a_count_that_runs_ahead_tells_it(run: Run, edited: Edited, share: float) -> None:
    """Without the server's own times, and with answers that are equally long. That a count is
    ahead by half of the time that tokens take is exact for answers held until they are over."""
    samples = run(requests=64, ttft_s=0.001, period_s=0.02).samples()
    later = edited(samples, lambda trace: replace(held(trace, share), server_decode_s=None))
    found = holding(later, [trace for trace in later.traces if not trace.warmup])
    assert found.by == "counter"
    assert found.fraction == pytest.approx(share, abs=0.06)


def test_a_count_with_too_few_readings_or_the_tokens_of_others_tells_nothing(run: Run) -> None:
    samples = run(requests=64, ttft_s=0.001, period_s=0.02).samples()
    measured = [trace for trace in samples.traces if not trace.warmup]

    def with_readings(*readings: ServerReading) -> Samples:
        return replace(samples, readings=replace(samples.readings, server=readings))

    server = samples.readings.server
    assert holding(samples, measured).by == "counter"
    few = with_readings(server[0], *server[-READINGS + 2 :])
    assert holding(few, measured) == (None, None, holding(samples, measured).waits_fraction)
    late = with_readings(*server[5:])  # none from before the first token
    assert holding(late, measured).by is None
    foreign = [replace(r, output_tokens_total=r.output_tokens_total + 20 * r.at_s) for r in server]
    assert holding(with_readings(*foreign), measured).by == "counter"  # by less than a twentieth
    foreign = [replace(r, output_tokens_total=r.output_tokens_total + 90 * r.at_s) for r in server]
    assert holding(with_readings(*foreign), measured).by is None


def test_answers_are_held_back_from_half_of_their_time_on() -> None:
    for share, waits, held_ in ((0.5, 0.5, True), (0.49, 0.9, False), (0.9, 0.49, False)):
        assert Holding(share, "server", waits).is_held == held_
    assert not Holding(None, None, 1.0).is_held


def counted(
    written: float, *, lasted_s: float = 4.0, before: float = 0.0, since: float = 0.0
) -> Samples:
    """Two answers of 40 tokens, one after the other, that come whole at their ends, while the
    server counts `written` tokens in each of `lasted_s` seconds, on top of those of `since` it
    started and less `before` the first answer."""
    traces = []
    for k in range(2):
        begin_s = 10 + k * max(lasted_s, 1.0)
        end_s = begin_s + lasted_s
        times = {"start_s": begin_s, "scheduled_s": begin_s, "end_s": end_s}
        tokens = {"output_tokens": 40, "chunk_tokens": (40,), "output_tokens_asked": 40}
        traces.append(a_trace(k, chunk_s=(end_s,), **times, **tokens))
    looks = [
        (at_s, before if at_s <= 10 else min(80.0, written * (at_s - 10)))
        for at_s in np.arange(9.0, 10.25 + 2 * max(lasted_s, 1.0), 0.25).tolist()
    ]
    server = tuple(ServerReading(at_s=at, output_tokens_total=since + n) for at, n in looks)
    return samples_of(a_cell(), *traces, readings=Readings(server=server))


def test_a_count_is_ahead_by_half_of_what_is_written_where_all_comes_at_the_end() -> None:
    """10 tokens/s: half of 40 on average, less what is read at the ends of answers themselves."""
    samples = counted(10.0)
    found = holding(samples, samples.traces)
    inside = [(at % 4.0) * 10 for at in np.arange(0, 8.25, 0.25)]
    assert found.by == "counter"
    assert found.fraction == pytest.approx(2 * np.mean(inside) * 8 / 80 / 4)
    older = counted(10.0, since=1000.0)
    assert holding(older, older.traces).fraction == pytest.approx(found.fraction)
    cut = replace(samples, readings=Readings(server=samples.readings.server[:-3]))
    assert holding(cut, cut.traces).by is None, "the last answer came after the last reading"
    foreign = counted(10.0, before=-4.1)  # more than a twentieth of 80 was written before
    assert holding(foreign, foreign.traces).by is None
    own = counted(10.0, before=-3.9)
    assert holding(own, own.traces).by == "counter"


def test_a_count_beside_answers_that_take_no_time_tells_nothing() -> None:
    samples = counted(80.0, lasted_s=0.0)
    assert holding(samples, samples.traces).by is None


def test_only_requests_beside_the_load_tell_by_their_lengths() -> None:
    """Fillers count as measured requests do, a warm-up before them and what failed do not."""
    measured, others = (traces := by_length(1.0))[1:6], traces[6:]
    begin_s = min(trace.start_s for trace in measured)
    for moved_s, outcome, by in ((0.0, "ok", "lengths"), (-99.0, "ok", None), (0.0, "error", None)):
        fillers = [
            replace(
                trace,
                warmup=True,
                outcome=outcome,
                start_s=begin_s + moved_s,
                end_s=trace.end_s - trace.start_s + begin_s + moved_s,
                chunk_s=tuple(at - trace.start_s + begin_s + moved_s for at in trace.chunk_s),
            )
            for trace in others
        ]
        found = holding(samples_of(a_cell(), *measured, *fillers), measured)
        assert found.by == by


def by_length(share: float, *, count: int = 12, per_token_s: float = 0.01) -> list[Trace]:
    """Answers of 10 to 120 tokens after prompts of two lengths, so much of each held back; each
    request goes 3 s after the one before."""
    traces = []
    for k in range(count):
        tokens, prompt = 10 * (k + 1), 100 + 50 * (k % 2)
        sent_s = 3.0 * k
        first_s = sent_s + 0.02 + prompt * 1e-4
        last_s = first_s + tokens * per_token_s
        here_s = tuple(float(at) for at in np.linspace(first_s, last_s, 5))
        times = {"start_s": sent_s, "scheduled_s": sent_s, "end_s": last_s}
        trace = a_trace(k, prompt_tokens_asked=prompt, output_tokens=tokens, **times)
        traces.append(replace(held(replace(trace, chunk_s=here_s), share), server_decode_s=None))
    return traces


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 1.0])
def test_the_lengths_of_answers_tell_it(share: float) -> None:
    traces = by_length(share)
    found = holding(samples_of(a_cell(), *traces), traces)
    assert found.by == "lengths"
    assert found.fraction == pytest.approx(share, abs=1e-6)


def test_few_answers_or_equal_ones_or_quick_long_ones_tell_nothing() -> None:
    for traces in (
        by_length(1.0, count=REQUESTS - 1),
        [replace(trace, output_tokens=50) for trace in by_length(1.0)],
        by_length(1.0, per_token_s=-1e-4),
        [replace(trace, output_tokens=None) for trace in by_length(1.0)],
    ):
        assert holding(samples_of(a_cell(), *traces), traces).by is None
    enough = by_length(1.0, count=REQUESTS)
    assert holding(samples_of(a_cell(), *enough), enough).by == "lengths"


def test_a_share_that_is_not_certain_is_not_told() -> None:
    random = np.random.default_rng(2)
    traces = []
    for trace in by_length(0.2):
        first_s = float(random.uniform(trace.start_s, trace.end_s))
        traces.append(replace(trace, chunk_s=(first_s, trace.end_s)))
    assert holding(samples_of(a_cell(), *traces), traces).by is None


@pytest.mark.parametrize(
    ("share", "off_s", "certain"),
    [(0.0, 0.0535, True), (0.0, 0.0537, False), (1.0, 0.1338, True), (1.0, 0.1341, False)],
)
def test_a_share_is_certain_to_three_tenths_or_where_a_quarter_at_least_is_held(
    share: float, off_s: float, certain: bool
) -> None:
    """Eight answers of 10 to 80 tokens at 10 ms: first chunks lie `off_s` above or below a line, in
    a pattern without a slope. The standard error of theirs is off_s sqrt(8 / 6 / 4200), of six
    degrees of freedom, whose t at 99% is 3.1427."""
    traces = []
    for k, side in enumerate((1, -1, -1, 1, 1, -1, -1, 1)):
        tokens = 10 * (k + 1)
        first_s = 1 + share * tokens * 0.01 + side * off_s
        end_s = 2 + tokens * 0.01
        traces.append(a_trace(k, chunk_s=(first_s, end_s), end_s=end_s, output_tokens=tokens))
    found = holding(samples_of(a_cell(), *traces), traces)
    assert found.fraction == (pytest.approx(share, abs=1e-9) if certain else None)


@pytest.mark.parametrize(("by_server", "by"), [(0.2, "counter"), (0.9, "server")])
def test_the_greatest_share_counts(run: Run, edited: Edited, by_server: float, by: str) -> None:
    """By the count of tokens it is 0.6."""

    def both(trace: Trace) -> Trace:
        here = held(trace, 0.6)
        here_s = here.chunk_s[-1] - here.chunk_s[0]
        return replace(here, server_decode_s=here_s / (1 - by_server))

    samples = edited(run(requests=64, ttft_s=0.001, period_s=0.02).samples(), both)
    found = holding(samples, [trace for trace in samples.traces if not trace.warmup])
    assert found.by == by
    assert found.fraction == pytest.approx(max(by_server, 0.6), abs=0.06)


def test_without_answers_there_is_nothing_to_tell() -> None:
    failed = a_trace(outcome="error")
    empty = a_trace(chunk_s=())
    readings = Readings()
    for traces in ((), (failed,), (empty,)):
        found = holding(samples_of(a_cell(), *traces, readings=readings), traces)
        assert (found.fraction, found.by, found.is_held) == (None, None, False)
        assert np.isnan(found.waits_fraction)
