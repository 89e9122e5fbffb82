"""Every sample that can be measured comes back equal from the database."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from builders import a_cell, a_record, a_trace, samples_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load, Slo
from journal.records.figure import Figure
from journal.records.request import ClientHealth, Trace
from journal.records.run import Record
from journal.records.samples import GpuReading, ProcessReading, Readings, Samples, ServerReading
from journal.store.store import Store, new_id, open_store

_WHEN = datetime(2026, 3, 1, tzinfo=UTC)

number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 2**31 - 1)
size = st.integers(-(2**63), 2**63 - 1)
zone = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))
maybe: Any = st.none().__or__

load = st.builds(Load, requests=count, seed=size, burstiness=number, processes=maybe(count))
engine = st.builds(
    Engine,
    model=text,
    revision=maybe(text),
    gpu_memory_utilization=maybe(number),
    kv_cache_memory_bytes=maybe(size),
    flags=st.lists(text.map("--".__add__)).map(tuple),
    env=st.dictionaries(text.map("V_{}_".format), text),
)
cell = st.builds(
    Cell,
    experiment=text,
    model=text,
    quantisation=maybe(text),
    engine=maybe(engine),
    batch=count,  # a load needs one of the two
    rate=maybe(number),
    prompt_tokens=count,
    output_tokens=count,
    load=load,
    slo=maybe(st.builds(Slo, ttft_ms=maybe(number))),
    repeat=count,
    seed=size,
    identity=text,
)
values = st.dictionaries(text, st.none() | st.integers() | number | text | st.lists(text))
facts = st.builds(
    EngineFacts,
    version=maybe(text),
    argv=st.lists(text).map(tuple),
    start_s=maybe(number),
    weights_bytes=maybe(st.integers()),
    prefix_caching=maybe(st.booleans()),
)
trace = st.builds(
    Trace,
    index=count,
    warmup=st.booleans(),
    scheduled_s=number,
    start_s=number,
    end_s=number,
    outcome=st.sampled_from(["ok", "short", "error"]),
    prompt_tokens_asked=count,
    output_tokens_asked=count,
    chunk_s=st.lists(number).map(tuple),
    chunk_tokens=maybe(st.lists(st.integers(-(2**31), 2**31 - 1)).map(tuple)),
    prompt_tokens=maybe(count),
    finish_reason=maybe(text),
    status=maybe(count),
    error=maybe(text),
    server_queue_s=maybe(number),
)
gpu = st.builds(
    GpuReading,
    at_s=number,
    device=count,
    used_bytes=maybe(size),
    power_w=maybe(number),
    throttle_reasons=maybe(size),
)
server = st.builds(ServerReading, at_s=number, running=maybe(number), kv_cache_fraction=number)
process = st.builds(
    ProcessReading, at_s=number, rss_bytes=size, processes=count, cpu_s=maybe(number)
)
readings = st.builds(
    Readings,
    gpu=st.lists(gpu, max_size=3).map(tuple),
    server=st.lists(server, max_size=3).map(tuple),
    process=st.lists(process, max_size=3).map(tuple),
    absent=st.lists(values).map(tuple),
)
client = st.builds(ClientHealth, loop_delay_p99_s=maybe(number), processes=count, event_loop=text)
samples = st.builds(
    Samples,
    cell=cell,
    facts=facts,
    traces=st.lists(trace, max_size=4).map(tuple),
    readings=readings,
    client=client,
)
figure = st.builds(Figure, maybe(number), low=maybe(number), high=maybe(number), count=maybe(count))
records = st.builds(
    Record,
    id=st.builds(new_id),
    experiment_id=text,
    cell=cell,
    status=st.sampled_from(["valid", "flagged", "invalid", "failed", "interrupted"]),
    started_at=st.datetimes(datetime(1990, 1, 1), timezones=zone),
    duration_s=number,
    metrics=st.dictionaries(text, figure, max_size=4),
    doubts=st.lists(st.builds(Doubt, text, values), max_size=3).map(tuple),
    error=maybe(text),
    facts=facts,
    environment=st.dictionaries(text, maybe(st.integers() | number | text | st.booleans())),
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def lasting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store for many examples."""
    home, url = tmp_path_factory.mktemp("journal"), None
    if request.param == "postgres":
        import psycopg

        server = request.getfixturevalue("postgres_url")
        name = f"journal_{uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.rsplit("/", 1)[0] + f"/{name}"
    with open_store(home, url) as store:
        yield store


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(samples=samples, record=records)
def test_a_run_comes_back_equal(lasting: Store, samples: Samples, record: Record) -> None:
    experiment = Experiment(name=samples.cell.experiment, engines=())
    begun = lasting.begin_experiment(experiment, record.started_at, record.environment)
    values = {field.name: getattr(record, field.name) for field in fields(Record)}
    values |= {"experiment_id": begun.id, "cell": samples.cell, "facts": samples.facts}
    record = Record(**values)
    lasting.add_run(record, samples)
    assert lasting.samples(record.id) == samples
    assert lasting.run(record.id) == record
    assert lasting.experiment(begun.id) == begun


@settings(deadline=None, max_examples=30)
@given(chunks=st.lists(number, min_size=1).map(tuple), tokens=st.none() | st.just(()))
def test_chunk_times_keep_every_bit(
    lasting: Store, chunks: tuple[float, ...], tokens: tuple[int, ...] | None
) -> None:
    begun = lasting.begin_experiment(Experiment(name="bits"), _WHEN, {})
    raw = samples_of(a_cell(), a_trace(chunk_s=chunks, chunk_tokens=tokens))
    record = a_record(id=new_id(), experiment_id=begun.id, facts=raw.facts)
    lasting.add_run(record, raw)
    stored = lasting.samples(record.id)
    assert stored is not None
    assert [value.hex() for value in stored.traces[0].chunk_s] == [value.hex() for value in chunks]
    assert stored.traces[0].chunk_tokens == tokens
