"""The room in a KV pool: requests that fit, and the longest batch."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.points import Point, points
from journal.compare.room import full_bytes, longest_in_batch, meter, on_gpus, room
from journal.compare.setups import setups_of
from journal.records.engine import EngineFacts
from journal.records.experiment import Load
from journal.records.run import Record

Build = Callable[..., Record]
POOL = {"kv_pool_tokens": 1000.0, "kv_pool_bytes": 4000.0, "kv_bytes_per_token": 4.0}


def point(*records: Record) -> Point:
    (only,) = points(zip(records, setups_of(records), strict=True))
    return only


def test_whole_requests_fit_into_a_pool(record: Build) -> None:
    """Of 64 tokens and 32 more: 10 of 96 in 1,000."""
    space = room(point(record(metrics=POOL)))
    assert space is not None
    assert (space.length, space.requests, space.request_bytes) == (96, 10, 384)
    assert space.tokens_in(100.0) == 25
    bare = room(point(record(metrics={"kv_pool_tokens": 1000.0})))
    assert bare is not None
    assert bare.request_bytes is bare.pool_bytes is bare.tokens_in(100.0) is None
    assert room(point(record())) is None


@pytest.mark.parametrize(("batch", "block", "longest"), [(3, 16, 320), (3, None, 333), (10, 7, 98)])
def test_the_longest_requests_of_a_whole_batch(
    record: Build, batch: int, block: int | None, longest: int
) -> None:
    made = point(record(batch=batch, metrics=POOL, facts=EngineFacts(block_size=block)))
    space = room(made)
    assert space is not None
    assert longest_in_batch(made, space) == longest


def test_open_loop_has_no_batch_to_fit(record: Build) -> None:
    made = point(record(batch=None, rate=2.0, metrics=POOL))
    space = room(made)
    assert space is not None
    assert longest_in_batch(made, space) is None


def test_memory_is_that_of_the_gpus_where_there_are_any(record: Build) -> None:
    both = {"vram_peak_bytes": 7.0, "rss_peak_bytes": 3.0}
    assert meter(point(record(metrics=both))) == ("vram_peak_bytes", 7.0)
    assert meter(point(record(metrics={"rss_peak_bytes": 3.0}))) == ("rss_peak_bytes", 3.0)
    assert meter(point(record())) is None
    assert meter(point(replace(record(metrics=both), status="failed"))) is None


def test_requests_take_whole_blocks_of_which_one_is_kept_back(record: Build) -> None:
    """Of 96 tokens in blocks of 64: two of them each, in 936 of 1,000 tokens."""
    space = room(point(record(metrics=POOL, facts=EngineFacts(block_size=64))))
    assert space is not None
    assert (space.blocks, space.held, space.usable, space.requests) == (2, 128, 936, 7)
    assert space.request_bytes == 512
    small = replace(space, tokens=50)
    assert (small.usable, small.requests) == (0, 0)


def test_a_whole_batch_at_its_full_length_takes_what_fits(record: Build) -> None:
    """Ten requests of 96 tokens of 4 bytes."""
    for batch, taken in ((3, 3 * 384), (10, 3840), (11, None)):
        made = point(record(batch=batch, metrics=POOL))
        space = room(made)
        assert space is not None and full_bytes(made, space) == taken
    made = point(record(batch=3, metrics=POOL))
    space = room(made)
    assert space is not None and full_bytes(made, replace(space, token_bytes=None)) is None
    for other in (
        record(batch=None, rate=2.0, metrics=POOL),
        record(batch=3, metrics=POOL, load=Load(requests=24, length_spread=0.2)),
    ):
        assert full_bytes(point(other), space) is None


def test_a_server_is_known_to_run_on_gpus_by_its_memory_its_log_or_its_host(record: Build) -> None:
    gpus = {"gpus": 1}
    assert on_gpus(point(record(metrics={"vram_peak_bytes": 7.0}, environment={})))
    assert on_gpus(point(record(facts=EngineFacts(card="NVIDIA L4"), environment={})))
    assert on_gpus(point(record(environment=gpus)))
    assert not on_gpus(point(record(environment={"gpus": 0})))
    assert not on_gpus(point(record(engine=None, environment=gpus))), "it may be elsewhere"
