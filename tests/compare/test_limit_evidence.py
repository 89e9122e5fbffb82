"""What limits a cell is read from shares of a request's time, worked out by hand."""

from dataclasses import replace

import pytest
from builders import a_cell, a_record

from journal.compare.limit_evidence import (
    Among,
    Subject,
    but_for_batch,
    but_for_gpus,
    growth_over_batch,
    kv_beside_weights,
    others_alike,
    prefill_share,
    weights_rate,
)
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.theory.model_table import find_model

SMOL = find_model("SmolLM2-135M")
FACTS = EngineFacts(config=SMOL.config, dtype="bfloat16")


def of(**metrics: float) -> Subject:
    named = {name.replace("__", "."): value for name, value in metrics.items()}
    return Subject(a_record(batch=8, metrics=named))  # type: ignore[arg-type]


def test_a_request_is_served_from_when_it_was_sent() -> None:
    late = of(e2e_s__mean=1.5, send_delay_s__mean=0.5, queue_s__mean=0.1)
    assert (late.served_s, late.share("queue_s.mean")) == (1.0, 0.1)
    assert of(e2e_s__mean=1.5).served_s == 1.5
    assert of(queue_s__mean=0.1).share("queue_s.mean") is None
    assert of(e2e_s__mean=1.5).share("queue_s.mean") is None


def test_a_server_that_tells_no_times_has_a_queue_by_its_counts() -> None:
    counts = {"server_waiting_mean": 2.0, "concurrency_mean": 8.0}
    assert of(**counts).waits == 0.25
    assert of(**counts, e2e_s__mean=1.0, queue_s__mean=0.1).waits == 0.1
    assert of(server_waiting_mean=2.0).waits is of(concurrency_mean=8.0).waits is None
    assert of(server_waiting_mean=2.0, concurrency_mean=0.0).waits is None


def test_means_and_gaps_between_tokens_come_before_what_stands_in_for_them() -> None:
    assert of(ttft_s__mean=0.2, ttft_s__p50=0.1).usual("ttft_s") == 0.2
    assert of(ttft_s__p50=0.1).usual("ttft_s") == 0.1
    assert of(itl_s__p50=0.02, tpot_s__p50=0.03).step_s == 0.02
    assert of(tpot_s__p50=0.03).step_s == 0.03


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 0.2),  # nothing tells what others' prompts cost
        ({"requests_per_s": 2.0, "ttft_alone_s": 0.1}, 0.2 + 0.2 * 0.8),  # read for a fifth
        ({"requests_per_s": 2.0, "ttft_alone_s": 0.2}, 0.2 + 0.8 / 3),  # a third of each gap
        ({"requests_per_s": 2.0, "ttft_alone_s": 0.3, "tpot_alone_s": 0.015}, 0.2 + 0.5 * 0.8),
        ({"requests_per_s": 2.0, "ttft_alone_s": 0.3, "itl_s__p50": 0.04}, 0.2),  # no loss
        ({"ttft_s__mean": 1.2}, 1.0),  # no more than all of it
    ],
)
def test_prompts_of_others_take_what_gaps_are_longer_by_and_no_more_than_is_read(
    changes: dict[str, float], share: float
) -> None:
    """A fifth of a request passes before its first token; its tokens take 30 ms, of which 20 ms
    are usual."""
    times = {"e2e_s__mean": 1.0, "ttft_s__mean": 0.2, "tpot_s__mean": 0.03, "itl_s__p50": 0.02}
    assert prefill_share(of(**times | changes)) == pytest.approx(share)


def test_prompts_have_no_share_of_an_unknown_time() -> None:
    assert prefill_share(of(ttft_s__mean=0.2)) is prefill_share(of(e2e_s__mean=1.0)) is None
    without = {"e2e_s__mean": 1.0, "ttft_s__mean": 0.2, "requests_per_s": 2.0, "ttft_alone_s": 0.1}
    assert prefill_share(of(**without)) == 0.2  # no time per token
    assert prefill_share(of(**without, tpot_s__mean=0.03)) == 0.2  # no pace to hold it against


def test_each_gpu_reads_its_part_of_the_weights_in_a_step() -> None:
    metrics = {"itl_s.p50": 0.01}
    whole = 2 * SMOL.published / 0.01
    two = Engine(model="m", tensor_parallel=2)
    for facts, engine, rate in (
        (FACTS, Engine(model="m"), whole),
        (FACTS, two, whole / 2),
        (replace(FACTS, cards=4), None, whole / 4),
        (FACTS, None, whole),
    ):
        record = a_record(batch=8, metrics=metrics, facts=facts, engine=engine)  # type: ignore[arg-type]
        assert weights_rate(Subject(record)) == pytest.approx(rate)
    assert weights_rate(Subject(a_record(batch=8, metrics=metrics))) is None  # type: ignore[arg-type]
    assert weights_rate(Subject(a_record(batch=8, facts=FACTS))) is None


def test_a_step_reads_the_cache_of_a_whole_batch_beside_the_weights() -> None:
    """8 sequences of 64 + 32 tokens, of 23,040 bytes each."""
    found = kv_beside_weights(Subject(a_record(batch=8, facts=FACTS)))
    assert found == pytest.approx(8 * 96 * 23_040 / (2 * SMOL.published))
    for unknown in (
        a_record(batch=None, rate=2.0, facts=FACTS),
        a_record(batch=8),
        a_record(batch=8, facts=FACTS, output_tokens=None),
    ):
        assert kv_beside_weights(Subject(unknown)) is None


def test_a_step_grows_between_the_two_nearest_batches_at_least_a_doubling_apart() -> None:
    runs = [
        a_record(batch=batch, number=batch, metrics={"itl_s.p50": step_s})
        for batch, step_s in ((2, 0.01), (4, 0.02), (8, 0.04), (15, 0.05), (16, 0.32))
    ]
    found = growth_over_batch(Subject(runs[2], Among(runs)))
    assert found is not None and found.exponent == pytest.approx(1.0)
    assert found.values == {"few": 4, "many": 8, "few_s": 0.02, "many_s": 0.04}
    least = growth_over_batch(Subject(runs[0], Among(runs)))
    assert least is not None and (least.values["few"], least.values["many"]) == (2, 4)
    up = growth_over_batch(Subject(runs[2], Among(runs[2:])))
    assert up is not None and up.exponent == pytest.approx(3.0)
    assert growth_over_batch(Subject(runs[2], Among(runs[2:4]))) is None


def test_runs_are_alike_but_for_the_batch_or_the_gpus() -> None:
    base = a_cell(engine=Engine(model="m", env={"A": "1", "B": "2"}))
    assert base.engine is not None
    swapped = replace(base.engine, env={"B": "2", "A": "1"})
    other_env = replace(base.engine, env={"A": "2"})
    assert but_for_batch(base) == but_for_batch(replace(base, batch=8, engine=swapped))
    for changes in ({"prompt_tokens": 65}, {"output_tokens": 33}, {"engine": other_env}):
        assert but_for_batch(replace(base, **changes)) != but_for_batch(base)  # type: ignore[arg-type]
    for gpus in ({"tensor_parallel": 2}, {"pipeline_parallel": 2}):
        spread = replace(base, engine=replace(base.engine, **gpus))  # type: ignore[arg-type]
        assert but_for_gpus(spread) == but_for_gpus(base)
        assert but_for_batch(spread) != but_for_batch(base)
    assert but_for_gpus(replace(base, batch=8)) != but_for_gpus(base)


def test_only_good_runs_are_compared_with_and_none_with_itself() -> None:
    def ran(number: int, **changes: object) -> Record:
        return a_record(batch=number + 1, number=number, **changes)

    runs = [ran(0), ran(1), ran(2, status="failed"), ran(3, output_tokens=64)]
    alike = others_alike(Subject(runs[0], Among(runs)), but_for_batch)
    assert [record.id for record in alike] == [runs[1].id]
    assert others_alike(Subject(runs[0]), but_for_batch) == []
