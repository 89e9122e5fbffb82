"""Figures that an engine gave when it started, of runs with figures and without."""

from builders import a_record

from journal.metrics.beside_theory import of_engine
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine

FACTS = EngineFacts(kv_pool_bytes=1000, kv_pool_tokens=64, weights_bytes=500)
TWO = Engine(model="m", tensor_parallel=2)


def test_what_an_engine_gave_is_known_of_a_run_that_failed_later() -> None:
    """Bytes are those of both GPUs, the tokens of the pool are in all of them."""
    failed = a_record(engine=TWO, facts=FACTS, status="failed")
    assert of_engine(failed, "kv_pool_bytes") == 2000
    assert of_engine(failed, "weights_bytes") == 1000
    assert of_engine(failed, "kv_pool_tokens") == 64
    attached = a_record(engine=None, facts=FACTS)
    assert of_engine(attached, "kv_pool_bytes") == 1000


def test_the_figure_of_a_run_comes_first_where_the_engine_gave_the_fact() -> None:
    record = a_record(engine=TWO, facts=FACTS, metrics={"kv_pool_bytes": 7.0})
    assert of_engine(record, "kv_pool_bytes") == 7.0
    by_checkpoint = a_record(facts=EngineFacts(), metrics={"weights_bytes": 7.0})
    assert of_engine(by_checkpoint, "weights_bytes") is None
    assert of_engine(record, "ttft_s.p50") is None
