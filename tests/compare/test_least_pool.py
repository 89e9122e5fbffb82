"""The least pool: tries that served a cell or did not, and the next pool to try."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.least_pool import MOST_TRIES, at_pool, needed, serves
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record

Build = Callable[..., Record]
TOKENS, BLOCK = 16, 16 * 1000
# 4 requests of 64 + 32 tokens are 6 blocks of 16 each; vLLM keeps one more back.
THEORY = 4 * 6 + 1


def ran(record: Build, ok: bool = True, number: int = 0, **changes: object) -> Record:
    """A run whose 4 requests ran at once, and none or some were preempted."""
    metrics = {"preemptions": 0 if ok else 2, "server_running_peak": 4, "errors": 0}
    given = {"facts": EngineFacts(block_size=TOKENS), "engine": Engine(model="m"), **changes}
    return record(
        batch=4, number=number, metrics={**metrics, "kv_bytes_per_token": 1000.0}, **given
    )


def tried(record: Build, *pools: tuple[int, bool]) -> list[Record]:
    reserved = ran(record)
    runs = [reserved]
    for number, (blocks, ok) in enumerate(pools, start=1):
        pinned = at_pool(reserved.cell, blocks * BLOCK)
        runs.append(replace(ran(record, ok, number), cell=pinned))
    return runs


@pytest.mark.parametrize(
    ("pools", "following"),
    [
        ((), THEORY),
        (((25, False),), 26),
        (((25, False), (26, False)), 28),
        (((25, False), (26, False), (28, False)), 32),
        (((25, True),), 24),
        (((25, True), (24, True)), 22),
        (((25, True), (15, False)), 20),
        (((3, True),), 2),
        (((25, True), (24, False)), None),
        (((2, True),), None),
    ],
)
def test_the_next_pool_is_theorys_then_further_away_then_halfway(
    record: Build, pools: tuple[tuple[int, bool], ...], following: int | None
) -> None:
    runs = tried(record, *pools)
    assert needed(runs[0].cell, runs).next_blocks() == following


def test_a_search_ends_after_so_many_pools(record: Build) -> None:
    pools = [(25 + 2 * n, False) for n in range(MOST_TRIES)]
    runs = tried(record, *pools[:-1])
    assert needed(runs[0].cell, runs).next_blocks() is not None
    runs = tried(record, *pools)
    assert needed(runs[0].cell, runs).next_blocks() is None


def test_the_smallest_pool_that_served_and_the_largest_below_it_that_did_not(
    record: Build,
) -> None:
    runs = tried(record, (30, True), (25, True), (20, False), (22, False), (40, False))
    search = needed(runs[0].cell, runs)
    assert search.least is not None and search.most is not None
    assert (search.least.blocks, search.least.pool_bytes) == (25, 25 * BLOCK)
    assert search.most.blocks == 22
    assert [one.blocks for one in search.tries] == [20, 22, 25, 30, 40]
    assert search.theory_bytes == THEORY * BLOCK
    assert not search.whole
    assert search.reserved is runs[0]


def test_a_search_is_whole_at_a_neighbour_that_did_not_serve_or_at_the_smallest_pool(
    record: Build,
) -> None:
    for pools, whole in (
        (((25, True), (24, False)), True),
        (((25, True), (23, False)), False),
        (((25, False),), False),
        (((2, True),), True),
        (((3, True),), False),
    ):
        runs = tried(record, *pools)
        assert needed(runs[0].cell, runs).whole == whole, pools


def test_nothing_is_known_without_the_reserved_run(record: Build) -> None:
    runs = tried(record, (25, True))
    search = needed(runs[0].cell, runs[1:])
    assert (search.reserved, search.theory_blocks, search.tries) == (None, None, ())
    assert search.next_blocks() is search.theory_bytes is None


def test_runs_of_another_cell_are_no_tries(record: Build) -> None:
    runs = tried(record, (25, True))
    other = replace(runs[1], cell=replace(runs[1].cell, prompt_tokens=65))
    assert needed(runs[0].cell, [runs[0], other]).tries == ()


def test_a_pool_without_a_formula_is_counted_by_the_engines_own_tokens(record: Build) -> None:
    two = Engine(model="m", tensor_parallel=2)
    made = ran(record, engine=two)
    assert needed(made.cell, [made]).block_bytes == BLOCK / 2  # of one of the two GPUs
    unknown = ran(record, facts=EngineFacts())
    assert needed(unknown.cell, [unknown]).block_bytes is None
    assert needed(unknown.cell, [unknown]).theory_blocks is None


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({}, True),
        ({"preemptions": 1.0}, False),
        ({"errors": 1.0}, False),
        ({"server_running_peak": 3.0}, False),
        ({"server_running_peak": 5.0}, True),
        ({"server_running_peak": None}, False),
        ({"preemptions": None}, False),
    ],
)
def test_a_pool_serves_when_all_ran_at_once_and_none_was_preempted_or_failed(
    record: Build, changes: dict[str, float | None], ok: bool
) -> None:
    made = ran(record)
    figures = {
        name: replace(figure, value=changes.get(name, figure.value))
        for name, figure in made.metrics.items()
    }
    assert serves(replace(made, metrics=figures)) == ok


def test_a_pinned_engine_has_a_context_as_long_as_its_cell(record: Build) -> None:
    pinned = at_pool(ran(record).cell, 123)
    assert pinned.engine is not None
    assert (pinned.engine.kv_cache_memory_bytes, pinned.engine.max_model_len) == (123, 64 + 32)
