"""Bottlenecks on the real vLLM: three planted causes, each named, on two starts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import journal
from journal.compare.bottleneck import Bottleneck, bottleneck
from journal.records.doubt import Doubt
from journal.records.engine import Endpoint
from journal.records.run import Record
from journal.serve import models
from journal.serve import start as engines

pytestmark = pytest.mark.engine

BLOCK_TOKENS = 128  # of a KV cache on the CPU
TOKEN_BYTES = 2 * 30 * 3 * 64 * 4  # keys and values of the embedded model in float32
FEW, BATCH = 2, 8
OF_OTHERS = {"busy_host", "stolen_time", "client_saturated"}


def served(folder: Path, **engine: object) -> Iterator[Endpoint]:
    asked = journal.Engine(model=models.EMBEDDED, dtype="float32", max_model_len=1024, **engine)  # type: ignore[arg-type]
    with engines.start(asked, folder / "engine.log") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def few_at_once(
    embedded_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """An engine that runs two requests at once, with room for many in its pool."""
    yield from served(tmp_path_factory.mktemp("few"), flags=("--max-num-seqs", str(FEW)))


@pytest.fixture(scope="module")
def small_pool(
    embedded_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """An engine whose pool holds nine blocks, of which vLLM keeps one for itself."""
    pool = 9 * BLOCK_TOKENS * TOKEN_BYTES
    yield from served(tmp_path_factory.mktemp("pool"), kv_cache_memory_bytes=pool)


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


def test_two_requests_at_once_of_eight_are_a_queue(few_at_once: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (BATCH,), "prompt_tokens": (32,), "output_tokens": (24,)}
    (found,) = limits(few_at_once, tmp_path, journal.Load(requests=24, warmup=2), **grid)
    assert found is not None and found.cause == "queue", found
    assert found.values["running"] == FEW
    assert found.values["limit"] == FEW


def test_long_prompts_are_prefill(few_at_once: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (1,), "prompt_tokens": (640,), "output_tokens": (8,)}
    (found,) = limits(few_at_once, tmp_path, journal.Load(requests=6, warmup=1), **grid)
    assert found is not None and found.cause == "prefill", found


def test_long_answers_are_none_of_the_three(few_at_once: Endpoint, tmp_path: Path) -> None:
    """Short prompts without a queue: the class is one of decoding, or it cannot be told."""
    grid = {"batch": (1, FEW), "prompt_tokens": (16,), "output_tokens": (48,)}
    for found in limits(few_at_once, tmp_path, journal.Load(requests=4, warmup=1), **grid):
        assert found is not None and found.cause in ("bandwidth", "compute", "host", None), found


def test_a_small_pool_is_the_kv_pool(small_pool: Endpoint, tmp_path: Path) -> None:
    grid = {"batch": (BATCH,), "prompt_tokens": (160,), "output_tokens": (24,)}
    (found,) = limits(small_pool, tmp_path, journal.Load(requests=16, warmup=2), **grid)
    assert found is not None and found.cause == "kv_pool", found
