"""The change that a bottleneck calls for: never without a cause, and what it is expected to do."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from builders import a_record

from benchmarks.calibrate_tries import ENGINE, REMEDIED, Remedied, effect, shares, verdict
from journal.compare.bottleneck import Bottleneck
from journal.compare.knee import served_at
from journal.compare.next_change import next_change
from journal.compare.points import points
from journal.compare.ratios import Ratio
from journal.compare.setups import setups_of
from journal.compare.tried import FAILED, Tried, kept_or_reverted, tried
from journal.plan.settings import Setting, changed_engine
from journal.records.engine import EngineFacts
from journal.records.experiment import ChangeTrial, Engine
from journal.records.workload import Workload
from journal.report.change_words import (
    advice_sentences,
    change_json,
    trial_sentences,
    verdict_sentences,
)
from journal.report.phrases import LANGUAGES, words
from journal.theory.model_table import find_model

TRIALS = 60


@pytest.mark.parametrize("remedied", REMEDIED, ids=[each.name for each in REMEDIED])
def test_the_right_change_is_kept_and_a_useless_one_reverted(remedied: Remedied) -> None:
    """In 19 of 20 trials; and the true effect lies within what was expected, or beyond."""
    change, ratio = effect(remedied)
    allowed = 0.02
    if change.metric == "output_tokens_per_s":
        assert 1.05 < ratio <= change.high * (1 + allowed)
    else:
        assert change.low * (1 - allowed) <= ratio < 0.95 or remedied.cause == "cold_cache"
    (_, _, right), (_, _, useless) = shares(remedied, TRIALS)
    assert right["kept"] >= 0.95 * TRIALS, right
    assert useless["reverted"] >= 0.93 * TRIALS, useless
    for lang in LANGUAGES:
        assert words(lang).paragraph(advice_sentences(change), str)
    assert change_json(change)["toml"][0] == "  [engine]"


def test_nothing_is_changed_without_a_measured_cause() -> None:
    record = a_record(metrics={"server_running_peak": 2.0}, batch=8)
    untold = Bottleneck(cause=None, variant="alone", values={}, would=("batches",))
    assert next_change(record, untold) is None
    assert next_change(record, None) is None
    queue = Bottleneck(cause="queue", variant="queue", values={})
    assert next_change(record, queue) is not None
    assert next_change(a_record(engine=None, batch=8), queue) is None, "nobody's to change"


def test_a_change_that_was_tried_is_not_called_for_again() -> None:
    record = a_record(metrics={"server_running_peak": 2.0}, batch=8)
    queue = Bottleneck(cause="queue", variant="queue", values={})
    assert next_change(record, queue, [Setting("max_num_seqs", 8)]) is None


def test_a_verdict_is_that_of_the_whole_interval() -> None:
    for low, high, expected in (
        (1.01, 1.2, "kept"),
        (0.97, 1.04, "reverted"),
        (0.7, 0.9, "reverted"),
        (0.97, 1.06, "undecided"),
    ):
        assert kept_or_reverted(Ratio(1.0, low, high, 0.5), higher=True) == expected
        assert kept_or_reverted(Ratio(1.0, 1 / high, 1 / low, 0.5), higher=False) == expected
    assert (
        kept_or_reverted(Ratio(1.2), higher=True)
        == kept_or_reverted(None, higher=True)
        == "undecided"
    )


def test_an_engine_that_fails_with_the_change_is_reverted() -> None:
    after = changed_engine(ENGINE, Setting("max_num_seqs", 8))
    good = a_record(engine=ENGINE, metrics={"output_tokens_per_s": 10.0})
    bad = a_record(engine=after, status="failed", error="out of memory", number=1)
    trial = ChangeTrial(setting="engine.max_num_seqs=8", metric="output_tokens_per_s")
    found = tried(trial, ENGINE, after, [good, bad])
    assert (found.verdict, found.failed) == ("reverted", "out of memory")
    alone = tried(trial, after, ENGINE, [good, bad])
    assert alone.verdict == "kept", "it starts, and the other does not"
    for each in (found, alone):
        for lang in LANGUAGES:
            assert words(lang).paragraph(tuple(trial_sentences(trial)), str)
            assert words(lang).paragraph(tuple(verdict_sentences(each)), str)


def test_a_loss_is_reverted() -> None:
    trial = ChangeTrial(setting="engine.x=1", metric="output_tokens_per_s", looks=2)
    random = np.random.default_rng(3)
    after = Engine(model="simulated", flags=("--x", "1"))
    drawn = Counter(verdict(trial, ENGINE, after, 0.9, random) for _ in range(TRIALS))
    assert drawn["reverted"] >= 0.95 * TRIALS


# ---- what each cause calls for -----------------------------------------------------------------


def cause(name: str, **values: float | int) -> Bottleneck:
    return Bottleneck(cause=name, variant="v", values=values)  # type: ignore[arg-type]


def test_a_queue_calls_for_as_many_at_once_as_are_sent() -> None:
    """A request waits for half of its time: twice the throughput, at most."""
    metrics = {"server_running_peak": 2.0, "queue_s.mean": 0.5, "e2e_s.mean": 1.0}
    found = next_change(a_record(metrics=metrics, batch=8), cause("queue"))
    assert found is not None
    assert found.setting == Setting("max_num_seqs", 8)
    assert (found.low, found.high, found.metric) == (1.0, 2.0, "output_tokens_per_s")
    assert found.after.flags == ("--max-num-seqs", "8") and found.before.flags == ()
    by_running = a_record(metrics={**metrics, "server_running_mean": 2.0}, batch=8)
    assert (further := next_change(by_running, cause("queue"))) is not None
    assert further.high == 4.0
    opened = a_record(metrics={**metrics, "server_running_mean": 1.0}, batch=None, rate=3.0)
    assert (twice := next_change(opened, cause("queue"))) is not None
    assert (twice.setting, twice.high) == (Setting("max_num_seqs", 4), 2.0)
    whole = a_record(metrics={"server_running_peak": 8.0}, batch=8)
    assert next_change(whole, cause("queue")) is None
    assert next_change(a_record(batch=8), cause("queue")) is None


def test_a_long_wait_is_no_promise_without_end() -> None:
    metrics = {"server_running_peak": 2.0, "queue_s.mean": 0.99, "e2e_s.mean": 1.0}
    found = next_change(a_record(metrics=metrics, batch=8), cause("queue"))
    assert found is not None and found.high == pytest.approx(20)


POOL = EngineFacts(kv_pool_tokens=1024, kv_pool_bytes=1024 * 100, block_size=64)


def test_a_small_pool_is_to_hold_the_whole_batch_and_a_tenth_more() -> None:
    """Eight requests of 64 + 32 tokens, which take two blocks of 64 each, and one block that the
    engine keeps: nine times 128 tokens of 100 bytes."""
    record = a_record(batch=8, facts=POOL)
    found = next_change(record, cause("kv_pool"))
    assert found is not None
    assert found.setting == Setting("kv_cache_memory_bytes", math.ceil(9 * 128 * 100 * 1.1))
    assert found.after.kv_cache_memory_bytes == found.setting.value
    blocks = replace(POOL, block_size=None)  # of 16 tokens: 96 each
    found = next_change(a_record(batch=12, facts=blocks), cause("kv_pool"))
    assert found is not None
    assert found.setting.value == math.ceil(13 * 96 * 100 * 1.1)
    large = replace(POOL, kv_pool_tokens=4096, kv_pool_bytes=4096 * 100)
    assert next_change(a_record(batch=8, facts=large), cause("kv_pool")) is None
    for unknown in (
        a_record(batch=8, facts=EngineFacts()),
        a_record(batch=None, rate=2.0, facts=POOL),
        a_record(batch=8, facts=POOL, output_tokens=None),
    ):
        assert next_change(unknown, cause("kv_pool")) is None


def test_on_a_gpu_a_pool_grows_with_its_share_and_then_by_smaller_tokens() -> None:
    facts = EngineFacts(card="NVIDIA L4")
    found = next_change(a_record(batch=8, facts=facts), cause("kv_pool"))
    assert found is not None and found.setting == Setting("gpu_memory_utilization", 0.95)
    most = Engine(model="m", gpu_memory_utilization=0.95)
    found = next_change(a_record(batch=8, facts=facts, engine=most), cause("kv_pool"))
    assert found is not None and found.setting == Setting("kv_cache_dtype", "fp8")
    assert found.risks == ("answers",)
    small = replace(most, flags=("--kv-cache-dtype", "fp8"))
    assert next_change(a_record(batch=8, facts=facts, engine=small), cause("kv_pool")) is None
    sized = Engine(model="m", kv_cache_memory_bytes=1000)
    known = replace(POOL, card="NVIDIA L4")
    found = next_change(a_record(batch=8, facts=known, engine=sized), cause("kv_pool"))
    assert found is not None and found.setting.name == "kv_cache_memory_bytes"


def test_shared_prefixes_call_for_their_cache() -> None:
    """A quarter of each prompt is its own."""
    shared = Workload(shared_prefix=48)
    for name in ("cold_cache", "prefill"):
        found = next_change(a_record(batch=8, workload=shared), cause(name))
        assert found is not None
        assert (found.setting, found.low, found.high) == (Setting("prefix_caching", True), 0.25, 1)
        assert found.metric == "ttft_s.p50"
    cached = Engine(model="m", prefix_caching=True)
    for record in (
        a_record(batch=8),
        a_record(batch=8, workload=shared, engine=cached),
        a_record(batch=8, workload=shared, prompt_tokens=None),
    ):
        assert next_change(record, cause("cold_cache")) is None


@pytest.mark.parametrize(
    ("name", "metric"),
    [("prefill", "ttft_s.p50"), ("bandwidth", "tpot_s.p50"), ("compute", "tpot_s.p50")],
)
def test_a_model_is_spread_where_there_are_as_many_gpus_again(name: str, metric: str) -> None:
    two = Engine(model="m", tensor_parallel=2)
    found = next_change(a_record(batch=8, engine=two, facts=EngineFacts(cards=4)), cause(name))
    assert found is not None
    assert (found.setting, found.metric) == (Setting("tensor_parallel", 4), metric)
    assert (found.low, found.high, found.risks) == (0.5, 1.0, ("starts",))
    for few in (EngineFacts(cards=3), EngineFacts()):
        assert next_change(a_record(batch=8, engine=two, facts=few), cause(name)) is None


def test_gpus_that_only_talk_are_taken_away() -> None:
    four = Engine(model="m", tensor_parallel=4)
    record = a_record(batch=8, engine=four)
    found = next_change(record, cause("communication", gain=0.8, fewer=2))
    assert found is not None
    assert (found.setting, found.low) == (Setting("tensor_parallel", 2), 0.8)
    assert next_change(record, cause("communication", gain=1.0, fewer=2)) is None
    assert next_change(record, cause("communication", fewer=2)) is None
    staged = Engine(model="m", tensor_parallel=2, pipeline_parallel=2)
    found = next_change(a_record(engine=staged), cause("communication", gain=0.8, fewer=2))
    assert found is None


def test_a_gpu_that_waits_calls_for_graphs_that_were_off() -> None:
    eager = Engine(model="m", flags=("--enforce-eager",))
    found = next_change(a_record(engine=eager), cause("host", used=0.3))
    assert found is not None
    assert (found.setting, found.low) == (Setting("enforce_eager", False), 0.3)
    assert "--enforce-eager" not in found.after.flags
    assert (unknown := next_change(a_record(engine=eager), cause("host"))) is not None
    assert unknown.low == 0.5
    assert next_change(a_record(), cause("host", used=0.3)) is None


@pytest.mark.parametrize("name", ["bandwidth", "compute"])
def test_weights_of_16_bits_may_have_8(name: str) -> None:
    """A step that reads little but weights takes little more than half."""
    config = dict(find_model("mistralai/Mistral-7B-Instruct-v0.2").config)
    facts = EngineFacts(config=config, card="NVIDIA L40S", dtype="bfloat16", cards=1)
    record = a_record(batch=1, facts=facts)
    found = next_change(record, cause(name))
    assert found is not None
    assert found.setting == Setting("quantisation", "fp8")
    assert 0.5 < found.low < 0.55 and found.high == 1.0
    others = Engine(model="m", quantisation="fp8")
    for none in (
        a_record(batch=1, facts=facts, engine=others),
        a_record(batch=None, rate=1.0, facts=facts),
        a_record(batch=1, facts=facts, prompt_tokens=None),
        a_record(batch=1, facts=replace(facts, card="of an unknown kind")),
        a_record(batch=1, facts=replace(facts, config=None)),
    ):
        assert next_change(none, cause(name)) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        *((0.9, 1.1, True), (0.5, 0.8, True), (1.2, 1.4, True)),
        *((0.5, 0.79, False), (1.21, 1.4, False), (None, 1.1, None)),
    ],
)
def test_a_change_does_as_predicted_where_the_ranges_meet(
    low: float | None, high: float, expected: bool | None
) -> None:
    trial = ChangeTrial(setting="engine.x=1", metric="ttft_s.p50", low=0.8, high=1.2)
    found = Tried(
        trial=trial,
        before=ENGINE,
        after=ENGINE,
        verdict="undecided",
        ratio=Ratio(1.0, low, high if low is not None else None, 0.5),
    )
    assert found.as_predicted is expected
    assert replace(found, ratio=None).as_predicted is None
    unsaid = replace(trial, low=None)
    assert replace(found, trial=unsaid).as_predicted is None


def test_without_runs_of_both_nothing_is_decided() -> None:
    after = changed_engine(ENGINE, Setting("max_num_seqs", 8))
    trial = ChangeTrial(setting="engine.max_num_seqs=8", metric="output_tokens_per_s")
    without, with_it = (
        a_record(engine=engine, metrics={"output_tokens_per_s": 10.0}) for engine in (ENGINE, after)
    )
    for records in ([], [without], [with_it]):
        assert tried(trial, ENGINE, after, records).verdict == "undecided"
    mended = replace(trial, cause=FAILED)
    found = tried(mended, after, after, [with_it])
    assert (found.verdict, found.starts) == ("kept", (0, 1))
    both = tried(trial, ENGINE, after, [without, with_it])
    assert (both.verdict, both.starts) == ("undecided", (1, 1))


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ((10.6, 11.1, 10.1), "undecided"),
        ((20.0, 20.01, 19.99), "kept"),
        ((5.0, 5.01, 4.99), "reverted"),
    ],
)
def test_only_what_is_undecided_calls_for_more_starts(rates: tuple[float, ...], said: str) -> None:
    after = changed_engine(ENGINE, Setting("max_num_seqs", 8))
    trial = ChangeTrial(setting="engine.max_num_seqs=8", metric="output_tokens_per_s")
    sides = ((ENGINE, (10.0, 10.3, 9.7)), (after, rates))
    records = [
        a_record(
            engine=engine,
            number=10 * side + start,
            experiment_id=f"e{start}",
            metrics={"output_tokens_per_s": rate},
        )
        for side, (engine, values) in enumerate(sides)
        for start, rate in enumerate(values)
    ]
    found = tried(trial, ENGINE, after, records)
    assert (found.verdict, found.more is not None) == (said, said == "undecided"), found
    assert found.starts == (3, 3)


def test_a_point_without_an_engine_of_ours_has_the_gpus_that_the_server_tells() -> None:
    config = dict(find_model("mistralai/Mistral-7B-Instruct-v0.2").config)
    for cards, count in ((None, 1), (4, 4)):
        facts = EngineFacts(config=config, dtype="bfloat16", cards=cards)
        records = [a_record(engine=None, facts=facts)]
        (point,) = points(zip(records, setups_of(records), strict=True))
        model = served_at(point)
        assert model is not None and model.gpu_count == count
