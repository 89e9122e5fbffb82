"""The search for the least memory, over engines whose KV cache is scripted: through the whole
runner, with an interpreter that stands in for vLLM."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.compare.least_pool import MOST_TRIES, at_pool, needed, serves
from journal.errors import SpecError
from journal.plan.cells import cells
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.figure import Figure
from journal.records.run import Record
from journal.run.begin import run
from journal.run.pool_search import most_starts, starts
from journal.store.store import open_store
from journal.theory.model_table import find_model

StandIn = Callable[..., Engine]
TOKENS, TOKEN_BYTES = 16, 23_040
BLOCK = TOKENS * TOKEN_BYTES
RESERVED = 512 * BLOCK


def experiment_for(engine: Engine, batch: tuple[int, ...] = (4,), prompt: int = 40) -> Experiment:
    return Experiment(
        name="needed",
        engines=(engine,),
        grid=Grid(batch=batch, prompt_tokens=(prompt,), output_tokens=(24,)),
        load=Load(requests=12, warmup=0, repeats=3),
        needed_vram=True,
    )


@pytest.fixture
def engine(stand_in: StandIn, model: Path) -> Engine:
    """One that reserves 512 blocks by default."""
    (model / "config.json").write_text(json.dumps(dict(find_model("SmolLM2-135M").config)))
    pool = {"pool": (BLOCK, TOKENS)}
    return stand_in(pool, kv_cache_memory_bytes=RESERVED, max_model_len=4096)


def test_one_block_less_than_theory_says_does_not_serve(engine: Engine, tmp_path: Path) -> None:
    result = run(experiment_for(engine), tmp_path / "lab")
    (search,) = result.needed
    assert result.ok
    assert search.theory_blocks == 4 * 4 + 1
    assert search.whole
    assert search.least is not None
    assert search.most is not None
    assert (search.least.blocks, search.most.blocks) == (17, 16)
    assert search.least.pool_bytes == search.theory_bytes == 17 * BLOCK
    assert search.most.record.metrics["preemptions"].value
    assert len(result.records) == 3  # the reserved pool, theory's, and one below: no repeats
    assert {record.cell.repeat for record in result.records} == {0}
    with open_store(tmp_path / "lab") as store:
        assert len(store.runs()) == 3
        again = needed(search.cell, store.runs())
        assert (again.least, again.theory_blocks) == (search.least, search.theory_blocks)
    resumed = run(experiment_for(engine), tmp_path / "lab", resume=True)
    assert [one.id for one in resumed.records] == [one.id for one in result.records]


def test_an_engine_that_refuses_a_pool_decides_the_search(engine: Engine, tmp_path: Path) -> None:
    result = run(experiment_for(engine, batch=(1,), prompt=100), tmp_path / "lab")
    (search,) = result.needed
    assert result.ok
    assert search.least is not None
    assert search.most is not None
    assert (search.least.blocks, search.most.blocks) == (9, 8)
    assert search.most.record.status == "failed"
    assert "KV cache" in (search.most.record.error or "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"engines": ()}, "an engine that can be started again"),
        ({"grid": Grid(rate=(1.0,))}, "batches: leave rate out"),
        ({"find_capacity": "rate"}, "leave find_capacity out"),
    ],
)
def test_what_such_a_search_cannot_be_asked(change: dict[str, object], reason: str) -> None:
    experiment = replace(experiment_for(Engine(model="m")), **change)
    with pytest.raises(SpecError, match=reason):
        cells(experiment, model="m")


# ---- which pool comes next -------------------------------------------------------------------


def a_record(cell: Cell, *, serves: bool, blocks: int | None = None) -> Record:
    """A run in a pool of which `serves` says whether it was enough; refused where it is None."""
    facts = EngineFacts(
        kv_pool_bytes=RESERVED, kv_pool_tokens=512 * TOKENS, block_size=TOKENS, dtype="bfloat16"
    )
    metrics = {
        "preemptions": Figure(0.0 if serves else 2.0),
        "server_running_peak": Figure(float(cell.batch or 0)),
        "errors": Figure(0.0),
        "kv_bytes_per_token": Figure(float(TOKEN_BYTES)),
    }
    return Record(
        id=f"{time.monotonic_ns():x}",
        experiment_id="e",
        cell=cell,
        status="valid",
        started_at=datetime(2026, 11, 20, tzinfo=UTC),
        duration_s=1.0,
        metrics=metrics,
        facts=facts,
    )


def searched(enough: int, batch: int = 4) -> list[Record]:
    """The records of a search whose truth is that `enough` blocks serve."""
    experiment = experiment_for(Engine(model="m"), batch=(batch,))
    records: list[Record] = []
    for engine, group in starts(experiment, cells(experiment), records):
        assert engine is not None
        pool = engine.kv_cache_memory_bytes
        for cell in group:
            assert cell.engine == engine
            records.append(a_record(cell, serves=pool is None or pool >= enough * BLOCK))
    return records


@given(st.integers(2, 60), st.integers(1, 8))
def test_the_search_is_bounded_and_never_says_more_than_it_saw(enough: int, batch: int) -> None:
    records = searched(enough, batch)
    experiment = experiment_for(Engine(model="m"), batch=(batch,))
    (cell,) = cells(experiment)
    assert len(records) <= most_starts(experiment, [cell]) == 1 + MOST_TRIES
    search = needed(cell, records)
    if search.least is not None:
        assert search.least.blocks >= enough
    if search.most is not None:
        assert search.most.blocks < enough
    if search.whole:
        assert search.least is not None
        assert search.least.blocks == enough
    theory = search.theory_blocks
    assert theory is not None
    if abs(enough - theory) <= 5:
        assert search.whole
    pools = [record.cell.engine.kv_cache_memory_bytes for record in records[1:]]
    assert len(set(pools)) == len(pools)


def test_theory_that_holds_takes_two_starts() -> None:
    assert len(searched(17)) == 3


def test_a_pool_that_only_some_requests_fit_into_does_not_serve() -> None:
    (cell,) = cells(experiment_for(Engine(model="m")))
    record = a_record(cell, serves=True)
    assert serves(record)
    for name, value in (("server_running_peak", 3.0), ("errors", 1.0), ("preemptions", None)):
        changed = replace(record, metrics={**record.metrics, name: Figure(value)})
        assert not serves(changed)
    assert not serves(replace(record, metrics={}))


def test_no_search_is_made_without_the_engine_s_own_count() -> None:
    experiment = experiment_for(Engine(model="m"))
    (cell,) = cells(experiment)
    record = replace(a_record(cell, serves=True), facts=EngineFacts())
    search = needed(cell, [record])
    assert search.next_blocks() is search.theory_bytes is search.least is search.most is None
    assert list(starts(experiment, [cell], [record])) == []


def test_tries_for_other_cells_are_not_taken_for_one_s_own() -> None:
    experiment = experiment_for(Engine(model="m"), batch=(1, 4))
    one, four = cells(experiment)
    records = [a_record(one, serves=True), a_record(four, serves=True)]
    records.append(a_record(at_pool(four, 17 * BLOCK), serves=True))
    assert needed(one, records).tries == ()
    assert [one.blocks for one in needed(four, records).tries] == [17]
