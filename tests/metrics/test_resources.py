"""What is read beside a load, and the client's own part, worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from journal.metrics.table import metrics
from journal.records.engine import EngineFacts, Quality
from journal.records.money import Money
from journal.records.request import ClientHealth
from journal.records.samples import Samples
from journal.records.workload import Workload

Run = Callable[..., Any]


def values(samples: Samples) -> dict[str, float | None]:
    return {name: figure.value for name, figure in metrics(samples).items()}


def test_the_clients_own_figures_are_those_that_it_measured(run: Run) -> None:
    client = ClientHealth(cpu_fraction=0.25, loop_delay_p99_s=0.002, send_delay_p99_s=0.003)
    figures = values(replace(run().samples(), client=client))
    assert figures["client_cpu_fraction"] == 0.25
    assert figures["client_loop_delay_p99_s"] == 0.002
    assert figures["client_send_delay_p99_s"] == 0.003


def test_a_models_quality_is_that_of_its_check(run: Run) -> None:
    samples = run().samples()
    figures = values(samples)
    assert figures["perplexity"] is figures["bits_per_byte"] is None
    checked = EngineFacts(quality=Quality(tokens=100, perplexity=7.5, bits_per_byte=0.9))
    figures = values(replace(samples, facts=checked))
    assert (figures["perplexity"], figures["bits_per_byte"]) == (7.5, 0.9)


def test_a_load_without_tokens_has_no_price_and_no_energy_for_one(run: Run) -> None:
    samples = run(gpu=True).samples()
    silent = tuple(replace(t, output_tokens=0, chunk_tokens=None) for t in samples.traces)
    figures = values(replace(samples, traces=silent, facts=EngineFacts(usd_per_hour=2.0)))
    assert figures["energy_per_output_token_j"] is None
    assert figures["usd_per_million_output_tokens"] is None
    assert figures["output_tokens_per_s_per_w"] == 0
    assert figures["energy_j"] is not None and figures["energy_j"] > 0


def test_an_idle_gpu_gives_no_tokens_for_a_joule(run: Run) -> None:
    samples = run(gpu=True).samples()
    idle = tuple(replace(reading, energy_j=5.0) for reading in samples.readings.gpu)
    figures = values(replace(samples, readings=replace(samples.readings, gpu=idle)))
    assert (figures["energy_j"], figures["energy_per_output_token_j"]) == (0, 0)
    assert figures["output_tokens_per_s_per_w"] is None


def test_a_price_counts_the_hours_of_the_load(run: Run) -> None:
    """24 requests of 32 tokens, 8 at a time: 3 x 0.36 s for 768 tokens at $3.60 an hour."""
    figures = values(replace(run().samples(), facts=EngineFacts(usd_per_hour=3.6)))
    assert figures["usd_per_million_output_tokens"] == pytest.approx(3 * 0.36 * 0.001 / 768 * 1e6)
    assert figures["price_per_million_output_tokens"] is None
    yuan = EngineFacts(price_per_hour=Money(amount=36.0, currency="CNY"))
    figures = values(replace(run().samples(), facts=yuan))
    assert figures["usd_per_million_output_tokens"] is None
    assert figures["price_per_million_output_tokens"] == pytest.approx(3 * 3.6 * 0.001 / 768 * 1e6)


def test_no_queries_to_the_prefix_cache_are_no_misses(run: Run) -> None:
    samples = run().samples()
    uncounted = tuple(replace(t, cached_tokens=None) for t in samples.traces)
    assert values(replace(samples, traces=uncounted))["prefix_cache_hit_fraction"] is None


def test_waiting_and_the_cache_at_their_peaks(run: Run) -> None:
    samples = run(period_s=0.3).samples()
    at_s = [reading.at_s for reading in samples.readings.server]
    start_s = min(trace.start_s for trace in samples.traces if not trace.warmup)
    inside = [number for number, at in enumerate(at_s) if at >= start_s][:3]
    queue = dict(zip(inside, (2.0, 7.0, 3.0), strict=True))
    held = dict(zip(inside, (0.2, 0.8, 0.5), strict=True))
    server = tuple(
        replace(reading, waiting=queue.get(number, 0.0), kv_cache_fraction=held.get(number))
        for number, reading in enumerate(samples.readings.server)
    )
    figures = values(replace(samples, readings=replace(samples.readings, server=server)))
    assert figures["server_waiting_peak"] == 7
    assert figures["kv_cache_peak_fraction"] == 0.8
    assert figures["kv_cache_mean_fraction"] == pytest.approx(0.5)


def test_hits_of_shared_prefixes_count_from_the_start_of_the_run_on(run: Run) -> None:
    """Three warm up and two send the beginnings; of the 40 prompts of 64 tokens after them 1,280
    tokens hit, by the server's counters: the requests themselves do not tell."""
    samples = run(requests=40, warmup=3).samples()
    workload = Workload(shared_prefix=32, prefixes=2)
    traces = tuple(replace(trace, cached_tokens=None) for trace in samples.traces)
    first, *_, last = samples.readings.server
    server = (
        replace(first, at_s=-1.0, prefix_hits_total=100.0, prefix_queries_total=0.0),
        replace(last, at_s=last.at_s + 1, prefix_hits_total=1380.0, prefix_queries_total=1e6),
    )
    shared = replace(
        samples,
        cell=replace(samples.cell, workload=workload),
        traces=traces,
        readings=replace(samples.readings, server=server),
    )
    found = values(shared)
    sent = sum(trace.index >= 5 for trace in traces) * 64
    assert found["prefix_cache_hit_fraction"] == 1280 / sent
    assert found["prefix_hit_asked_fraction"] == 32 / 64
    told = replace(shared, traces=tuple(replace(t, cached_tokens=16) for t in traces))
    assert values(told)["prefix_cache_hit_fraction"] == 16 / 64
    alone = replace(shared, cell=samples.cell)
    assert values(alone)["prefix_cache_hit_fraction"] == 1280 / 1e6
    assert values(alone)["prefix_hit_asked_fraction"] is None


def test_memory_of_gpus_is_that_of_the_server_or_what_came_since_it_started(run: Run) -> None:
    """NVML hides the processes of two GPUs, which held 3 GiB before the server started."""
    gib = 2**30
    samples = run(gpu=True).samples()

    def with_gpus(**changes: object) -> dict[str, float | None]:
        gpu = tuple(
            replace(reading, device=device, **changes)
            for reading in samples.readings.gpu
            for device in (0, 1)
        )
        facts = EngineFacts(vram_baseline_bytes=3 * gib)
        readings = replace(samples.readings, gpu=gpu)
        return values(replace(samples, facts=facts, readings=readings))

    listed = with_gpus()
    assert listed["vram_peak_bytes"] == 2 * 20 * gib
    assert listed["vram_process_peak_bytes"] == 2 * 19 * gib
    hidden = with_gpus(process_bytes=None)
    assert hidden["vram_process_peak_bytes"] == (2 * 20 - 3) * gib
    shared = with_gpus(used_bytes=None)
    assert shared["vram_peak_bytes"] == 2 * 19 * gib
    neither = with_gpus(used_bytes=None, process_bytes=None)
    assert neither["vram_peak_bytes"] is neither["vram_process_peak_bytes"] is None
    emptied = with_gpus(used_bytes=gib, process_bytes=None)
    assert emptied["vram_process_peak_bytes"] == 0
    assert listed["gpu_utilisation_mean_fraction"] == pytest.approx(0.9)
    assert listed["power_mean_w"] == pytest.approx(2 * 300)
