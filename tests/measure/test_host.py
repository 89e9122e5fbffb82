"""Counters of this host: the use of others is separate from ours."""

import subprocess
import sys
import time
from dataclasses import fields, replace

import psutil
import pytest

from journal.measure.host import LOOK_S, Host, HostWatch
from journal.measure.sampler import Sampler
from journal.records.engine import Endpoint
from journal.records.samples import HostReading

BURN = "import time\nwhile time.process_time() < 0.4: pass"


def burn(seconds: float) -> None:
    began_s = time.thread_time()
    while time.thread_time() - began_s < seconds:
        pass


@pytest.mark.timing
def test_counters_never_fall_and_ours_are_part_of_all() -> None:
    host = Host(None, whole=True)
    first = host.look(0.0)
    burn(0.3)
    last = host.look(1.0)
    assert first.cpus == last.cpus == len(psutil.Process().cpu_affinity())
    for field in fields(HostReading):
        before, after = getattr(first, field.name), getattr(last, field.name)
        if before is not None:
            assert after - before > -1e-3, field.name
    assert first.ours_s is not None and last.ours_s is not None
    assert last.ours_s - first.ours_s >= 0.25
    assert first.busy_s is not None and last.busy_s is not None
    assert last.busy_s - first.busy_s >= 0.2


@pytest.mark.timing
def test_the_server_and_children_that_have_ended_are_ours() -> None:
    code = f"import sys; input()\n{BURN}\nprint(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as server:
        assert server.stdin is not None and server.stdout is not None
        host = Host(server.pid, whole=True)
        first = host.look(0.0)
        subprocess.run([sys.executable, "-c", BURN], check=True)
        server.stdin.write(b"\n")
        server.stdin.flush()
        server.stdout.readline()
        last = host.look(1.0)
        server.communicate(b"\n")
    assert first.ours_s is not None and last.ours_s is not None
    assert last.ours_s - first.ours_s > 0.6


@pytest.mark.timing
def test_children_that_live_are_ours() -> None:
    code = f"{BURN}\nprint(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        host = Host(None, whole=True)
        first = host.look(0.0)
        child.stdout.readline()
        last = host.look(1.0)
        child.communicate(b"\n")
        after = host.look(2.0)
    assert first.ours_s is not None and last.ours_s is not None and after.ours_s is not None
    assert last.ours_s - first.ours_s > 0.3
    assert 0 <= after.ours_s - last.ours_s < 0.3  # its end changes nothing


def test_a_watch_waits_only_for_what_is_left_of_its_look(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s: list[float] = []
    monkeypatch.setattr(time, "sleep", waited_s.append)
    watch = HostWatch()
    watch._first = replace(watch._first, at_s=time.monotonic() - LOOK_S - 1.0)
    watch.disturbances()
    HostWatch().disturbances()
    assert waited_s[0] == 0.0
    assert 0.0 < waited_s[1] <= LOOK_S


def test_a_use_that_cannot_be_separated_is_absent() -> None:
    assert Host(None, whole=False).look(0.0).ours_s is None
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = Host(server.pid, whole=True)
    server.communicate(b"\n")
    assert host.look(0.0).ours_s is None


def test_a_sampler_reads_the_host_wherever_the_server_is() -> None:
    elsewhere = Endpoint(base_url="http://192.0.2.1:8000/v1", model="m")
    with Sampler(elsewhere, time.monotonic()) as sampler:
        pass
    assert len(sampler.readings.host) == 2
    assert sampler.readings.host[0].ours_s is not None
    hidden = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    with Sampler(hidden, time.monotonic()) as sampler:
        pass
    assert sampler.readings.host[0].ours_s is None
