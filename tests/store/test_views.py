"""The views read the packed times of chunks exactly, whatever they are."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import Store

TIMES = (1 / 3, 0.0, -0.25, -1e-7, 1e-9, 2.0, 65536.0000001, 1e9 + 0.3, math.pi * 1e-4)


def test_a_time_of_a_chunk_is_read_to_the_last_bit(
    store: Store, new_record: Callable[..., Record], samples: Samples
) -> None:
    one = samples.traces[0]
    traces = [replace(one, chunk_s=(at, -at), chunk_tokens=None) for at in TIMES]
    traces.append(replace(one, chunk_s=(), chunk_tokens=None, outcome="error"))
    store.add_run(new_record(), replace(samples, traces=tuple(traces)))
    engine = create_engine(store.url)
    with engine.connect() as connection:
        query = "SELECT chunks, first_chunk_s, last_chunk_s FROM requests_flat ORDER BY position"
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    assert rows == [*((2, at, -at) for at in TIMES), (0, None, None)]


def test_a_length_that_no_file_told_is_null(
    store: Store, new_record: Callable[..., Record], samples: Samples
) -> None:
    one = samples.traces[0]
    traces = (one, replace(one, prompt_tokens_asked=0, output_tokens_asked=0))
    store.add_run(new_record(), replace(samples, traces=traces))
    engine = create_engine(store.url)
    with engine.connect() as connection:
        names = "prompt_tokens_asked, output_tokens_asked"
        query = f"SELECT {names} FROM requests_flat ORDER BY position"
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    assert rows == [(one.prompt_tokens_asked, one.output_tokens_asked), (None, None)]


def test_a_column_that_nobody_asks_for_is_not_looked_up(store: Store) -> None:
    if store.url.get_backend_name() != "sqlite":
        pytest.skip("SQLite's plan alone is read here")
    engine = create_engine(store.url)
    with engine.connect() as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN SELECT id, model FROM runs_flat")).all()
    engine.dispose()
    assert len(plan) == 1
