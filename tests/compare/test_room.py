"""The room in a KV pool: requests that fit, and the longest batch."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.points import Point, points
from journal.compare.room import longest_in_batch, meter, room
from journal.compare.setups import setups_of
from journal.records.engine import EngineFacts
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
