"""Metrics of runs whose every time is known."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.doubts.rules import doubts
from journal.doubts.words import sentence
from journal.metrics.statistics import STATISTICS
from journal.metrics.table import (
    TABLE,
    columns,
    is_exact,
    latencies,
    metric_of_key,
    metrics,
    named,
    place_of_key,
    rows,
    section,
    standing_in,
)
from journal.records.experiment import Slo
from journal.records.figure import Figure
from journal.records.request import Trace
from journal.records.samples import Samples

Edited = Callable[[Samples, Callable[[Trace], Trace]], Samples]
OF_WARMUP = {"ttft_alone_s", "tpot_alone_s"}  # read from the warm-up, and from nothing else
LATENCIES = [m.name for m in TABLE if m.section == "latency" and m.name not in OF_WARMUP]


def values(samples: Samples) -> dict[str, float | None]:
    return {name: figure.value for name, figure in metrics(samples).items()}


def test_every_metric_is_declared_once_with_unit_formula_and_meaning() -> None:
    names = [metric.name for metric in TABLE]
    assert len(names) == len(set(names))
    for metric in TABLE:
        assert metric.unit and metric.formula and metric.meaning.endswith(".")
        assert section(metric.name) == metric.section


def test_a_closed_loop_of_known_times(run) -> None:
    figures = values(run(requests=24, batch=8, output_tokens=32, prompt_tokens=64).samples())
    e2e_s = 0.05 + 31 * 0.01
    expected = {
        "ttft_s.mean": 0.05, "ttft_s.p50": 0.05, "ttft_from_send_s.p50": 0.05,
        "icl_s.p99": 0.01, "itl_s.p99": 0.01, "tpot_s.p50": 0.01, "e2e_s.p50": e2e_s,
        "requests": 24, "errors": 0, "error_fraction": 0,
        "prompt_tokens": 24 * 64, "output_tokens": 24 * 32,
        "duration_s": 3 * e2e_s, "requests_per_s": 8 / e2e_s,
        "output_tokens_per_s": 8 * 32 / e2e_s, "total_tokens_per_s": 8 * 96 / e2e_s,
        "characters_per_s": 8 * 128 / e2e_s, "steady_output_tokens_per_s": 8 * 32 / e2e_s,
        "concurrency_mean": 8, "concurrency_peak": 8, "steady_concurrency": 8,
        "server_running_mean": 8, "server_running_peak": 8, "server_waiting_peak": 0,
        "kv_cache_mean_fraction": 0.08, "kv_cache_peak_fraction": 0.08,
        "preemptions": 0, "prefix_cache_hit_fraction": 0, "rss_peak_bytes": 2**30,
        "steady_ttft_s.p50": 0.05, "steady_tpot_s.p50": 0.01, "steady_e2e_s.p50": e2e_s,
    }  # fmt: skip
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_what_was_not_measured_is_absent_and_never_zero(run) -> None:
    figures = values(run(requests=24).samples())
    absent = [
        "vram_peak_bytes", "vram_process_peak_bytes", "gpu_utilisation_mean_fraction",
        "power_mean_w", "energy_j", "energy_per_output_token_j", "offered_rate_per_s",
        "achieved_rate_per_s", "goodput_per_s", "good_fraction", "queue_s.mean", "prefill_s.p50",
        "decode_s.mean", "send_delay_s.p50", "ttft_s.p90", "e2e_s.p99",
    ]  # fmt: skip
    assert [figures[name] for name in absent] == [None] * len(absent)


def test_warm_up_never_counts(run) -> None:
    samples = run(warmup=0).samples()
    slow = run().trace(index=-1, at_s=-100.0, factor=1.0, warmup=True)
    with_it, without = metrics(replace(samples, traces=(slow, *samples.traces))), metrics(samples)
    assert {name for name in without if with_it[name] != without[name]} == OF_WARMUP


def test_several_tokens_in_a_chunk_share_its_gap(run) -> None:
    figures = values(run(per_chunk=4, output_tokens=100, requests=24).samples())
    assert figures["icl_s.p50"] == pytest.approx(0.04)
    assert figures["itl_s.p50"] == pytest.approx(0.01)
    assert figures["itl_s.mean"] == pytest.approx(0.01)
    assert figures["tpot_s.p50"] == pytest.approx(0.01)  # the first four tokens are in TTFT


def test_uneven_chunks_are_weighted_by_their_tokens(run, edited: Edited) -> None:
    def uneven(trace: Trace) -> Trace:
        at_s = trace.start_s
        return replace(
            trace,
            chunk_s=(at_s + 1, at_s + 2, at_s + 3, at_s + 5),
            chunk_tokens=(2, 1, 0, 3),
            end_s=at_s + 5,
            output_tokens=6,
        )

    samples = edited(run(requests=24, batch=24).samples(), uneven)
    figures = metrics(samples)
    assert figures["icl_s.mean"].value == pytest.approx(4 / 3)  # gaps of 1, 1 and 2
    assert figures["itl_s.mean"].value == pytest.approx(1)  # 1 of one token, 3 of three
    assert figures["icl_s.mean"].count == 72
    assert figures["itl_s.mean"].count == 96


def test_itl_needs_known_tokens_per_chunk(run) -> None:
    counted = metrics(run(counted=False, per_chunk=1).samples())
    assert counted["itl_s.p50"].value == pytest.approx(0.01)  # as many tokens as chunks
    unknown = metrics(run(counted=False, per_chunk=2).samples())
    assert unknown["itl_s.p50"] == unknown["itl_s.mean"] == Figure(None, count=0)
    assert unknown["icl_s.p50"].value == pytest.approx(0.02)


def test_an_answer_in_one_chunk_has_no_time_per_token(run) -> None:
    figures = metrics(run(per_chunk=32, output_tokens=32).samples())
    assert figures["tpot_s.mean"].value is None
    assert figures["icl_s.mean"].value is None
    assert figures["ttft_s.mean"].value is not None


def test_open_loop_counts_from_the_schedule(run, edited: Edited) -> None:
    samples = run(rate=20.0, requests=40, noise=0.1).samples()
    late = edited(
        samples,
        lambda t: replace(
            t,
            start_s=t.start_s + 2,
            end_s=t.end_s + 2,
            chunk_s=tuple(chunk + 2 for chunk in t.chunk_s),
        ),
    )
    before, after = values(samples), values(late)
    assert after["ttft_s.p50"] == pytest.approx(before["ttft_s.p50"] + 2)
    assert after["e2e_s.p50"] == pytest.approx(before["e2e_s.p50"] + 2)
    assert after["ttft_from_send_s.p50"] == pytest.approx(before["ttft_from_send_s.p50"])
    assert after["send_delay_s.p50"] == pytest.approx(2)
    assert after["offered_rate_per_s"] == 20
    sent = sorted(trace.start_s for trace in samples.traces if not trace.warmup)
    assert before["achieved_rate_per_s"] == pytest.approx(39 / (sent[-1] - sent[0]))


def test_failed_requests_take_time_but_add_no_tokens_and_no_latency(run, edited: Edited) -> None:
    samples = run(requests=24, batch=8).samples()

    def half_fail(trace: Trace) -> Trace:
        quick = replace(trace, outcome="error", end_s=trace.start_s + 0.001, error="HTTP 500")
        return quick if trace.index % 2 else trace

    before, after = metrics(samples), metrics(edited(samples, half_fail))
    assert after["ttft_s.mean"].value == pytest.approx(before["ttft_s.mean"].value)
    assert after["e2e_s.p50"].value == pytest.approx(before["e2e_s.p50"].value)
    assert after["ttft_s.mean"].count == 12
    assert after["errors"].value == 12
    assert after["error_fraction"].value == 0.5
    for name in ("output_tokens", "output_tokens_per_s", "requests_per_s", "characters_per_s"):
        assert after[name].value == pytest.approx(before[name].value / 2)


def test_nothing_succeeded(run, edited: Edited) -> None:
    samples = edited(run().samples(), lambda t: replace(t, outcome="error", error="refused"))
    figures = values(samples)
    assert all(figures[name] is None for name in LATENCIES)
    assert figures["output_tokens_per_s"] is None
    assert figures["errors"] == figures["requests"] == 24


def test_one_unknown_count_makes_the_sum_unknown(run, edited: Edited) -> None:
    samples = edited(
        run().samples(),
        lambda t: (
            replace(t, output_tokens=None, chunk_tokens=None, finish_reason="stop")
            if t.index == 5
            else t
        ),
    )
    figures = values(samples)
    assert figures["output_tokens"] is None
    assert figures["output_tokens_per_s"] is None
    assert figures["steady_output_tokens_per_s"] is None
    assert figures["requests_per_s"] is not None


def test_goodput_counts_requests_that_hold_every_limit(run, edited: Edited) -> None:
    samples = run(slo=Slo(ttft_ms=60, tpot_ms=11)).samples()

    def worse(trace: Trace) -> Trace:
        if trace.index % 4 == 0:
            return replace(trace, outcome="error")
        if trace.index % 4 == 1:
            return replace(trace, scheduled_s=trace.scheduled_s - 0.02)
        return trace

    figures = values(edited(samples, worse))
    assert figures["good_fraction"] == 0.5
    assert figures["goodput_per_s"] == pytest.approx(12 / figures["duration_s"])
    assert values(edited(run(slo=Slo(e2e_ms=100)).samples(), worse))["good_fraction"] == 0


def test_the_first_requests_of_all_streams_are_not_the_steady_state(run, edited: Edited) -> None:
    samples = run(slo=Slo(ttft_ms=60), batch=8, requests=24, warmup=0, noise=0.01).samples()
    begun_s = min(trace.start_s for trace in samples.traces)

    def fail_first(trace: Trace) -> Trace:
        return replace(trace, outcome="error" if trace.start_s == begun_s else "ok")

    figures = metrics(edited(samples, fail_first))
    assert figures["good_fraction"].value == pytest.approx(16 / 24)
    assert (figures["steady_good_fraction"].value, figures["steady_good_fraction"].count) == (1, 16)
    assert metrics(run().samples())["steady_good_fraction"].value is None


def test_server_times_are_kept_apart(run, edited: Edited) -> None:
    samples = edited(
        run().samples(),
        lambda t: replace(t, server_queue_s=0.01, server_prefill_s=0.03, server_decode_s=0.3),
    )
    figures = values(samples)
    assert (figures["queue_s.p50"], figures["prefill_s.mean"], figures["decode_s.p50"]) == (
        pytest.approx((0.01, 0.03, 0.3))
    )


def test_gpus_over_the_measured_span_only(run) -> None:
    samples = run(gpu=True).samples()
    span = [t for t in samples.traces if not t.warmup]
    start_s, end_s = min(t.start_s for t in span), max(t.end_s for t in span)
    outside = tuple(
        reading
        if start_s <= reading.at_s <= end_s
        else replace(reading, used_bytes=2**40, utilisation_fraction=0.0)
        for reading in samples.readings.gpu
    )
    figures = values(replace(samples, readings=replace(samples.readings, gpu=outside)))
    assert figures["vram_peak_bytes"] == 20 * 2**30
    assert figures["vram_process_peak_bytes"] == 19 * 2**30
    assert figures["gpu_utilisation_mean_fraction"] == pytest.approx(0.9)
    assert figures["power_mean_w"] == pytest.approx(300)
    assert figures["energy_j"] == pytest.approx(300 * (end_s - start_s))
    assert figures["energy_per_output_token_j"] == pytest.approx(figures["energy_j"] / (24 * 32))


def test_two_gpus_add_up_and_power_stands_in_for_a_missing_energy_counter(run) -> None:
    samples = run(gpu=True).samples()
    both = tuple(
        replace(reading, device=device, energy_j=None)
        for reading in samples.readings.gpu
        for device in (0, 3)
    )
    one = values(samples)
    two = values(replace(samples, readings=replace(samples.readings, gpu=both)))
    for name in ("vram_peak_bytes", "power_mean_w", "energy_j"):
        assert two[name] == pytest.approx(2 * one[name])
    assert two["gpu_utilisation_mean_fraction"] == pytest.approx(0.9)


def test_memory_of_processes_is_what_is_in_use_where_nvml_gives_that_alone(run) -> None:
    samples = run(gpu=True).samples()
    unified = tuple(
        replace(reading, used_bytes=None, total_bytes=None) for reading in samples.readings.gpu
    )
    figures = values(replace(samples, readings=replace(samples.readings, gpu=unified)))
    assert figures["vram_peak_bytes"] == figures["vram_process_peak_bytes"] == 19 * 2**30
    hidden = tuple(replace(reading, process_bytes=None) for reading in unified)
    figures = values(replace(samples, readings=replace(samples.readings, gpu=hidden)))
    assert figures["vram_peak_bytes"] is figures["vram_process_peak_bytes"] is None


def test_the_change_over_the_baseline_is_the_servers_where_nvml_hides_the_processes(run) -> None:
    samples = run(gpu=True).samples()
    hidden = tuple(replace(reading, process_bytes=None) for reading in samples.readings.gpu)
    samples = replace(samples, readings=replace(samples.readings, gpu=hidden))
    assert values(samples)["vram_process_peak_bytes"] is None
    known = replace(samples, facts=replace(samples.facts, vram_baseline_bytes=3 * 2**30))
    assert values(known)["vram_process_peak_bytes"] == 17 * 2**30
    more = replace(samples, facts=replace(samples.facts, vram_baseline_bytes=30 * 2**30))
    assert values(more)["vram_process_peak_bytes"] == 0


def test_a_gpu_lost_half_way_has_no_energy(run) -> None:
    samples = run(gpu=True).samples()
    readings = samples.readings.gpu
    lost = replace(samples.readings, gpu=readings[: len(readings) // 2])
    figures = values(replace(samples, readings=lost))
    assert figures["energy_j"] is None
    assert figures["power_mean_w"] is None
    assert figures["vram_peak_bytes"] == 20 * 2**30


def test_counters_rise_over_the_span(run, edited: Edited) -> None:
    samples = edited(run().samples(), lambda t: replace(t, cached_tokens=None))
    server = tuple(
        replace(
            reading,
            preemptions_total=float(round(reading.at_s * 10)),
            prefix_queries_total=1000 * reading.at_s,
            prefix_hits_total=250 * reading.at_s,
        )
        for reading in samples.readings.server
    )
    figures = values(replace(samples, readings=replace(samples.readings, server=server)))
    assert figures["preemptions"] == 11  # the span of 1.08 s, widened to the readings around it
    assert figures["prefix_cache_hit_fraction"] == pytest.approx(0.25)


def test_cached_tokens_of_requests_come_before_counters(run, edited: Edited) -> None:
    samples = edited(run(prompt_tokens=64).samples(), lambda t: replace(t, cached_tokens=16))
    assert values(samples)["prefix_cache_hit_fraction"] == pytest.approx(0.25)


def test_the_order_of_stored_rows_does_not_matter(run) -> None:
    samples = run(noise=0.2, gpu=True, requests=80).samples()
    readings = samples.readings
    shuffled = replace(
        samples,
        traces=samples.traces[::-1],
        readings=replace(readings, gpu=readings.gpu[::-1], server=readings.server[::-1]),
    )
    assert repr(metrics(shuffled)) == repr(metrics(samples))


def seconds(longest: int) -> st.SearchStrategy[float]:
    return st.integers(0, longest * 10**6).map(lambda microseconds: microseconds / 1e6)


@st.composite
def any_trace(draw: st.DrawFn, index: int) -> Trace:
    start_s = draw(seconds(10_000))
    gaps = draw(st.lists(seconds(10), max_size=6))
    chunk_s = tuple(float(at) for at in start_s + np.cumsum(gaps)) if gaps else ()
    count = st.none() | st.integers(0, 50)
    return Trace(
        index=index,
        warmup=draw(st.booleans()),
        scheduled_s=start_s - draw(seconds(5)),
        start_s=start_s,
        end_s=max((start_s, *chunk_s)) + draw(seconds(5)),
        outcome=draw(st.sampled_from(["ok", "short", "error"])),
        prompt_tokens_asked=8,
        output_tokens_asked=8,
        chunk_s=chunk_s,
        chunk_tokens=draw(
            st.none()
            | st.lists(st.integers(0, 9), min_size=len(gaps), max_size=len(gaps)).map(tuple)
        ),
        prompt_tokens=draw(count),
        output_tokens=draw(count),
        cached_tokens=draw(count),
        output_chars=draw(count),
    )


@settings(max_examples=150, deadline=None)
@given(data=st.data(), closed=st.booleans())
def test_whatever_was_recorded_figures_are_finite_or_absent_and_nothing_raises(
    run, data, closed: bool
) -> None:
    base = run(gpu=True, slo=Slo(ttft_ms=100, tpot_ms=10), rate=None if closed else 5.0).samples()
    kept = data.draw(st.integers(0, 10))
    samples = replace(
        base,
        traces=tuple(data.draw(any_trace(index)) for index in range(data.draw(st.integers(0, 12)))),
        readings=replace(
            base.readings, gpu=base.readings.gpu[:kept], server=base.readings.server[:kept]
        ),
    )
    figures = metrics(samples)
    for doubt in doubts(samples, figures):
        assert "nan" not in sentence(doubt) and "None" not in sentence(doubt)
    assert list(figures) == [metric.name for metric in TABLE]
    assert repr(figures) == repr(metrics(samples))
    for name, figure in figures.items():
        assert figure.value is None or (type(figure.value) is float), name
        assert figure.value is None or math.isfinite(figure.value), name
        if figure.low is not None:
            assert type(figure.low) is type(figure.high) is float, name
            assert figure.low <= figure.value <= figure.high, name


@pytest.mark.parametrize("chunk_s", [(), (3.0,), (3.0, 3.0, 3.0)])
def test_answers_of_no_time_or_without_chunks_raise_no_doubt_by_division(run, chunk_s) -> None:
    samples = run(rate=5.0).samples()
    still = [replace(t, start_s=3.0, end_s=3.0, chunk_s=chunk_s) for t in samples.traces]
    for traces in (still, [*samples.traces, *still]):
        samples = replace(samples, traces=tuple(traces))
        assert "cold_start" not in {doubt.name for doubt in doubts(samples, metrics(samples))}


def test_statistics_of_latencies_are_ordered(run) -> None:
    figures = values(run(noise=0.5, requests=700, batch=50, output_tokens=4).samples())
    for family in {name.removesuffix(".p99") for name in LATENCIES if name.endswith(".p99")}:
        given_values = [figures[f"{family}.{name}"] for name in STATISTICS[1:]]
        if None not in given_values:
            assert given_values == sorted(given_values)
    assert figures["ttft_s.p99"] is not None


def test_two_tokens_have_one_gap_and_one_token_has_none(run) -> None:
    two = values(run(output_tokens=2, itl_s=0.03).samples())
    assert two["tpot_s.mean"] == pytest.approx(0.03)
    assert values(run(output_tokens=1).samples())["tpot_s.mean"] is None
    assert values(run(output_tokens=2, per_chunk=2).samples())["tpot_s.mean"] is None


def test_what_a_key_of_a_prediction_means() -> None:
    assert metric_of_key("ttft_s_p50") == metric_of_key("ttft_s") == "ttft_s.p50"
    assert metric_of_key("tpot_s_mean@batch=8") == "tpot_s.mean"
    assert metric_of_key("vram_peak_bytes@rate=2") == "vram_peak_bytes"
    assert metric_of_key("nothing_of_ours") == "nothing_of_ours"
    assert place_of_key("tpot_s") == place_of_key("tpot_s_p90") == {}
    assert place_of_key("tpot_s@batch=8") == {"batch": 8}
    assert place_of_key("tpot_s@rate=0.5,prompt_tokens=64") == {"rate": 0.5, "prompt_tokens": 64}
    for key in ("tpot_s@", "tpot_s@size=8", "tpot_s@batch=many", "tpot_s@batch"):
        with pytest.raises(ValueError):
            place_of_key(key)


def test_a_row_is_found_by_its_name() -> None:
    for metric in TABLE:
        assert named(metric.name) is metric
        assert is_exact(metric.name) == metric.exact
    for ask in (named, section):
        with pytest.raises(KeyError, match="no_such"):
            ask("no_such")
    assert not is_exact("no_such")
    assert is_exact("weights_bytes") and not is_exact("ttft_s.p50")


def test_views_filter_the_table() -> None:
    assert rows() == TABLE
    placed = columns()
    places = [metric.shown.column for metric in placed]
    assert len(placed) == sum(metric.shown.column is not None for metric in TABLE) > 5
    assert None not in places and places == sorted(places, key=lambda place: place or 0)
    assert set(rows(lambda shown: shown.column is not None)) == set(placed)
    for name in ("vram_peak_bytes", "ttft_s.p50"):
        others = [metric.name for metric in TABLE if metric.shown.instead_of == name]
        assert standing_in(name) == (name, *others)
    assert any(len(standing_in(metric.name)) > 1 for metric in TABLE)
    labels = latencies()
    assert {"ttft_s", "tpot_s", "e2e_s"} <= set(labels) and all(labels.values())
