"""Work done per time, in loads that are short, small, or not at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.experiment import Slo
from journal.records.samples import Samples

Run = Callable[..., Any]


def values(samples: Samples) -> dict[str, float | None]:
    return {name: figure.value for name, figure in metrics(samples).items()}


def test_a_load_of_less_than_a_second_has_its_rates(run: Run) -> None:
    """8 requests at once of 0.05 + 31 x 0.001 s each."""
    figures = metrics(run(requests=8, batch=8, itl_s=0.001, warmup=0).samples())
    took_s = 0.05 + 31 * 0.001
    assert figures["duration_s"].value == pytest.approx(took_s)
    assert figures["requests_per_s"].value == pytest.approx(8 / took_s)
    assert figures["output_tokens_per_s"].value == pytest.approx(8 * 32 / took_s)
    assert figures["concurrency_mean"].value == pytest.approx(8)
    assert figures["steady_s"].value == pytest.approx(took_s)
    assert figures["steady_output_tokens_per_s"].value == pytest.approx(8 * 32 / took_s)


def test_the_interval_of_a_rate_moves_with_the_concurrency_that_was_reached(run: Run) -> None:
    figures = metrics(run(requests=64, batch=8, noise=0.1, seed=3).samples())
    rate = figures["output_tokens_per_s"]
    assert rate.low is not None and rate.high is not None
    assert 0.85 * rate.value < rate.low < rate.value < rate.high < 1.15 * rate.value


def test_tokens_that_come_after_the_measured_span_are_not_in_its_rate(run: Run) -> None:
    """Streams that write without a pause, 20 s long: fillers before and after the measured ones."""
    spread = run(requests=64, batch=8, ttft_s=0.01, itl_s=0.01, convoy=False, length_spread=1.0)
    view = View(spread.samples())
    assert view.span is not None
    came = [at_s for t in view.samples.traces for at_s in t.chunk_s if t.end_s > view.span.start_s]
    inside = sum(view.span.start_s < at_s <= view.span.end_s for at_s in came)
    figures = values(view.samples)
    assert figures["output_tokens_per_s"] == pytest.approx(inside / view.span.length_s)
    assert figures["output_tokens_per_s"] == pytest.approx(8 / 0.01, rel=0.01)
    assert figures["output_tokens"] != pytest.approx(inside, rel=0.01)
    assert figures["characters_per_s"] == pytest.approx(4 * inside / view.span.length_s)


def test_a_request_that_fails_takes_its_time_from_a_rate() -> None:
    """One in five of 80 fails after as long as the others took, in waves of one stream."""
    at_s = [float(k) for k in range(80)]
    traces = [
        a_trace(k, start_s=at, scheduled_s=at, end_s=at + 1, output_tokens=2)
        for k, at in enumerate(at_s)
    ]
    failed = [
        replace(t, outcome="error", chunk_s=(), output_tokens=None) if t.index % 5 == 2 else t
        for t in traces
    ]
    runs = (samples_of(a_cell(batch=1), *some) for some in (traces, failed))
    rates = [metrics(some)["output_tokens_per_s"] for some in runs]
    assert [rate.value for rate in rates] == pytest.approx([2.0, 1.6])
    whole, part = ((rate.high or 0.0) - (rate.low or 0.0) for rate in rates)
    assert whole == pytest.approx(0.0, abs=1e-6) and part > 0.0


def test_one_request_alone(run: Run) -> None:
    figures = values(run(requests=1, batch=1, warmup=0).samples())
    assert figures["duration_s"] == figures["steady_s"] == pytest.approx(0.36)
    assert figures["steady_output_tokens_per_s"] == pytest.approx(32 / 0.36)
    assert figures["concurrency_peak"] == 1


def test_two_requests_have_a_rate_and_one_has_none(run: Run) -> None:
    samples = run(rate=5.0, requests=2, warmup=0).samples()
    first, second = (trace.start_s for trace in samples.traces)
    assert values(samples)["achieved_rate_per_s"] == pytest.approx(1 / (second - first))
    lone = replace(samples, traces=samples.traces[:1])
    assert values(lone)["achieved_rate_per_s"] is None
    at_once = tuple(replace(trace, start_s=first) for trace in samples.traces)
    assert values(replace(samples, traces=at_once))["achieved_rate_per_s"] is None


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        (Slo(ttft_ms=51), 1.0),
        (Slo(ttft_ms=49), 0.0),
        (Slo(tpot_ms=11), 1.0),
        (Slo(tpot_ms=9), 0.0),
        (Slo(e2e_ms=361), 1.0),
        (Slo(e2e_ms=359), 0.0),
        (Slo(ttft_ms=51, e2e_ms=359), 0.0),
        (Slo(ttft_ms=51, tpot_ms=11, e2e_ms=361), 1.0),
    ],
)
def test_each_limit_of_an_slo_is_held_or_not(run: Run, slo: Slo, good: float) -> None:
    """50 ms to the first token, 10 ms for each of 31 more."""
    figures = values(run(slo=slo).samples())
    assert figures["good_fraction"] == good
    assert figures["goodput_per_s"] == pytest.approx(good * 24 / figures["duration_s"])


def test_a_single_token_has_no_tpot_to_break_a_limit(run: Run) -> None:
    assert values(run(output_tokens=1, slo=Slo(tpot_ms=1)).samples())["good_fraction"] == 1


def test_tokens_of_unknown_chunks_count_as_spread_evenly(run: Run) -> None:
    counted = values(run(per_chunk=4).samples())["steady_output_tokens_per_s"]
    uncounted = values(run(per_chunk=4, counted=False).samples())["steady_output_tokens_per_s"]
    assert uncounted == pytest.approx(counted)
