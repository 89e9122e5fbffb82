"""Watching a server: what a look sees, against a server whose truth is known."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from journal.errors import EndpointError
from journal.monitor.watch import Watch, watch
from journal.serve import standing
from journal.serve.endpoint import observe
from journal.simulator.http import Script, running

FakeServer = Callable[..., str]

GPUS = """
import json
from dataclasses import asdict, replace
from journal.monitor.watch import Watch
from journal.records.engine import Endpoint
endpoint = Endpoint(base_url=options["url"], model="m")
with Watch(endpoint) as watched:
    looks = [watched.look() for _ in range(2)]
print(json.dumps([{**asdict(look), "at": None} for look in looks]))
"""
SECOND_GPU = """
cards 2
0 1 nvmlDeviceGetName 0 Scripted Card 80GB
0 1 nvmlDeviceGetMemoryInfo_v2 0 85899345920 536870912 85362573312 1073741824
0 1 nvmlDeviceGetUtilizationRates 0 41
0 1 nvmlDeviceGetPowerUsage 0 100000
"""


@contextmanager
def streams(url: str, count: int, tokens: int) -> Iterator[None]:
    """So many requests that set out at once, each of 16 tokens and with so many to come."""
    from openai import OpenAI

    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        client.models.list()

        def stream() -> None:
            client.completions.create(model="m", prompt=[1] * 16, max_tokens=tokens)

        threads = [threading.Thread(target=stream) for _ in range(count)]
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.join()


@pytest.mark.timing
def test_a_look_sees_the_load_the_cache_and_the_rates(fake_server: FakeServer) -> None:
    url = fake_server(model="m", ttft_s=0.05, itl_s=0.02, max_running=3, kv_blocks=100)
    with watch(url) as watched:
        idle = watched.look()
        assert (idle.running, idle.waiting, idle.kv_cache_fraction) == (0, 0, 0)
        assert idle.output_tokens_per_s is idle.ttft_mean_s is None
        assert idle.kv_pool_tokens == 1600
        assert idle.rss_bytes is not None and idle.rss_bytes > 10 * 2**20
        with streams(url, 5, tokens=60):
            deadline = time.monotonic() + 20
            while (look := watched.look()).running != 3 or look.waiting != 2:
                assert time.monotonic() < deadline, look
                time.sleep(0.02)
            time.sleep(0.4)
            busy = watched.look()
        assert (busy.running, busy.waiting) == (3, 2)
        assert busy.kv_cache_fraction is not None and 0.05 < busy.kv_cache_fraction < 0.2
        assert busy.output_tokens_per_s == pytest.approx(3 / 0.02, rel=0.5)
        assert busy.cpu_cores is not None
        done = watched.look()
        assert done.running == 0
        assert done.ttft_p50_s is not None and done.ttft_p95_s is not None
        # three began at once, the others when the first three were done, after 0.05 + 59 * 0.02 s
        assert done.ttft_mean_s == pytest.approx((3 * 0.05 + 2 * (0.05 + 1.23)) / 5, rel=0.1)
        assert done.itl_mean_s == pytest.approx(0.02, rel=0.1)
        assert done.ttft_p50_s < 0.1 < done.ttft_p95_s
        assert done.preemptions == 0
        assert done.prefix_hit_fraction is None
    assert done.at - idle.at >= timedelta(seconds=1)
    assert isinstance(done.at, datetime)


@pytest.mark.timing
def test_prefix_hits_of_late(fake_server: FakeServer) -> None:
    from openai import OpenAI

    url = fake_server(model="m", ttft_s=0.0, prefix_caching=True)
    with watch(url) as watched:
        watched.look()
        for _ in range(2):
            with OpenAI(base_url=url, api_key="none") as client:
                client.completions.create(model="m", prompt=[1] * 33, max_tokens=1)
        assert watched.look().prefix_hit_fraction == 32 / 66


@pytest.mark.timing
def test_a_server_that_goes_is_reported_and_found_again(fake_server: FakeServer) -> None:
    with running(Script(model="m")) as url:
        port = int(url.split(":")[2].split("/")[0])
        watched = Watch(observe(url)).__enter__()
        first = watched.look()
    try:
        gone = watched.look()
        assert (gone.answers, gone.running, gone.rss_bytes) == (False, None, None)
        assert any("did not answer" in sentence for sentence in gone.absent)
        assert not watched.look().answers
        fake_server(model="other", port=port)
        again = watched.look()
        assert (again.answers, again.running) == (True, 0)
        assert again.rss_bytes is not None
        assert again.output_tokens_per_s is None
        assert watched.endpoint.model == "other"
        assert again.absent == first.absent
    finally:
        watched.__exit__()


def test_a_server_without_metrics_shows_its_process(fake_server: FakeServer) -> None:
    with Watch(observe(fake_server(metrics=False))) as watched:
        look = watched.look()
    assert look.answers
    assert look.running is None
    assert look.rss_bytes is not None
    assert "has no /metrics" in look.absent[0]


def test_gpus_are_taken_together(scripted: Callable[..., Any], fake_server: FakeServer) -> None:
    looks = scripted(GPUS, SECOND_GPU, url=fake_server(metrics=False))
    first, second = looks
    assert first["cards"] == 2
    gib = 2**30
    assert first["vram_total_bytes"] == 160 * gib
    assert second["vram_used_bytes"] >= first["vram_used_bytes"] > gib
    assert first["gpu_fraction"] == pytest.approx((0.93 + 0.41) / 2)
    assert (first["gpu_fraction_least"], first["gpu_fraction_most"]) == (0.41, 0.93)
    assert first["power_w"] == pytest.approx(451.25)
    assert first["temperature_c"] == 61


def test_a_figure_that_one_gpu_does_not_give_is_not_summed(
    scripted: Callable[..., Any], fake_server: FakeServer
) -> None:
    silent = SECOND_GPU.replace("0 1 nvmlDeviceGetPowerUsage 0 100000", "")
    (first, _) = scripted(GPUS, silent, url=fake_server(metrics=False))
    assert first["power_w"] is None


def test_processes_hold_what_is_in_use_on_memory_shared_with_the_host(
    scripted: Callable[..., Any], fake_server: FakeServer
) -> None:
    unified = "0 0 nvmlDeviceGetMemoryInfo_v2 3\n0 0 nvmlDeviceGetMemoryInfo 3"
    look, _ = scripted(GPUS, unified, url=fake_server(metrics=False))
    assert look["vram_used_bytes"] == 73014444032 + 536870912 + 1048576
    assert look["vram_total_bytes"] == psutil.virtual_memory().total


def test_a_server_is_watched_by_its_address_its_endpoint_or_as_it_is_found(
    fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fake_server(model="m")
    monkeypatch.setattr(standing, "DEFAULT_URL", url)
    for watched in (watch(url), watch(observe(url)), watch(home=tmp_path)):
        with watched:
            assert watched.endpoint.base_url == url
            assert watched.look().answers
    monkeypatch.setattr(standing, "DEFAULT_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="journal serve MODEL"):
        watch(home=tmp_path)
