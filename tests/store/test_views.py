"""The views read the packed times of chunks exactly, whatever they are."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import create_engine, text

from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.money import Money
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


def test_a_price_has_its_currency(store: Store, new_record: Callable[..., Record]) -> None:
    priced = {
        "USD": ("usd_per_million_output_tokens", EngineFacts(usd_per_hour=2.0)),
        "CNY": (
            "price_per_million_output_tokens",
            EngineFacts(price_per_hour=Money(amount=12.5, currency="CNY")),
        ),
        None: ("requests", EngineFacts()),
    }
    for name, facts in priced.values():
        store.add_run(new_record(facts=facts, metrics={name: Figure(9.0)}), None)
    engine = create_engine(store.url)
    names = "currency, usd_per_million_output_tokens, price_per_million_output_tokens"
    with engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(text(f"SELECT {names} FROM runs_flat"))}
    engine.dispose()
    assert rows == {("USD", 9.0, None), ("CNY", None, 9.0), (None, None, None)}


def test_the_runs_of_an_engine_that_did_not_start_are_one_failed_start(
    store: Store, new_record: Callable[..., Record]
) -> None:
    served = replace(new_record().cell, engine=Engine(model="m"))
    lost = {"status": "failed", "duration_s": 0.0, "metrics": {}, "error": "no memory"}
    starts = [EngineFacts(log_path=name) for name in ("a.log", "b.log")]
    runs = [new_record(cell=served, facts=facts, **lost) for facts in starts for _ in range(3)]
    runs.append(new_record(cell=replace(served, engine=None), facts=starts[0], **lost))
    runs.append(new_record(cell=served, facts=replace(starts[0], start_s=30.0), **lost))
    runs.append(new_record())
    for run in runs:
        store.add_run(run, None)
    engine = create_engine(store.url)
    with engine.connect() as connection:
        rows = dict(connection.execute(text("SELECT id, failed_start FROM runs_flat")).all())
    engine.dispose()
    assert {run.id for run in runs if rows[run.id]} == {run.id for run in runs if run.start_failed}
    for three in (runs[:3], runs[3:6]):
        assert {rows[run.id] for run in three} == {min(three, key=_age).id}


def _age(run: Record) -> tuple[datetime, str]:
    return run.started_at, run.id


def test_a_column_that_nobody_asks_for_is_not_looked_up(store: Store) -> None:
    if store.url.get_backend_name() != "sqlite":
        pytest.skip("SQLite's plan alone is read here")
    engine = create_engine(store.url)
    with engine.connect() as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN SELECT id, model FROM runs_flat")).all()
    engine.dispose()
    assert len(plan) == 1
