"""Faults that once passed in silence: each is named, or the run says that it could not look for it;
healthy runs are flagged by nothing. Simulated runs have all of them, and a proxy on loopback those
of the way to a server."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import planted_proxy
import pytest
from planted_proxy import Way

from benchmarks.calibrate_faults import (
    OF_THE_WORLD,
    Fault,
    at_pace,
    buffered,
    cold,
    each,
    found,
    healthy,
    hidden,
    in_pieces,
    named,
    planted,
    runs,
    slower,
    stall,
    two_servers,
    warped,
)
from benchmarks.worlds import REPEATED, STEP_S, World, closed, engine_in_open_loop
from journal.doubts.words import sentence
from journal.load.drive import drive
from journal.measure.sampler import Sampler
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.experiment import Experiment, Grid, Load
from journal.records.request import Trace
from journal.records.samples import Samples
from journal.serve.endpoint import attach

Server = Callable[..., str]
PLANTED = list(planted())
STALL = next(fault for _, fault in PLANTED if fault.plant is stall)
HEALTHY = list(healthy())
WORLD = World("mixed lengths, white, 80, batch 8", closed(80, 8, "white", spread=True, lengths=0.5))


@pytest.mark.parametrize(
    ("world", "fault"), PLANTED, ids=[f"{fault.name} ({world.name})" for world, fault in PLANTED]
)
def test_a_planted_fault_is_named_or_said_not_to_be_visible(world: World, fault: Fault) -> None:
    (run,) = runs(world, 1)
    every = found(fault.plant(run))
    assert named(fault, every), [sentence(doubt) for doubt in every.values()]


@pytest.mark.parametrize("world", HEALTHY, ids=[world.name for world in HEALTHY])
def test_a_healthy_run_is_flagged_by_nothing(world: World) -> None:
    (run,) = runs(world, 1)
    flags = {name for name, doubt in found(run).items() if doubt.severity != "note"}
    assert flags <= OF_THE_WORLD
    assert "queue_unseen" not in found(run) or world.name.startswith(("M/", "open"))


@pytest.mark.parametrize("misses", [0.02, 0.3, 0.5])
def test_a_prompt_that_no_cache_had_explains_the_silence_while_it_is_read(misses: float) -> None:
    """Where nobody tells what the cache had, a silence may be a stall or a prompt that is read."""
    for tells in (True, False):
        how = {"spread": True, "misses": misses, "tells": tells}
        for run in runs(World("misses", closed(80, 8, "white", **how)), 5):
            assert not {"stalled", "queue_unseen"} & set(found(run))
            unseen = "while requests waited for their first one" in said(run)["unseen"]
            assert tells or misses < 0.1 or unseen


def test_a_stall_among_prompts_that_a_cache_may_have_is_named_where_nobody_waits() -> None:
    """Streams that begin together wait together, and then none until the next wave; of spread ones
    some wait for their first chunk when the server stands still, and not a word is said of it."""
    names = []
    for spread in (False, True):
        how = {"spread": spread, "misses": 0.5, "tells": False}
        every = [found(stall(run)) for run in runs(World("m", closed(80, 8, "white", **how)), 20)]
        names.append([name for name in map(partial(named, STALL), every) if name])
    assert list(map(len, names)) == [20, 20]
    assert names[0].count("stalled") == 20 and names[1].count("stalled") >= 5


def test_a_first_step_that_is_slow_is_no_cold_start() -> None:
    """Streams that begin together, whose first chunk comes after a step six times as long."""
    (run,) = runs(World("in step", closed(80, 8, "white", prefill=0.0)), 1)
    for late_s, name in ((0.06, None), (0.5, "cold_start")):
        late = warped(run, lambda at_s, late_s=late_s: at_s + late_s * (at_s > STEP_S / 100))
        assert ("cold_start" in found(late)) == (name is not None)
    prompts = replace(run.cell, workload=REPEATED)
    doubt = found(replace(cold(run), cell=prompts))["cold_start"]
    assert doubt.severity == "note", "nobody tells what a cache had of the first prompts"


def test_first_requests_with_longer_prompts_are_no_cold_start() -> None:
    """Prompts of random length, whose reading goes with their squares: of 40 requests every tenth
    run began with longer ones than later waves had. A wait of a second beside them is named."""
    how = {"prompts": 0.8, "prefill": 4.0}
    worlds = [World(f"prompts, {batch}", closed(40, batch, "white", **how)) for batch in (4, 8)]
    names = {"cold": 0, "unseen": 0}
    for run in (run for world in worlds for run in runs(world, 20)):
        every = found(run)
        assert "cold_start" not in every
        names["unseen"] += "cold start, because the first" in said(run).get("unseen", "")
        names["cold"] += "cold_start" in found(cold(run))
    assert names["unseen"] >= 1
    assert names["cold"] >= 30


def test_of_a_rate_that_changes_drift_is_not_looked_for() -> None:
    (run,) = runs(World("open", engine_in_open_loop(200, 4.0, "white")), 1)
    ramp = replace(run.cell, load=replace(run.cell.load, ramp="5..20 in 16s"))
    every = found(replace(slower(run), cell=ramp))
    assert "drift" not in every
    assert "the rate was meant to change" in sentence(every["unseen"])


def test_a_first_request_is_not_cold_where_later_ones_are_as_slow() -> None:
    """Requests one after the other, of which the first and some others take twice as long."""
    (run,) = runs(World("one by one", closed(24, 1, "white")), 1)
    slow = {places: each(run, slower_at(places)) for places in ((0,), (0, 9, 17))}
    assert "cold_start" in found(slow[(0,)])
    assert "cold_start" not in found(slow[(0, 9, 17)])


def test_answers_whose_chunks_come_together_are_no_faster_server() -> None:
    """Every second answer comes in bundles of eight chunks: most of its gaps are nothing."""

    def bundled(trace: Trace) -> Trace:
        last = [min(k // 8 * 8 + 7, len(trace.chunk_s) - 1) for k in range(len(trace.chunk_s))]
        chunk_s = tuple(trace.chunk_s[k] for k in last)
        return replace(trace, chunk_s=chunk_s) if trace.index % 2 else trace

    (run,) = runs(WORLD, 1)
    assert "two_speeds" not in found(each(run, bundled))
    assert "two_speeds" in found(two_servers(run))


def slower_at(places: tuple[int, ...]) -> Callable[[Trace], Trace]:
    return lambda trace: at_pace(trace, 2.0) if trace.index in places else trace


def test_a_time_per_token_that_is_not_known_is_absent() -> None:
    """In a world of 10 ms and more per token; pieces are read one by one and hide nothing."""
    (run,) = runs(WORLD, 1)
    true_s = metrics(run)["tpot_s.p50"].value
    assert true_s is not None
    assert metrics(buffered(run))["tpot_s.p50"].value is None
    assert metrics(buffered(run))["itl_s.p50"].value is None
    assert metrics(hidden(run))["tpot_s.p50"].value is None
    assert metrics(in_pieces(run))["tpot_s.p50"].value == pytest.approx(true_s, rel=0.05)


# ---- over HTTP -----------------------------------------------------------------------------------


def measured(url: str, *, batch: int = 4, rate: float | None = None, **load: object) -> Samples:
    """The samples of one run, read as `journal run` does."""
    given = {"requests": 24, "warmup": 2, "timeout_s": 5.0, **load}
    grid = {"batch": (batch,)} if rate is None else {"rate": (rate,)}
    experiment = Experiment(
        name="planted",
        grid=Grid(prompt_tokens=(32,), output_tokens=(24,), **grid),  # type: ignore[arg-type]
        load=Load(**given),  # type: ignore[arg-type]
    )
    endpoint, origin_s = attach(url), time.monotonic()
    (cell,) = cells(experiment, model=endpoint.model)
    with Sampler(endpoint, origin_s, period_s=0.05) as sampler:
        traces, client = drive(
            requests(cell, endpoint, "planted"),
            endpoint,
            shape=cell.shape,
            timeout_s=cell.load.timeout_s,
            processes=1,
            origin_s=origin_s,
        )
    return Samples(
        cell=cell, facts=endpoint.facts, traces=traces, readings=sampler.readings, client=client
    )


def said(samples: Samples) -> dict[str, str]:
    return {name: sentence(doubt) for name, doubt in found(samples).items()}


QUICK = {"ttft_s": 0.02, "itl_s": 0.01}
COMMENT = ": tick\n\n"
EMPTY = 'data: {"id":"t","choices":[{"index":0,"text":"","delta":{"content":""}}]}\n\n'
ON_THE_WAY = [
    (Way(hold="whole", metrics=False), {}, "held_back", "the longer an answer"),
    (Way(hold="whole"), {"rate": 20.0, "requests": 40}, "held_back", "count of tokens"),
    (Way(hold="whole", metrics=False), {"rate": 20.0}, "unseen", "holds answers back"),
    (Way(hold="whole", ticks=COMMENT, metrics=False), {}, "held_back", "the longer an answer"),
    (Way(hold="whole", ticks=EMPTY, metrics=False), {}, "held_back", "the longer an answer"),
    (Way(hold="whole", ticks=COMMENT), {"rate": 20.0, "requests": 40}, "held_back", "of tokens"),
    (Way(hold="pieces"), {}, "chunks_together", "turn off buffering"),
    (Way(at_once=2, metrics=False), {"batch": 8, "requests": 40}, "queue_unseen", "At most 2 of 8"),
    (Way(closes=True), {}, "connections", "24 of 24 requests opened"),
    (Way(metrics=False), {}, "unseen", "hits of a prefix cache"),
]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("way", "asked", "name", "words"), ON_THE_WAY, ids=[f"{w} {n}" for _, _, n, w in ON_THE_WAY]
)
def test_a_fault_on_the_way_is_named(
    fake_server: Server, way: Way, asked: dict[str, object], name: str, words: str
) -> None:
    with planted_proxy.between([fake_server(**QUICK)], way) as url:
        run = measured(url, **asked)  # type: ignore[arg-type]
    assert words in said(run).get(name, ""), said(run)
    if name == "held_back":
        assert metrics(run)["tpot_s.p50"].value is None


@pytest.mark.alone
def test_tls_for_each_request_is_named(
    fake_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that offers to resume its sessions, as all with TLS 1.3 do."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} "
        f"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out {certificate}"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    with planted_proxy.between([fake_server(**QUICK)], Way(closes=True), tls) as url:
        run = measured(url)
    assert "24 of 24 requests opened a connection" in said(run).get("connections", ""), said(run)
    assert found(run)["connections"].severity == "flag"


@pytest.mark.alone
def test_two_servers_behind_one_address_are_named(fake_server: Server) -> None:
    urls = [fake_server(ttft_s=0.02, itl_s=itl_s) for itl_s in (0.01, 0.02)]
    with planted_proxy.between(urls, Way()) as url:
        run = measured(url, requests=40)
    assert "two_speeds" in said(run), said(run)


@pytest.mark.alone
def test_a_stall_of_all_streams_is_named(fake_server: Server) -> None:
    run = measured(fake_server(**QUICK, stall_at_s=1.0, stall_s=1.0), requests=40)
    assert "had a chunk" in said(run).get("stalled", ""), said(run)


@pytest.mark.alone
def test_a_hung_request_is_named(fake_server: Server) -> None:
    url = fake_server(**QUICK, fault="stalled", fault_every=20)
    run = measured(url, timeout_s=2.0, convoy=True)
    assert "1 of 24 requests timed out" in said(run)["timed_out"]
