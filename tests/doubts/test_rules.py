"""The rules of doubt: every trap is caught by its own rule, and clean runs are flagged by none."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.calibrate_faults import FAULTS
from journal.doubts.rule import Case
from journal.doubts.rules import RULES, doubts, status
from journal.doubts.sending import _in_step
from journal.doubts.surroundings import changes
from journal.doubts.words import LANGUAGES, sentence
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.doubt import Doubt
from journal.records.engine import Neighbour
from journal.records.experiment import Engine, Load
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Readings, Samples
from journal.records.workload import Workload

Edit = Callable[[Trace], Trace]


def doubts_of(samples: Samples) -> dict[str, Doubt]:
    """The doubts by their names, each of which is plain JSON and has words in both languages."""
    every = {doubt.name: doubt for doubt in doubts(samples, metrics(samples))}
    for doubt in every.values():
        assert json.loads(json.dumps(doubt.values, allow_nan=False)) == doubt.values
        assert not any(sentence(doubt, lang).startswith(f"{doubt.name}: ") for lang in LANGUAGES)
    return every


def flags(samples: Samples) -> set[str]:
    return {name for name, doubt in doubts_of(samples).items() if doubt.severity != "note"}


CLEAN: list[dict[str, Any]] = [
    {},
    {"batch": 1, "requests": 12, "output_tokens": 8},
    {"batch": 1, "requests": 3, "output_tokens": 1},
    {"batch": 8, "requests": 8},
    {"batch": 8, "requests": 24, "noise": 0.3, "seed": 3},
    {"batch": 32, "requests": 100, "noise": 0.2, "seed": 4},
    {"batch": 64, "requests": 700, "output_tokens": 16, "noise": 0.3, "seed": 5, "gpu": True},
    {"batch": 4, "requests": 30, "ttft_s": 2.0, "itl_s": 0.1, "gpu": True, "noise": 0.05},
    {"batch": 4, "requests": 40, "ttft_s": 0.002, "itl_s": 0.001, "noise": 0.1},
    {"batch": 8, "requests": 24, "counted": False},
    {"rate": 10.0, "requests": 60, "noise": 0.2, "seed": 6},
    {"rate": 50.0, "requests": 300, "noise": 0.1, "seed": 7, "gpu": True},
    {"warmup": 0, "requests": 24},
    {"convoy": False, "requests": 24},
    {"convoy": False, "batch": 64, "requests": 192, "noise": 0.1, "gpu": True},
    {"convoy": False, "batch": 4, "requests": 40, "length_spread": 0.5},
    {"batch": 16, "requests": 64, "length_spread": 1.0},
]


@pytest.mark.parametrize("clean", CLEAN, ids=str)
def test_a_clean_run_has_no_flag(run, clean: dict[str, Any]) -> None:
    samples = run(**clean).samples()
    assert flags(samples) == set()
    assert status(samples, doubts(samples, metrics(samples))) == "valid"


def test_a_long_clean_run_on_a_gpu_has_no_doubt(run) -> None:
    assert doubts_of(run(requests=2000, batch=4, noise=0.1, gpu=True).samples()) == {}


def refused(samples: Samples) -> Any:
    every = doubts(samples, metrics(samples))
    return next((d.values for d in every if d.name == "interval_refused"), None)


def test_a_run_of_few_waves_says_why_it_has_no_interval(run) -> None:
    few = run(requests=24, batch=8).samples()
    assert refused(few) == {
        "variant": "waves",
        "requests": 24,
        "unit": 8,
        "units": 3,
        "needed_units": 8,
        "enough_requests": 64,
    }
    assert all(figure.low is None for name, figure in metrics(few).items() if "ttft" in name)


def test_an_open_loop_of_few_requests_says_why_it_has_no_interval(run) -> None:
    values = refused(run(requests=60, batch=None, rate=20.0).samples())
    assert (values["variant"], values["enough_requests"]) == ("requests", 200)


def test_percentiles_without_an_interval_say_how_many_requests_they_take(run) -> None:
    values = refused(run(requests=200, batch=4, noise=0.1).samples())
    assert values["variant"] == "some"
    assert values["refused"] == [
        {"variant": "percentile", "percentile": "p95", "enough_requests": 400}
    ]


def test_noise_alone_is_hardly_ever_called_drift(run) -> None:
    called = sum(
        "drift" in doubts_of(run(requests=120, noise=0.4, output_tokens=4, seed=seed).samples())
        for seed in range(100)
    )
    assert called <= 2


def client(**changes: Any) -> Callable[[Samples], Samples]:
    return lambda samples: replace(samples, client=replace(samples.client, **changes))


def server(**changes: Callable[[float], float]) -> Callable[[Samples], Samples]:
    """Readings of the server whose values are functions of time."""

    def change(samples: Samples) -> Samples:
        readings = tuple(
            replace(reading, **{name: of(reading.at_s) for name, of in changes.items()})
            for reading in samples.readings.server
        )
        return replace(samples, readings=replace(samples.readings, server=readings))

    return change


def host(**changes: Callable[[float], float]) -> Callable[[Samples], Samples]:
    """Readings of the host whose values are functions of time."""

    def change(samples: Samples) -> Samples:
        readings = tuple(
            replace(reading, **{name: of(reading.at_s) for name, of in changes.items()})
            for reading in samples.readings.host
        )
        return replace(samples, readings=replace(samples.readings, host=readings))

    return change


def hotter(**changes: Callable[[float], float]) -> Callable[[Samples], Samples]:
    """Readings of the GPU whose values are functions of time."""

    def change(samples: Samples) -> Samples:
        readings = tuple(
            replace(reading, **{name: of(reading.at_s) for name, of in changes.items()})
            for reading in samples.readings.gpu
        )
        return replace(samples, readings=replace(samples.readings, gpu=readings))

    return change


def gpu(**changes: Any) -> Callable[[Samples], Samples]:
    def change(samples: Samples) -> Samples:
        readings = tuple(replace(reading, **changes) for reading in samples.readings.gpu)
        return replace(samples, readings=replace(samples.readings, gpu=readings))

    return change


def traces(edit: Edit) -> Callable[[Samples], Samples]:
    def change(samples: Samples) -> Samples:
        edited = tuple(t if t.warmup else edit(t) for t in samples.traces)
        return replace(samples, traces=edited)

    return change


def some_of(edit: Edit, every: int = 6) -> Callable[[Samples], Samples]:
    return traces(lambda trace: edit(trace) if trace.index % every == 0 else trace)


def fail(trace: Trace) -> Trace:
    return replace(trace, outcome="error", error="HTTP 500: out of memory")


def slower_later(trace: Trace) -> Trace:
    factor = 1.3 if trace.index >= 70 else 1.0
    chunk_s = tuple(trace.start_s + (at_s - trace.start_s) * factor for at_s in trace.chunk_s)
    return replace(trace, chunk_s=chunk_s, end_s=chunk_s[-1])


def queued(trace: Trace) -> Trace:
    """At 10 requests/s every one waits 50 ms longer than the one before: 2/3 are answered."""
    wait_s = 0.05 * trace.index
    chunk_s = tuple(at_s + wait_s for at_s in trace.chunk_s)
    return replace(trace, chunk_s=chunk_s, end_s=chunk_s[-1])


def overloaded(samples: Samples) -> Samples:
    return replace(traces(queued)(samples), readings=Readings())


def pairs(trace: Trace) -> Trace:
    """Chunks that come two at a time, in one read."""
    chunk_s = tuple(np.repeat(trace.chunk_s[1::2], 2).tolist())
    return replace(trace, chunk_s=chunk_s, end_s=chunk_s[-1])


def beside(*spans: tuple[float, float]) -> Callable[[Samples], Samples]:
    """One engine on a GPU of its own for each span of time in which it is busy."""
    neighbours = tuple(
        Neighbour(model="tiny", gpus=(number,), busy_s=(span,)) for number, span in enumerate(spans)
    )

    def trap(samples: Samples) -> Samples:
        return replace(samples, facts=replace(samples.facts, neighbours=neighbours))

    return trap


def unasked_convoy(samples: Samples) -> Samples:
    load = replace(samples.cell.load, convoy=False)
    return replace(samples, cell=replace(samples.cell, load=load))


def sharing(cached: int | None, shared: int = 32) -> Callable[[Samples], Samples]:
    """Prompts of 64 tokens that share half of them, of which `cached` were cached."""

    def change(samples: Samples) -> Samples:
        cell = replace(samples.cell, workload=Workload(shared_prefix=shared))
        edited = traces(lambda trace: replace(trace, cached_tokens=cached))(samples)
        return replace(edited, cell=cell, readings=replace(edited.readings, server=()))

    return change


@pytest.mark.parametrize("cached", [16, 31, 32, 48])
def test_hits_within_one_block_of_those_asked_are_as_asked(run, cached: int) -> None:
    assert "prefix_hits_off" not in doubts_of(sharing(cached)(run().samples()))
    assert "prefix_cache_hits" not in doubts_of(sharing(cached)(run().samples()))


def test_hits_that_nobody_tells_are_noted(run) -> None:
    doubt = doubts_of(sharing(None)(run().samples()))["prefix_hits_off"]
    assert (doubt.severity, doubt.values["variant"]) == ("note", "untold")


def test_hits_of_own_prompts_are_noted(run) -> None:
    samples = traces(lambda trace: replace(trace, cached_tokens=16))(run().samples())
    own = replace(samples.cell, workload=Workload(prompts="mine.jsonl", content="ff"))
    doubt = doubts_of(replace(samples, cell=own))["prefix_cache_hits"]
    assert (doubt.severity, doubt.values["variant"]) == ("note", "own")


def one_chunk(trace: Trace) -> Trace:
    return replace(trace, chunk_s=trace.chunk_s[-1:], chunk_tokens=(trace.output_tokens or 0,))


TRAPS: list[tuple[str, dict[str, Any], Callable[[Samples], Samples]]] = [
    ("client_saturated", {}, client(cpu_fraction=0.95)),
    ("client_saturated", {}, client(loop_delay_p99_s=0.02)),
    ("client_saturated", {"rate": 10.0}, client(send_delay_p99_s=0.03)),
    ("errors", {}, some_of(fail)),
    ("short_outputs", {}, some_of(lambda t: replace(t, outcome="short", output_tokens=9), 24)),
    ("long_outputs", {}, some_of(lambda t: replace(t, output_tokens=40))),
    ("prompt_tokens", {}, some_of(lambda t: replace(t, prompt_tokens=80), 24)),
    ("usage_missing", {}, some_of(lambda t: replace(t, output_tokens=None))),
    ("usage_missing", {}, some_of(lambda t: replace(t, prompt_tokens=None))),
    ("not_streamed", {}, some_of(one_chunk)),
    ("several_tokens_per_chunk", {"per_chunk": 4}, lambda samples: samples),
    ("tokens_per_chunk_unknown", {"per_chunk": 2, "counted": False}, lambda samples: samples),
    ("chunks_together", {}, traces(pairs)),
    ("batch_not_reached", {"batch": 8, "requests": 5}, lambda samples: samples),
    (
        "batch_not_reached",
        {"batch": 8, "requests": 40},
        lambda samples: replace(samples, cell=replace(samples.cell, batch=16)),
    ),
    ("in_step", {"requests": 80}, unasked_convoy),
    ("in_step", {"batch": 4, "requests": 80, "noise": 0.02}, unasked_convoy),
    ("drift", {"requests": 240, "noise": 0.02}, traces(slower_later)),
    ("drift", {"rate": 5.0, "requests": 120, "noise": 0.02}, traces(slower_later)),
    ("falls_behind", {"rate": 10.0, "requests": 100, "noise": 0.02}, overloaded),
    ("falls_behind", {"rate": 10.0, "requests": 60}, overloaded),
    ("short_steady_state", {"rate": 1000.0, "requests": 24}, lambda samples: samples),
    ("prefix_cache_hits", {}, some_of(lambda t: replace(t, cached_tokens=16))),
    (
        "prefix_cache_hits",
        {},
        lambda samples: server(
            prefix_queries_total=lambda at_s: 100 * at_s, prefix_hits_total=lambda at_s: 9 * at_s
        )(traces(lambda t: replace(t, cached_tokens=None))(samples)),
    ),
    ("prefix_hits_off", {}, sharing(cached=0)),
    ("prefix_hits_off", {}, sharing(cached=15)),
    ("preemptions", {}, server(preemptions_total=lambda at_s: float(at_s > 1))),
    ("server_batch", {"requests": 80}, server(running=lambda at_s: 4.0)),
    ("foreign_traffic", {"requests": 80}, server(output_tokens_total=lambda at_s: 2000 * at_s)),
    ("throttled", {"gpu": True}, gpu(throttle_reasons=0x24)),
    ("shared_card", {"gpu": True}, gpu(other_processes=1)),
    ("busy_host", {"requests": 80}, host(busy_s=lambda at_s: 6.0 * at_s)),
    ("neighbours", {"requests": 80}, beside((0.0, 9.0), (0.2, 10.0))),
    ("stolen_time", {"requests": 80}, host(stolen_s=lambda at_s: 0.8 * at_s)),
    ("swapping", {"requests": 80}, host(swapped_bytes_total=lambda at_s: int(at_s * 2**25))),
    ("clocks_fell", {"gpu": True, "requests": 80}, hotter(
        sm_clock_hz=lambda at_s: 1.98e9 - 1e8 * at_s)),
    ("others_memory", {"gpu": True, "requests": 80}, hotter(
        used_bytes=lambda at_s: 2**30 * (20 + (at_s > 2)))),
]  # fmt: skip
# Traps that make a run invalid; their tests stand below.
INVALID: list[tuple[str, Callable[[Samples], Samples]]] = [
    ("asleep", host(asleep_s=lambda at_s: 3600.0 + 90.0 * (at_s > 1))),
    ("server_restarted", server(output_tokens_total=lambda at_s: 100.0 * (at_s % 1))),
    ("server_restarted", server(prompt_tokens_total=lambda at_s: 1000.0 - 999 * (at_s > 1))),
]


@pytest.mark.parametrize(("name", "run_of", "trap"), TRAPS, ids=[name for name, _, _ in TRAPS])
def test_a_trap_is_caught_by_its_own_rule_and_no_other(run, name, run_of, trap) -> None:
    samples = trap(run(**run_of).samples())
    assert flags(samples) == {name}
    assert status(samples, doubts(samples, metrics(samples))) == "flagged"


def test_every_rule_that_flags_has_a_trap_and_every_rule_says_why() -> None:
    trapped = {name for name, _, _ in TRAPS}
    noted = {
        "nothing_succeeded", "given_up", "server_lost", "outliers", "percentiles_refused",
        "interval_refused",
        "done_missing", "left_open", "reasoning_not_streamed", "reconnected", "thoughts_only",
        "refused",
        "no_warmup", "few_readings", "client_unmeasured", "no_card", "energy_by_power",
        "overload_unseen", "unseen", "kv_no_rate",
    }  # fmt: skip
    apart = {"rate_not_achieved", "remote_code", "environment_changed", "timed_out"}
    apart |= {"tool_differs", "tool_cancelled"}  # tests/doubts/test_imports.py
    apart |= {"speculation_random"}  # tests/metrics/test_speculation.py
    planted = {name.split()[0] for fault in FAULTS for name in fault.named_by}
    invalid = {name for name, _ in INVALID}
    assert {rule.name for rule in RULES} == trapped | noted | apart | invalid | planted
    assert len(RULES) == len({rule.name for rule in RULES})
    for rule in RULES:
        assert rule.threshold and rule.reason.endswith(".")


NOTES: list[tuple[str, Callable[[Samples], Samples]]] = [
    ("done_missing", some_of(lambda t: replace(t, done=False))),
    ("left_open", some_of(lambda t: replace(t, timed_out=True))),
    (
        "reasoning_not_streamed",
        some_of(lambda t: replace(t, reasoning_tokens=8, reasoning_chunks=0), 24),
    ),
    ("reconnected", some_of(lambda t: replace(t, reconnected=True))),
    ("thoughts_only", some_of(lambda t: replace(t, reasoning_chunks=32, ttfo_s=None))),
    ("refused", some_of(lambda t: replace(t, refused=True))),
]


@pytest.mark.parametrize(("name", "trap"), NOTES, ids=[name for name, _ in NOTES])
def test_an_oddity_of_a_stream_is_a_note_that_says_what_to_do(run, name, trap) -> None:
    samples = run().samples()
    assert name not in doubts_of(samples)
    doubt = doubts_of(trap(samples))[name]
    assert doubt.severity == "note" and sentence(doubt).endswith(".")
    assert any(f"{mark} " in sentence(doubt) for mark in ":;")


def test_an_answer_that_came_in_one_read_is_not_streamed_and_has_no_time_per_token(run) -> None:
    def at_once(trace: Trace) -> Trace:
        return replace(trace, chunk_s=(trace.chunk_s[-1],) * len(trace.chunk_s))

    samples = traces(at_once)(run().samples())
    measured = metrics(samples)
    assert measured["tpot_s.p50"].value is None and measured["itl_s.p50"].value is None
    assert {"not_streamed", "chunks_together"} <= flags(samples)


def test_a_server_that_hangs_is_not_lost(run) -> None:
    samples = run().samples()
    ends = {t.index for t in samples.traces if not t.warmup and t.index >= 20}

    def hung(trace: Trace, **how: Any) -> Trace:
        failed = {"outcome": "error", "status": None, "error": "no end", **how}
        return replace(trace, **failed) if trace.index in ends else trace

    assert "server_lost" in doubts_of(traces(hung)(samples))
    assert "server_lost" not in doubts_of(traces(lambda t: hung(t, timed_out=True))(samples))


def test_a_time_out_that_decides_throughput_is_named(run) -> None:
    """One of 40 requests gets no answer for 60 s, and 2 s of work become 33 times slower."""
    samples = run(requests=40).samples()

    def stuck(trace: Trace) -> Trace:
        late = {"outcome": "error", "error": "no answer within 60 s", "timed_out": True}
        ends_s = trace.start_s + 60
        return replace(trace, end_s=ends_s, **late) if trace.index == 41 else trace

    found = doubts_of(traces(stuck)(samples))["timed_out"]
    before = metrics(samples)["output_tokens_per_s"].value
    assert found.severity == "flag" and found.values["alone_fraction"] > 0.9
    assert found.values["tokens_per_s"] < before / 20
    assert found.values["without_per_s"] == pytest.approx(before, rel=0.2)
    quick = traces(lambda t: replace(stuck(t), end_s=t.end_s))(samples)
    assert "timed_out" not in doubts_of(quick), "its end decides nothing"


def test_neighbours_count_while_they_are_busy_beside_the_run(run) -> None:
    samples = run(requests=80).samples()
    measured = [trace for trace in samples.traces if not trace.warmup]
    starts, ends = min(t.start_s for t in measured), max(t.end_s for t in measured)
    third = (ends - starts) / 3
    both = doubts_of(beside((starts, starts + third), (starts, starts + third))(samples))[
        "neighbours"
    ]
    assert "2 other engines were" in sentence(both) and "3" in sentence(both).split("%")[0]
    assert "tiny on GPU 0 and tiny on GPU 1" in sentence(both)
    shortly = doubts_of(beside((starts, starts + third / 10))(samples))["neighbours"]
    assert (both.severity, shortly.severity) == ("flag", "note")
    assert "neighbours" not in doubts_of(beside((ends + 1, ends + 9))(samples))
    assert "neighbours" not in doubts_of(samples)


@pytest.mark.parametrize(("name", "run_of", "trap"), TRAPS, ids=[name for name, _, _ in TRAPS])
def test_a_sentence_ends_with_what_to_do(run, name, run_of, trap) -> None:
    text = sentence(doubts_of(trap(run(**run_of).samples()))[name])
    assert text.endswith(".")
    assert text[0].isupper() or text[0].isdigit()
    assert any(f"{mark} " in text for mark in ":;")
    assert "None" not in text and "nan" not in text


@pytest.mark.parametrize(("name", "trap"), INVALID, ids=[name for name, _ in INVALID])
def test_a_run_with_impossible_readings_is_invalid(run, name, trap) -> None:
    samples = trap(run(requests=80).samples())
    assert doubts_of(samples)[name].severity == "invalid"
    assert status(samples, doubts(samples, metrics(samples))) == "invalid"


def test_a_busy_host_is_a_note_where_the_server_is_elsewhere(run) -> None:
    samples = host(busy_s=lambda at_s: 6.0 * at_s)(run(requests=80).samples())
    away = replace(samples, readings=replace(samples.readings, process=()))
    assert doubts_of(away)["busy_host"].severity == "note"
    hidden = host(busy_s=lambda at_s: 6.0 * at_s, ours_s=lambda at_s: None)(samples)
    assert "busy_host" not in doubts_of(hidden)


def test_an_environment_that_changed_is_named(run) -> None:
    now = {"version_vllm": "0.32.0", "gpu_driver": "580.65", "host": "a", "git_commit": "1"}
    before = {**now, "version_vllm": "0.31.0", "gpus": 1, "git_commit": "2", "doctor_at": "x"}
    differences = changes(now, before)
    assert differences == (
        {"name": "gpus", "before": 1, "now": None},
        {"name": "version_vllm", "before": "0.31.0", "now": "0.32.0"},
    )
    samples = run().samples()
    (doubt,) = [d for d in doubts(samples, metrics(samples), differences) if d.severity == "flag"]
    assert doubt.name == "environment_changed"
    assert "gpus from 1 to absent and version_vllm from 0.31.0 to 0.32.0" in sentence(doubt)
    assert changes(now, dict(now)) == ()


def test_code_that_came_with_a_model_is_noted(run) -> None:
    samples = run().samples()
    cell = replace(samples.cell, engine=Engine(model="m", trust_remote_code=True))
    assert doubts_of(replace(samples, cell=cell))["remote_code"].severity == "note"
    quiet = replace(samples.cell, engine=Engine(model="m"))
    assert "remote_code" not in doubts_of(replace(samples, cell=quiet))


def test_traps_that_are_set_are_at_least_28() -> None:
    assert len(TRAPS) >= 28


def test_a_client_that_falls_behind_its_schedule_drifts_as_well(run) -> None:
    def late(trace: Trace) -> Trace:
        later = trace.scheduled_s / 9
        chunk_s = tuple(at_s + later for at_s in trace.chunk_s)
        start_s, end_s = trace.start_s + later, trace.end_s + later
        return replace(trace, start_s=start_s, chunk_s=chunk_s, end_s=end_s)

    samples = traces(late)(run(rate=10.0, requests=120).samples())
    samples = replace(samples, readings=Readings())
    assert flags(samples) == {"rate_not_achieved", "drift"}
    assert "90% of the rate that was scheduled" in sentence(doubts_of(samples)["rate_not_achieved"])


@pytest.mark.parametrize(
    ("faster", "severity"), [(1.009, None), (1.03, "note"), (0.97, "note"), (1.25, "flag")]
)
def test_a_schedule_that_missed_its_rate_is_named(run, faster: float, severity: str | None) -> None:
    """As those of version 0.1.0 did, by up to a quarter."""
    samples = run(rate=10.0 * faster, requests=200).samples()
    cell = replace(samples.cell, rate=10.0, load=replace(samples.cell.load, requests=200))
    doubt = doubts_of(replace(samples, cell=cell)).get("rate_not_achieved")
    assert (doubt and doubt.severity) == severity
    if doubt is not None:
        assert doubt.values["variant"] == "schedule"
        assert doubt.values["achieved_rate_per_s"] == pytest.approx(10 * faster)


def test_a_run_of_which_no_request_succeeded_has_no_drift(run) -> None:
    samples = traces(fail)(run(rate=10.0, requests=20).samples())
    assert "drift" not in doubts_of(samples)


def test_a_convoy_that_was_asked_for_is_a_note(run) -> None:
    doubt = doubts_of(run(requests=40, noise=0.01).samples())["in_step"]
    assert (doubt.severity, doubt.values["variant"]) == ("note", "convoy")
    assert doubt.values["near_fraction"] > 0.9


@pytest.mark.parametrize("batch", [4, 8, 64])
@pytest.mark.parametrize("turns", [3, 10])
def test_spread_streams_are_hardly_ever_called_in_step_and_convoys_are(
    run, batch: int, turns: int
) -> None:
    """Streams that are spread, of lengths that vary or not, against convoys."""

    def in_step(tries: int, **changes: Any) -> int:
        load = {"batch": batch, "requests": turns * batch, "output_tokens": 4, **changes}
        every = (run(**load, seed=seed).samples() for seed in range(tries))
        return sum(_in_step(Case(View(samples), {})) is not None for samples in every)

    assert in_step(30, convoy=False, noise=0.1) <= 1
    assert in_step(30, convoy=False, noise=0.02) == 0
    assert in_step(10, convoy=False, noise=0.3, length_spread=0.3) <= 1
    assert in_step(10, convoy=True, noise=0.01) == 10


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_few_streams_meet_by_chance(run, batch: int) -> None:
    assert "in_step" not in doubts_of(unasked_convoy(run(batch=batch, requests=40).samples()))


def test_lengths_that_are_spread_are_compared_request_by_request(run) -> None:
    samples = run(length_spread=0.5, requests=40).samples()
    assert not {"short_outputs", "long_outputs", "prompt_tokens"} & doubts_of(samples).keys()
    first = next(t for t in samples.traces if not t.warmup)
    odd = some_of(lambda t: replace(t, prompt_tokens=t.prompt_tokens + 9), 2)(samples)
    assert doubts_of(odd)["prompt_tokens"].values["variant"] == "spread"
    short = traces(lambda t: replace(t, output_tokens=3) if t.index == first.index else t)(samples)
    values = doubts_of(short)["short_outputs"].values
    assert values["asked_tokens"] == first.output_tokens_asked


def test_a_client_a_little_late_is_a_note(run) -> None:
    def late(trace: Trace) -> Trace:
        after_s = (trace.start_s - 0.66) * 0.03
        return replace(trace, start_s=trace.start_s + after_s)

    doubt = doubts_of(traces(late)(run(rate=10.0, requests=60).samples()))["rate_not_achieved"]
    assert (doubt.severity, doubt.values["variant"]) == ("note", "late")


def test_a_schedule_that_was_cut_short_has_no_rate_to_miss(run) -> None:
    samples = run(rate=10.0, requests=60).samples()
    half = tuple(t for t in samples.traces if t.warmup or t.index < 20)
    assert "rate_not_achieved" not in doubts_of(replace(samples, traces=half))


def in_turn(arrive_s: list[float]) -> list[float]:
    """The times at which requests are done that are served one after the other, 50 ms each."""
    free_s, done_s = 0.0, []
    for at_s in arrive_s:
        free_s = max(free_s, at_s) + 0.05
        done_s.append(free_s)
    return done_s


def all_at_once(arrive_s: list[float]) -> list[float]:
    """The same capacity, shared: each of n in flight goes on at 1 / n of the pace."""
    done_s, left, now = [0.0] * len(arrive_s), dict[int, float](), 0.0
    for index, at_s in enumerate([*arrive_s, math.inf]):
        while left and (over_s := now + min(left.values()) * len(left)) <= at_s:
            left = {n: work - (over_s - now) / len(left) for n, work in left.items()}
            now = over_s
            for n in [n for n, work in left.items() if work < 1e-9]:
                done_s[n] = now
                del left[n]
        if at_s < math.inf:
            left = {n: work - (at_s - now) / len(left) for n, work in left.items()}
            left[index], now = 0.05, at_s
    return done_s


Server = Callable[[list[float]], list[float]]


def offered(run, server: Server, load: float, seed: int, requests: int = 300) -> Samples:
    """Requests at random times, `load` times the 20 in a second that `server` can answer."""
    samples = run(rate=20 * load, requests=requests, warmup=0, output_tokens=1).samples()
    gaps_s = np.random.default_rng(seed).exponential(1.0, requests)
    arrive_s = (np.cumsum(gaps_s) * requests / gaps_s.sum() * 0.05 / load).tolist()
    served = tuple(
        replace(trace, scheduled_s=at_s, start_s=at_s, chunk_s=(done_s,), end_s=done_s)
        for trace, at_s, done_s in zip(samples.traces, arrive_s, server(arrive_s), strict=True)
    )
    return replace(samples, traces=served, readings=Readings())


def test_a_server_that_falls_behind_has_its_share_of_answers(run) -> None:
    text = sentence(doubts_of(offered(run, in_turn, 1.5, seed=0))["falls_behind"])
    share = float(text.partition("about ")[2].partition("%")[0])
    assert share == pytest.approx(100 / 1.5, rel=0.2)


@pytest.mark.parametrize(
    ("server", "load", "least", "most"),
    [
        (in_turn, 0.5, 0, 0),
        (in_turn, 0.8, 0, 0),
        (in_turn, 0.95, 0, 1),
        (in_turn, 1.2, 28, 30),
        (in_turn, 2.0, 28, 30),
        (all_at_once, 0.5, 0, 0),
        (all_at_once, 0.8, 0, 1),
        (all_at_once, 0.95, 0, 1),
        (all_at_once, 1.2, 20, 30),
    ],
)
def test_only_a_server_that_is_offered_too_much_falls_behind(
    run, server: Server, load: float, least: int, most: int
) -> None:
    """Overload of 1.2 times is named at 300 requests, or the run says that it is too short; in no
    run of a healthy server is there drift."""
    every = [doubts_of(offered(run, server, load, seed)) for seed in range(30)]
    named = ["falls_behind" in doubts for doubts in every]
    assert least <= sum(named) <= most
    if load > 1:
        silent = [seed for seed in range(30) if not every[seed].keys() & OVERLOADED]
        assert not silent
    else:
        assert sum("drift" in doubts for doubts in every) <= 1


OVERLOADED = {"falls_behind", "overload_unseen"}


def test_a_run_too_short_to_tell_says_so_and_a_long_one_does_not(run) -> None:
    short = doubts_of(offered(run, in_turn, 0.5, seed=1, requests=24))["overload_unseen"]
    assert (short.severity, short.values["requests"], short.values["enough_requests"]) == (
        "note", 24, 300
    )  # fmt: skip
    for seed in range(5):
        assert not doubts_of(offered(run, in_turn, 0.5, seed, 1000)).keys() & OVERLOADED
    assert not doubts_of(run(batch=8, requests=24).samples()).keys() & OVERLOADED


def test_a_slower_server_drifts_at_any_load_that_it_holds(run) -> None:
    """At half its load, and 30% slower from the middle on."""

    def slower(arrive_s: list[float]) -> list[float]:
        free_s, done_s = 0.0, []
        for index, at_s in enumerate(arrive_s):
            free_s = max(free_s, at_s) + (0.05 if 2 * index < len(arrive_s) else 0.065)
            done_s.append(free_s)
        return done_s

    for seed in range(5):
        doubt = doubts_of(offered(run, slower, 0.5, seed))["drift"]
        assert doubt.values["variant"] == "open"
        assert doubt.values["after_s"] / doubt.values["before_s"] == pytest.approx(1.3, abs=0.1)
        assert "with as many requests in flight" in sentence(doubt)


def test_streams_that_go_in_waves_are_no_evidence_of_drift(run) -> None:
    """Four waves of 16: the second is 20% slower, as when the host was busy for a second."""

    def slower(trace: Trace) -> Trace:
        wave = (trace.index - 2) // 16
        factor = 1.2 if wave >= 2 else 1.0
        at_s = 10.0 * wave + 0.001 * trace.index
        chunk_s = tuple(at_s + (stamp - trace.start_s) * factor for stamp in trace.chunk_s)
        return replace(trace, scheduled_s=at_s, start_s=at_s, chunk_s=chunk_s, end_s=chunk_s[-1])

    samples = traces(slower)(run(batch=16, requests=64).samples())
    assert "drift" not in doubts_of(replace(samples, readings=Readings()))


def test_too_many_errors_make_a_run_invalid(run) -> None:
    samples = some_of(fail, 3)(run(requests=24).samples())
    strict = replace(samples, cell=replace(samples.cell, load=Load(max_error_rate=0.2)))
    assert doubts_of(samples)["errors"].severity == "flag"
    assert "8 of 24 requests failed" in sentence(doubts_of(samples)["errors"])
    assert "HTTP 500: out of memory" in sentence(doubts_of(samples)["errors"])
    assert doubts_of(strict)["errors"].severity == "invalid"
    assert status(strict, doubts(strict, metrics(strict))) == "invalid"


def test_nothing_succeeded(run) -> None:
    samples = traces(fail)(run().samples())
    assert doubts_of(samples)["nothing_succeeded"].severity == "invalid"
    assert "HTTP 500: out of memory" in sentence(doubts_of(samples)["nothing_succeeded"])
    assert status(samples, doubts(samples, metrics(samples))) == "failed"
    assert "errors" not in doubts_of(samples)


def test_a_load_that_was_given_up_is_invalid(run) -> None:
    samples = run(requests=24, warmup=2).samples()
    cut = replace(samples, traces=samples.traces[:12])
    assert doubts_of(cut)["given_up"].severity == "invalid"
    assert "Only 10 of 24 requests were sent" in sentence(doubts_of(cut)["given_up"])
    assert status(cut, doubts(cut, metrics(cut))) == "invalid"


def test_a_server_that_is_gone_at_the_end_makes_the_run_invalid(run) -> None:
    def gone(trace: Trace) -> Trace:
        return replace(fail(trace), status=None, chunk_s=()) if trace.index >= 22 else trace

    samples = traces(gone)(run(requests=24).samples())
    assert "The last 4 of 24 requests found no server" in sentence(
        doubts_of(samples)["server_lost"]
    )
    assert status(samples, doubts(samples, metrics(samples))) == "invalid"
    refused = traces(lambda t: fail(t) if t.index >= 22 else t)(run(requests=24).samples())
    assert flags(refused) == {"errors"}


def test_a_warm_up_that_failed_is_the_reason(run) -> None:
    samples = run(warmup=2).samples()
    warm = tuple(replace(fail(trace), chunk_s=()) for trace in samples.traces[:2])
    text = sentence(doubts_of(replace(samples, traces=warm))["nothing_succeeded"])
    assert text.startswith("Nothing was measured, because the warm-up failed (HTTP 500: out")


def test_no_request_at_all(run) -> None:
    samples = replace(run().samples(), traces=())
    assert "No request was measured" in sentence(doubts_of(samples)["nothing_succeeded"])
    assert status(samples, ()) == "failed"


def test_the_client_leads_then_the_worst(run) -> None:
    samples = some_of(fail, 2)(run(requests=24).samples())
    samples = replace(
        samples,
        cell=replace(samples.cell, load=Load(max_error_rate=0.1)),
        client=replace(samples.client, cpu_fraction=1.0),
        readings=replace(samples.readings, absent=({"variant": "no_metrics"},)),
    )
    order = [doubt.severity for doubt in doubts(samples, metrics(samples))]
    names = [doubt.name for doubt in doubts(samples, metrics(samples))]
    assert names[:2] == ["client_saturated", "errors"]
    assert order[1:] == sorted(order[1:], key=["invalid", "flag", "note"].index)
    assert names[-1] == "absent"


def test_a_late_client_is_busy_itself_or_has_a_busy_machine(run) -> None:
    samples = run().samples()
    busy = client(cpu_fraction=0.97, loop_delay_p99_s=0.5)(samples)
    assert "it used 97% of a core (limit 80%)" in sentence(doubts_of(busy)["client_saturated"])
    assert "raise load.processes (now 1)" in sentence(doubts_of(busy)["client_saturated"])
    robbed = client(cpu_fraction=0.02, loop_delay_p99_s=0.5)(samples)
    assert "500 ms late at p99 (limit 10 ms)" in sentence(doubts_of(robbed)["client_saturated"])
    assert "keep other work off its cores" in sentence(doubts_of(robbed)["client_saturated"])
    slow = client(loop_delay_p99_s=0.05)(run(ttft_s=1.0).samples())
    assert "client_saturated" not in doubts_of(slow)


def test_refused_percentiles_are_one_note_that_says_how_many_to_ask_for(run) -> None:
    samples = run(requests=100, output_tokens=5).samples()
    doubt = doubts_of(samples)["percentiles_refused"]
    assert doubt.severity == "note"
    assert "p95 and p99 of ttft_s, tpot_s and e2e_s from 100 samples" in sentence(doubt)
    assert "p99 of itl_s and icl_s from 400 samples" in sentence(doubt)
    assert "load.requests = 662" in sentence(doubt)
    enough = run(requests=662, output_tokens=5, batch=50).samples()
    assert "percentiles_refused" not in doubts_of(enough)


def test_one_reason_for_each_absent_reading(run) -> None:
    samples = run().samples()
    assert doubts_of(samples)["no_card"].severity == "note"
    explained = replace(
        samples,
        readings=Readings(absent=({"sentence": "No driver: no VRAM."}, {"variant": "no_metrics"})),
    )
    notes = [doubt for doubt in doubts(explained, metrics(explained)) if doubt.name == "absent"]
    assert [sentence(note) for note in notes] == [
        "No driver: no VRAM.",
        "The server has no /metrics: its queue and KV cache are not known.",
    ]
    assert "no_card" not in doubts_of(explained)


@pytest.mark.parametrize(
    ("name", "run_of", "change"),
    [
        ("outliers", {"noise": 0.02}, some_of(lambda t: replace(t, end_s=t.end_s + 5), 24)),
        ("short_steady_state", {"batch": 20, "requests": 24, "noise": 0.5}, lambda s: s),
        ("no_warmup", {"warmup": 0}, lambda s: s),
        ("few_readings", {"period_s": 0.5}, lambda s: s),
        ("client_unmeasured", {}, lambda s: replace(s, client=ClientHealth())),
        ("energy_by_power", {"gpu": True}, gpu(energy_j=None)),
        ("throttled", {"gpu": True, "requests": 80, "period_s": 0.02}, None),
        ("prompt_tokens", {"prompt_tokens": 64}, traces(lambda t: replace(t, prompt_tokens=65))),
        ("several_tokens_per_chunk", {}, traces(lambda t: replace(
            t, chunk_tokens=(1, 3, *(1,) * 28), chunk_s=(t.chunk_s[0], *t.chunk_s[3:])))),
    ],
)  # fmt: skip
def test_an_oddity_of_a_run_is_a_note(run, name, run_of, change) -> None:
    samples = run(**run_of).samples()
    if change is None:  # slowed down once, by heat
        readings = samples.readings.gpu
        middle = len(readings) // 2
        hot = replace(readings[middle], throttle_reasons=0x40)
        gpu = (*readings[:middle], hot, *readings[middle + 1 :])
        samples = replace(samples, readings=replace(samples.readings, gpu=gpu))
    else:
        samples = change(samples)
    assert doubts_of(samples)[name].severity == "note"
    assert flags(samples) == set()


def test_a_server_own_words_are_cut_and_put_on_one_line(run) -> None:
    words = "no\nroom " * 100
    samples = some_of(lambda t: replace(t, outcome="error", error=words))(run().samples())
    text = sentence(doubts_of(samples)["errors"])
    assert "\n" not in text
    assert len(text) < 400


def test_a_load_that_is_steady_for_half_of_its_run_is_steady_enough(run) -> None:
    samples = run(batch=20, requests=24, noise=0.5).samples()
    figures = metrics(samples)

    def steady(share: float) -> Doubt | None:
        duration_s = figures["duration_s"].value
        changed = {**figures, "steady_s": Figure(share * duration_s)}
        return {doubt.name: doubt for doubt in doubts(samples, changed)}.get("short_steady_state")

    assert steady(0.5) is None
    assert steady(0.49) is not None
