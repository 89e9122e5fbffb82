"""Bottlenecks on the real vLLM: three planted causes, each named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from engine_fixtures import FEW

import journal
from journal.compare.bottleneck import Bottleneck, bottleneck
from journal.records.doubt import Doubt
from journal.records.engine import Endpoint
from journal.records.run import Record

pytestmark = [pytest.mark.engine, pytest.mark.timing]

BATCH = 8
OF_OTHERS = {"busy_host", "stolen_time", "client_saturated"}


def limits(
    server: Endpoint, home: Path, load: journal.Load, **grid: tuple[int, ...]
) -> Sequence[Bottleneck | None]:
    """The bottleneck of each cell of an experiment on `server`, without what other programs on this
    host did meanwhile."""
    experiment = journal.Experiment(name="limits", grid=journal.Grid(**grid), load=load)  # type: ignore[arg-type]
    result = journal.run(experiment, home, endpoint=server)
    assert result.ok, [record.error for record in result.records]
    assert all(record.good for record in result.records), result.records
    good = [replace(record, doubts=own_doubts(record)) for record in result.records]
    return [bottleneck(record, good) for record in good]


def own_doubts(record: Record) -> tuple[Doubt, ...]:
    return tuple(doubt for doubt in record.doubts if doubt.name not in OF_OTHERS)


def test_five_requests_at_once_of_eight_are_a_queue(small_engine: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (BATCH,), "prompt_tokens": (32,), "output_tokens": (24,)}
    (found,) = limits(small_engine, tmp_path, journal.Load(requests=24, warmup=2), **grid)
    assert found is not None and found.cause == "queue", found
    assert found.values["running"] == FEW
    assert found.values["limit"] == FEW


def test_long_prompts_are_prefill(small_engine: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (1,), "prompt_tokens": (640,), "output_tokens": (8,)}
    (found,) = limits(small_engine, tmp_path, journal.Load(requests=6, warmup=1), **grid)
    assert found is not None and found.cause == "prefill", found


def test_long_answers_are_none_of_the_three(small_engine: Endpoint, tmp_path: Path) -> None:
    """Short prompts without a queue: the class is one of decoding, or it cannot be told."""
    grid = {"batch": (1, 2), "prompt_tokens": (16,), "output_tokens": (24,)}
    for found in limits(small_engine, tmp_path, journal.Load(requests=4, warmup=1), **grid):
        assert found is not None and found.cause in ("bandwidth", "compute", "host", None), found


def test_a_small_pool_is_the_kv_pool(small_engine: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (BATCH,), "prompt_tokens": (160,), "output_tokens": (24,)}
    (found,) = limits(small_engine, tmp_path, journal.Load(requests=16, warmup=2), **grid)
    assert found is not None and found.cause == "kv_pool", found
