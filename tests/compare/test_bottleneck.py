"""Bottlenecks: planted causes are named, and what one run cannot tell is not guessed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from builders import a_record

from benchmarks.calibrate_bottlenecks import PLANTED, Planted, judged, measured, sizes, usual
from benchmarks.simulated import Setting, simulated
from journal.compare.bottleneck import RULES, bottleneck
from journal.compare.limit_evidence import named_limit
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.report.bottleneck_words import bottleneck_json, bottleneck_sentence
from journal.report.phrases import LANGUAGES, words
from journal.simulator.engine_model import Script
from journal.theory.predictions import served_model

DECODE = {
    "requests": 48.0,
    "requests_per_s": 5.0,
    "e2e_s.mean": 1.0,
    "ttft_s.mean": 0.05,
    "tpot_s.mean": 0.03,
    "itl_s.p50": 0.03,
}


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.name for planted in PLANTED])
def test_a_planted_cause_is_named(planted: Planted) -> None:
    found = judged(planted, 0)
    assert found.cause == planted.cause, found
    for lang in LANGUAGES:
        assert "–" not in words(lang).say(bottleneck_sentence(found), str)


def test_every_rule_is_planted() -> None:
    assert {rule.cause for rule in RULES} == {planted.cause for planted in PLANTED}


def limit_of(*doubts: str, among: Sequence[Record] = (), **changes: object) -> tuple[object, str]:
    """The cause and the variant of a run at batch 8 that decodes, but for `changes` of metrics."""
    metrics = DECODE | {name.replace("__", "."): value for name, value in changes.items()}
    raised = tuple(Doubt(name, {"sentence": "It was so."}) for name in doubts)
    record = a_record(batch=8, metrics=metrics, doubts=raised, facts=EngineFacts())  # type: ignore[arg-type]
    found = bottleneck(record, among)
    assert found is not None
    assert found.would if found.cause is None else not found.would
    for lang in LANGUAGES:
        assert words(lang).say(bottleneck_sentence(found), str)
    return found.cause, found.variant


def test_a_client_that_others_make_late_is_not_what_limits() -> None:
    assert limit_of("client_saturated")[0] == "client"
    assert limit_of("client_saturated", "busy_host") == ("host", "busy_host")


def at_batch(batch: int, step_s: float) -> Record:
    metrics = DECODE | {"itl_s.p50": step_s, "tpot_s.mean": step_s}
    return a_record(batch=batch, number=batch, metrics=metrics, facts=EngineFacts())  # type: ignore[arg-type]


def test_one_batch_alone_does_not_tell_bandwidth_from_compute() -> None:
    assert limit_of() == (None, "alone")
    assert limit_of(among=[at_batch(4, 0.029)]) == (None, "flat_alone")
    assert limit_of(among=[at_batch(16, 0.031)]) == (None, "flat_alone")
    assert limit_of(among=[at_batch(4, 0.02)]) == (None, "between")
    assert limit_of(among=[at_batch(7, 0.029)]) == (None, "alone"), "too near to tell"


def test_a_step_of_no_time_tells_no_growth() -> None:
    none = {"itl_s__p50": 0.0, "tpot_s__mean": 0.0}
    assert limit_of(among=[at_batch(4, 0.029)], **none)[0] is None
    assert limit_of(among=[at_batch(4, 0.0)]) == (None, "alone")


def test_steps_that_grow_may_be_those_of_a_kv_cache() -> None:
    """Without the sizes of the model nobody knows what its KV cache takes."""
    assert limit_of(among=[at_batch(4, 0.015)]) == (None, "kv_or_compute")


def test_half_and_half_is_neither() -> None:
    assert limit_of(ttft_s__mean=0.45) == (None, "even")
    assert limit_of(ttft_s__mean=0.55) == ("prefill", "prefill")


def test_few_waves_do_not_tell_prompts_from_a_cold_start() -> None:
    few = {"ttft_s__mean": 0.8, "requests": 16.0}
    assert limit_of(**few) == (None, "few_waves")


def test_prompts_in_turn_are_no_start_that_all_wait_for() -> None:
    few = {"ttft_s__mean": 0.8, "requests": 16.0, "requests_per_s": 5.0}
    assert limit_of(ttft_alone_s=0.18, **few) == ("prefill", "prefill")
    assert limit_of(ttft_alone_s=1.8, **few) == (None, "few_waves"), "waited for together"
    assert limit_of(ttft_alone_s=0.02, **few) == (None, "few_waves"), "read in a moment"


def test_prompts_of_others_count_as_far_as_they_explain_it() -> None:
    """Steps are three times as slow as alone; prompts are read for 10% or 90% of the time."""
    slowed = {"tpot_alone_s": 0.01}
    assert limit_of(ttft_alone_s=0.02, **slowed) == (None, "alone")
    assert limit_of(ttft_alone_s=0.18, **slowed) == ("prefill", "prefill")


WAITING = {
    "server_running_peak": 2.0,
    "server_running_mean": 2.0,
    "server_waiting_mean": 6.0,
    "concurrency_mean": 8.0,
    "kv_cache_peak_fraction": 0.1,
}


def test_a_queue_beside_a_full_pool_is_the_pool() -> None:
    assert limit_of(**WAITING) == ("queue", "queue")
    assert limit_of(**WAITING | {"kv_cache_peak_fraction": 0.97}) == ("kv_pool", "kv_pool")


def test_a_pool_without_room_for_one_more_is_full() -> None:
    """Two requests take 77% of it, and a third would take as much as each of them."""
    assert limit_of(**WAITING | {"kv_cache_peak_fraction": 0.77}) == ("kv_pool", "kv_pool")
    assert limit_of(**WAITING | {"kv_cache_peak_fraction": 0.6}) == ("queue", "queue")


def test_prompts_that_are_read_one_by_one_are_no_limit_on_requests() -> None:
    one = {"server_running_peak": 1.0, "server_running_mean": 1.0}
    read = {"ttft_alone_s": 0.19, "ttft_s__mean": 0.9}
    assert limit_of(**WAITING | one | read) == ("prefill", "prefill")


QUEUE = {"queue_s__mean": 0.1, "server_running_peak": 4.0, "server_running_mean": 3.2}
EMPTY = {"kv_cache_peak_fraction": 0.1}
SERVED = {"queue_s__mean": 0.1, "prefill_s__mean": 0.2, "decode_s__mean": 0.49}
READ = {"requests": 16.0, "requests_per_s": 5.0, "ttft_s__mean": 0.5}


@pytest.mark.parametrize(
    ("doubts", "at", "beyond", "cause"),
    [
        ((), QUEUE | EMPTY, {"queue_s__mean": 0.099}, "queue"),
        ((), QUEUE | EMPTY, {"server_running_mean": 3.19}, "queue"),  # four fifths of the peak
        ((), QUEUE | EMPTY | {"ttft_alone_s": 0.55}, {"ttft_alone_s": 0.57}, "queue"),  # 0.7 x 4
        ((), QUEUE | {"kv_cache_peak_fraction": 0.9}, {"queue_s__mean": 0.099}, "kv_pool"),
        ((), {"kv_cache_peak_fraction": 0.9, "preemptions": 1.0}, {"preemptions": 0.0}, "kv_pool"),
        ((), {"kv_cache_peak_fraction": 0.9, "preemptions": 1.0}, {}, "kv_pool"),
        (("server_batch",), {"server_waiting_mean": 0.39}, {"server_waiting_mean": 0.4}, "network"),
        ((), SERVED, {"decode_s__mean": 0.51}, "network"),
        (
            (),
            {"gpu_utilisation_mean_fraction": 0.59},
            {"gpu_utilisation_mean_fraction": 0.6},
            "host",
        ),
        (("prefix_hits_off",), {"ttft_s__mean": 0.5}, {"ttft_s__mean": 0.49}, "cold_cache"),
        ((), {"ttft_s__mean": 0.5}, {"ttft_s__mean": 0.49}, "prefill"),
        ((), {"ttft_s__mean": 0.5, "requests": 24.0}, {"requests": 23.0}, "prefill"),
        ((), READ | {"ttft_alone_s": 0.1}, {"ttft_alone_s": 0.099}, "prefill"),
        ((), READ | {"ttft_alone_s": 0.4}, {"ttft_alone_s": 0.401}, "prefill"),
    ],
)
def test_a_cause_is_seen_up_to_its_threshold(
    doubts: tuple[str, ...], at: dict[str, float], beyond: dict[str, float], cause: str
) -> None:
    """At batch 8, where a request takes 1 s and 5 are answered in a second."""
    assert limit_of(*doubts, **at)[0] == cause
    assert not beyond or limit_of(*doubts, **at | beyond)[0] != cause


@pytest.mark.parametrize(
    ("share", "variant"), [(0.4, "alone"), (0.41, "even"), (0.49, "even"), (0.5, "few_waves")]
)
def test_what_is_neither_prompts_nor_steps_is_even(share: float, variant: str) -> None:
    assert limit_of(ttft_s__mean=share, requests=16.0) == (None, variant)


@pytest.mark.parametrize(
    ("exponent", "variant"),
    [(0.19, "flat_alone"), (0.21, "between"), (0.79, "between"), (0.81, "kv_or_compute")],
)
def test_a_step_grows_with_a_power_of_the_batch(exponent: float, variant: str) -> None:
    """From batch 2 to 8, which is nearer than batch 1, and than those above."""
    others = [at_batch(2, 0.03 / 4**exponent), at_batch(1, 0.001), at_batch(16, 0.9)]
    assert limit_of(among=others) == (None, variant)
    larger = [at_batch(32, 0.03 * 4**exponent), at_batch(64, 0.9), at_batch(5, 0.001)]
    assert limit_of(among=larger) == (None, variant)


@pytest.mark.parametrize(("gain", "named"), [(1.33, True), (1.34, False)])
def test_half_of_a_step_that_a_second_gpu_does_not_divide_is_communication(
    gain: float, named: bool
) -> None:
    """By Karp and Flatt: (1 / 1.333 - 1 / 2) / (1 - 1 / 2) is a half."""
    engines = [Engine(model="m", tensor_parallel=gpus) for gpus in (2, 1)]
    two, one = (
        a_record(
            batch=8,
            number=n,
            engine=engine,
            metrics=DECODE | {"itl_s.p50": step_s},  # type: ignore[arg-type]
        )
        for n, (engine, step_s) in enumerate(zip(engines, (0.03, 0.03 * gain), strict=True))
    )
    found = bottleneck(two, [one, two])
    assert found is not None and (found.cause == "communication") == named
    if named:
        assert found.values["gain"] == pytest.approx(gain)
        assert (found.values["gpus"], found.values["fewer"]) == (2, 1)
    backwards = bottleneck(one, [one, two])
    assert backwards is not None and backwards.cause is None


def test_a_limit_on_the_command_line_is_known() -> None:
    assert named_limit(("--max-num-seqs", "2")) == named_limit(("--max-num-seqs=2",)) == 2
    assert named_limit(("--max-num-seqs",)) is None
    engine = Engine(model="m", flags=("--max-num-seqs", "4"))
    record = a_record(batch=8, metrics=DECODE | WAITING, engine=engine)  # type: ignore[arg-type]
    found = bottleneck(record)
    assert found is not None and found.cause != "queue", "2 run, and 4 might"


@pytest.mark.parametrize(
    ("doubt", "cause"),
    [
        ("client_saturated", "client"),
        ("held_back", "network"),
        ("connections", "network"),
        ("busy_host", "host"),
        ("swapping", "host"),
        ("cold_start", "cold_cache"),
    ],
)
def test_doubts_name_causes(doubt: str, cause: str) -> None:
    assert limit_of(doubt)[0] == cause


def test_a_note_names_nothing() -> None:
    record = a_record(batch=8, metrics=DECODE, doubts=(Doubt("busy_host", {}, "note"),))  # type: ignore[arg-type]
    found = bottleneck(record)
    assert found is not None and found.cause is None


def test_a_server_that_tells_nothing_is_not_guessed() -> None:
    assert limit_of("queue_unseen") == (None, "unseen")
    record = a_record(batch=8, metrics={})
    found = bottleneck(record)
    assert found is not None
    assert (found.cause, found.would) == (None, ("longer",))


def test_a_failed_run_has_no_bottleneck() -> None:
    assert bottleneck(a_record(status="failed")) is None


def test_json_has_the_evidence_in_si() -> None:
    found = bottleneck(a_record(batch=8, metrics=DECODE | WAITING))  # type: ignore[arg-type]
    assert found is not None
    told = bottleneck_json(found)
    assert told["class"] == "queue" and told["values"]["waits"] == 0.75
    assert "waited 75% of its time" in told["sentence"]


def test_the_roofline_decides_where_the_gpu_is_known() -> None:
    """A step of a 7B model at batch 8 on an H100 reads its weights for 4.5 ms."""
    facts = replace(sizes(), card="NVIDIA H100 80GB HBM3")
    metrics = {**DECODE, "itl_s.p50": 0.006, "tpot_s.mean": 0.006, "tpot_floor_s": 0.0046}
    record = a_record(batch=8, metrics=metrics, facts=facts, engine=None)  # type: ignore[arg-type]
    found = bottleneck(record)
    assert found is not None
    assert (found.cause, found.variant) == ("bandwidth", "roofline_bandwidth")


def sized(step_s: float, batch: int = 8, facts: EngineFacts | None = None, **more: float) -> Record:
    """A run of a model whose sizes are known, which decodes."""
    metrics = {**DECODE, "itl_s.p50": step_s, "tpot_s.mean": step_s, **more}
    known = facts or sizes()
    return a_record(batch=batch, number=batch, metrics=metrics, facts=known, engine=None)  # type: ignore[arg-type]


WEIGHTS_BYTES = served_model(sizes(), None, 1).weights_bytes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("bytes_per_s", "of"), [(5.01e9, ("bandwidth", "flat")), (4.99e9, ("host", "fixed"))]
)
def test_no_memory_is_as_slow_as_a_step_that_does_nothing_else(
    bytes_per_s: float, of: tuple[str, str]
) -> None:
    """Steps as long at batch 4 as at 8, on a GPU that is not known."""
    step_s = WEIGHTS_BYTES / bytes_per_s
    records = [sized(step_s), sized(step_s, batch=4)]
    found = bottleneck(records[0], records)
    assert found is not None and (found.cause, found.variant) == of
    assert found.values["weights_per_s"] == pytest.approx(bytes_per_s)


@pytest.mark.parametrize(("tokens", "cause"), [(0.99, "compute"), (1.01, None)])
def test_steps_that_grow_are_arithmetic_beside_a_kv_cache_of_a_quarter_of_the_weights(
    tokens: float, cause: str | None
) -> None:
    """Steps in proportion to the batch; all tokens of eight sequences are read in each."""
    model = served_model(sizes(), None, 1)
    assert model is not None and model.kv_bytes_per_token is not None
    whole = tokens * WEIGHTS_BYTES / 4 / 8 / model.kv_bytes_per_token
    records = [
        replace(record, cell=replace(record.cell, prompt_tokens=round(whole) - 32))
        for record in (sized(0.03), sized(0.015, batch=4))
    ]
    found = bottleneck(records[0], records)
    assert found is not None and found.cause == cause
    assert found.variant == ("proportional" if cause else "kv_or_compute")


@pytest.mark.parametrize(("times", "near"), [(3.0, True), (3.01, False)])
def test_a_step_is_near_its_floor_up_to_three_times_that(times: float, near: bool) -> None:
    facts = replace(sizes(), card="NVIDIA H100 80GB HBM3")
    record = sized(times * 0.004, facts=facts, **{"tpot_floor_s": 0.004})
    found = bottleneck(record)
    assert found is not None and (found.variant == "roofline_bandwidth") == near
    if near:
        assert found.values["ratio"] == times


def test_the_simulated_time_is_the_engines_own() -> None:
    """A healthy run in simulated time has the times of its script to the ms."""
    setting = Setting(script=Script(ttft_s=0.03, itl_s=0.01), batch=4, requests=12)
    record = measured(setting)
    assert record.status == "valid"
    assert record.value("ttft_s.p50") == pytest.approx(0.03, abs=0.0011)
    assert record.value("itl_s.p50") == pytest.approx(0.01, abs=0.0011)
    assert record.value("tpot_alone_s") == pytest.approx(0.01, abs=0.0011)
    assert simulated(setting) == simulated(setting)


def test_gpus_that_share_a_step_are_not_slowed_by_each_other() -> None:
    """Without links that cost time, more GPUs make a step faster, and nothing is said of them."""
    import numpy as np

    run = usual(np.random.default_rng(1))
    one = replace(run, engine=Engine(model="simulated"))
    two = replace(
        run,
        engine=Engine(model="simulated", tensor_parallel=2),
        script=replace(run.script, gpus=2),
    )
    records = [measured(two, 0), measured(one, 1)]
    found = bottleneck(records[0], records)
    assert found is not None and found.cause is None


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (("serve", "--max-num-seqs", "8", "--seed", "1"), 8),
        (("--max-num-seqs=16", "--max-num-seqs", "8"), 16),
        (("--max-num-seqs", "many", "--max-num-seqs=4"), 4),
        (("--max-num-seqs",), None),
        ((), None),
    ],
)
def test_the_limit_that_a_command_line_names(words: tuple[str, ...], limit: int | None) -> None:
    assert named_limit(words) == limit
