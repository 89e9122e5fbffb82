"""The requests in flight at the middle of a run, from the database and from a file of it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import Run, a_record
from sqlalchemy import update

from journal.errors import StoreError
from journal.records.experiment import Experiment
from journal.store import core_tables
from journal.store.compact import compact
from journal.store.middle_requests import middle_requests
from journal.store.store import open_store


def test_they_are_those_of_the_batch_exactly_as_stored(tmp_path: Path) -> None:
    samples = Run(batch=4, requests=24, warmup=8, convoy=False).samples()
    record = replace(a_record(), cell=samples.cell, facts=samples.facts)
    record = replace(record, started_at=record.started_at - timedelta(days=40))
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(Experiment(name="x"), record.started_at, {})
        record = replace(record, experiment_id=begun.id)
        store.add_run(record, samples)
        store.end_experiment(begun.id, "done", record.started_at)
        read = middle_requests(store, record.id)
        assert read and set(read) <= set(samples.traces)
        assert not any(trace.warmup for trace in read)
        measured = sorted((t for t in samples.traces if not t.warmup), key=lambda t: t.start_s)
        middle = measured[len(measured) // 2]
        at_s = (middle.start_s + middle.end_s) / 2
        assert middle in read
        assert set(read) == {t for t in measured if t.start_s <= at_s <= t.end_s}
        assert 1 <= len(read) <= 4
    assert compact(tmp_path, older_than_days=1).runs == 1
    with open_store(tmp_path) as store:
        assert middle_requests(store, record.id) == read
        assert middle_requests(store, "no such run") == ()


def test_they_are_sought_near_the_middle_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.store.middle_requests.NEAR", 4)
    samples = Run(batch=1, requests=24, warmup=0).samples()
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(Experiment(name="x"), a_record().started_at, {})
        record = replace(a_record(), cell=samples.cell, facts=samples.facts)
        store.add_run(replace(record, experiment_id=begun.id), samples)
        assert middle_requests(store, record.id) == (samples.traces[11],)


def test_a_run_without_samples_has_none_and_damage_is_named(tmp_path: Path) -> None:
    samples = Run(batch=1, requests=8).samples()
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(Experiment(name="x"), a_record().started_at, {})
        bare = replace(a_record(), id="b" * 16, experiment_id=begun.id)
        store.add_run(bare, None)
        assert middle_requests(store, bare.id) == ()
        record = replace(bare, id="c" * 16, cell=samples.cell, facts=samples.facts)
        store.add_run(record, samples)
        with store.transaction(writing=True) as connection:
            connection.execute(update(core_tables.requests).values(checksum=1))
        with pytest.raises(StoreError, match="requests of run cccc"):
            middle_requests(store, record.id)
