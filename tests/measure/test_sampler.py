import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from journal.doubts.words import absence
from journal.measure.sampler import Meter, Sampler
from journal.records.engine import Endpoint
from journal.records.samples import Readings
from journal.simulator.http import Script, running

FakeServer = Callable[..., str]
Scripted = Callable[..., Any]


def endpoint(url: str, **changes: Any) -> Endpoint:
    return Endpoint(base_url=url, model="demo", has_metrics=True, **changes)


@pytest.mark.timing
def absences(readings: Readings) -> list[str]:
    """What could not be read, in English."""
    return [absence(values) for values in readings.absent]


def test_readings_from_start_to_end(fake_server: FakeServer) -> None:
    server = endpoint(fake_server(), pid=os.getpid())
    origin_s = time.monotonic()
    with Sampler(server, origin_s, period_s=0.02) as sampler:
        began_s = time.monotonic() - origin_s
        time.sleep(0.5)
        ended_s = time.monotonic() - origin_s
    readings = sampler.readings
    for series in (readings.server, readings.process):
        times = [reading.at_s for reading in series]
        assert times == sorted(times)
        assert 0 <= times[0] <= began_s
        assert times[-1] >= ended_s
        assert len(times) > 4
    assert readings.server[0].running == 0
    assert readings.server[0].kv_cache_fraction == 0
    assert all(reading.rss_bytes > 10 * 2**20 for reading in readings.process)


def test_a_server_that_drafts_no_tokens_lacks_nothing(fake_server: FakeServer) -> None:
    with Sampler(endpoint(fake_server()), time.monotonic(), 60) as sampler:
        pass
    assert sampler.readings.server
    assert not [line for line in absences(sampler.readings) if "/metrics lacks" in line]


def test_the_shortest_run_has_a_first_and_a_last_reading(fake_server: FakeServer) -> None:
    with Sampler(endpoint(fake_server(), pid=os.getpid()), time.monotonic(), 60) as sampler:
        assert sampler.readings.server == ()
    assert len(sampler.readings.server) == 2
    assert len(sampler.readings.process) == 2


@pytest.mark.timing
def test_a_server_that_goes_away_in_mid_run_is_a_sentence() -> None:
    with running(Script()) as url:
        sampler = Sampler(endpoint(url), time.monotonic(), period_s=0.02)
        sampler.__enter__()
        time.sleep(0.1)
    time.sleep(0.1)
    sampler.__exit__()
    assert sampler.readings.server
    (sentence,) = [line for line in absences(sampler.readings) if "/metrics failed" in line]
    assert "s after the start: http://127.0.0.1:" in sentence
    assert "did not answer" in sentence


def test_an_error_in_the_block_passes_and_the_readings_are_kept(fake_server: FakeServer) -> None:
    sampler = Sampler(endpoint(fake_server()), time.monotonic())
    with pytest.raises(ZeroDivisionError), sampler:
        _ = 1 / 0
    assert len(sampler.readings.server) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("journal-")]


def test_a_missing_meter_is_reported() -> None:
    far = Endpoint(base_url="http://192.0.2.1:8000/v1", model="demo")
    with Sampler(far, time.monotonic()) as sampler:
        pass
    assert sampler.readings.gpu == sampler.readings.server == sampler.readings.process == ()
    assert absences(sampler.readings) == [
        "The server's processes are not known here: no resident memory.",
        "The server is not on this host: no GPU was read.",
        "The server has no /metrics: its queue and KV cache are not known.",
    ]


def test_a_process_that_is_gone_is_reported() -> None:
    gone = Endpoint(base_url="http://127.0.0.1:9/v1", model="demo", pid=2**22 + 1)
    with Sampler(gone, time.monotonic()) as sampler:
        pass
    assert any("is not running on this host" in line for line in absences(sampler.readings))


# ---- GPUs ------------------------------------------------------------------------------------

SAMPLE = """
import dataclasses, json, os, time
from journal.doubts.words import absence
from journal.measure.sampler import Sampler
from journal.records.engine import Endpoint
pid = os.getpid() if options.get("pid") else None
gpus = tuple(options.get("gpus", ()))
server = Endpoint(base_url="http://127.0.0.1:9/v1", model="demo", pid=pid, gpus=gpus)
with Sampler(server, time.monotonic(), 0.01) as sampler:
    time.sleep(0.35)
readings = sampler.readings
gpu = [dataclasses.asdict(reading) for reading in readings.gpu]
print(json.dumps({"gpu": gpu, "absent": [absence(values) for values in readings.absent]}))
"""


@pytest.mark.timing
def test_gpus_are_read_at_their_sensors_pace(scripted: Scripted) -> None:
    samples = scripted(SAMPLE, gpus=[0])
    times = [reading["at_s"] for reading in samples["gpu"]]
    assert 2 <= len(times) <= 6  # 0.35 s, asked for every 0.01 s, read every 0.1 s
    assert samples["gpu"][0]["power_w"] == 351.25


@pytest.mark.timing
def test_a_gpu_lost_in_mid_run_does_not_end_the_run(scripted: Scripted) -> None:
    samples = scripted(SAMPLE, "2 0 * 15", gpus=[0])
    assert len(samples["gpu"]) == 1
    assert any(line.startswith("GPU 0 was read no more after") for line in samples["absent"])


def test_a_local_server_of_unknown_processes_has_the_visible_gpus(scripted: Scripted) -> None:
    samples = scripted(SAMPLE)
    assert samples["gpu"][0]["process_bytes"] is None
    assert samples["gpu"][0]["used_bytes"] == 73551314944


def test_a_server_that_is_on_no_gpu_gets_no_readings_of_gpus(scripted: Scripted) -> None:
    samples = scripted(SAMPLE, pid=True)
    assert samples["gpu"] == []
    assert "None of the GPUs holds a process of the server's." in samples["absent"]


def test_a_driver_that_does_not_answer_is_reported(scripted: Scripted) -> None:
    samples = scripted(SAMPLE, "init 9", alone=True, gpus=[0])
    assert samples["gpu"] == []
    assert any("not loaded" in line for line in samples["absent"])


# ---- one meter -------------------------------------------------------------------------------


@pytest.mark.timing
def test_a_slow_look_skips_what_it_missed() -> None:
    meter = Meter("slow", lambda: time.sleep(0.05), 0.001)
    began = time.monotonic()
    meter.start()
    time.sleep(0.3)
    meter.stop()
    meter.join()
    assert 2 <= len(meter.looks) <= (time.monotonic() - began) / 0.05 + 1


@pytest.mark.timing
def test_a_long_run_thins_out() -> None:
    meter = Meter("many", lambda: None, 0.002, dense=8)
    meter.start()
    time.sleep(0.8)
    meter.stop()
    meter.join()
    assert 8 < len(meter.looks) <= 8 * 7  # 400 looks fell due at the first period


def test_a_fault_in_a_meter_is_a_sentence() -> None:
    def look() -> None:
        raise RuntimeError("bad sensor")

    meter = Meter("thing", look, 0.01)
    meter.start()
    meter.stop()
    meter.join()
    (values,) = meter.absent
    sentence = absence(values)
    assert sentence.startswith("2 of 2 looks at thing failed")
    assert sentence.endswith("RuntimeError: bad sensor")
