"""What goes into the journal comes out again, on SQLite and on PostgreSQL."""

import dataclasses
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from journal import redaction
from journal.errors import NotFound, StoreError
from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.experiment import Engine, Experiment, Load, Slo
from journal.records.figure import Figure
from journal.records.request import ClientHealth
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples
from journal.store.store import Store, open_store
from journal.store.taken_in import Taken, store_lacking

NewRecord = Callable[..., Record]


@pytest.mark.parametrize("key", ['","dtype":"auto"', ':null,"model":', '{"batch":[1'])
def test_a_key_of_quotes_and_commas_spoils_no_row(
    key: str, store: Store, new_record: NewRecord
) -> None:
    redaction.remember(key)
    record = new_record(error=f"refused: {key}")
    store.add_run(record, None)
    kept = store.run(record.id)
    assert kept.cell == record.cell and kept.facts == record.facts
    assert kept.error == "refused: ***"


def test_an_experiment_comes_back_as_it_was_frozen(store: Store, begun: ExperimentRecord) -> None:
    full = Experiment(
        name="full",
        question="比较?",
        engines=(Engine(model="m", flags=("--x=1",), env={"K": "v"}), Engine(model="n")),
        load=Load(burstiness=0.5, processes=2),
        slo=Slo(ttft_ms=200),
        predict={"ttft_s_p50": 0.2},
        usd_per_hour=1.5,
    )
    later = begun.started_at + timedelta(hours=1)
    record = store.begin_experiment(full, later, {})
    assert record.status == "running"
    assert store.experiments() == [begun, record]
    assert store.experiment("last") == store.experiment(record.id[:10]) == record
    assert store.experiments(since=later) == [record]
    assert store.experiments(until=later) == [begun]


def test_an_experiment_ends_once_it_began(store: Store, begun: ExperimentRecord) -> None:
    ended = begun.started_at + timedelta(minutes=3)
    record = store.end_experiment(begun.id, "done", ended)
    assert record == dataclasses.replace(begun, status="done", ended_at=ended)
    assert store.experiments() == [record]
    with pytest.raises(NotFound, match="no experiment 'none'"):
        store.end_experiment("none", "done", ended)


def test_a_run_from_elsewhere_is_taken_in_once_under_either_id(
    store: Store, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    first, second, other = (new_record(id=id_) for id_ in ("a1", "a2", "b1"))
    assert store_lacking(store, begun, [Taken(first, None)]) == [("a1", True)]
    again = [Taken(second, None, former_id="a1"), Taken(other, None, former_id="b0")]
    assert store_lacking(store, begun, again) == [("a1", False), ("b1", True)]
    assert {record.id for record in store.runs()} == {"a1", "b1"}


def test_an_experiment_that_was_left_alone_counts_as_interrupted(
    tmp_path: Path, url: str, store: Store, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    for duration_s in (30.0, 90.0):
        store.add_run(new_record(duration_s=duration_s), None)
    empty = store.begin_experiment(Experiment(name="empty"), begun.started_at, {})
    ended = store.begin_experiment(Experiment(name="ended"), begun.started_at, {})
    store.end_experiment(ended.id, "done", begun.started_at)
    with open_store(tmp_path, url) as another:
        assert another.experiment(begun.id).status == "running"
        mine = another.begin_experiment(Experiment(name="mine"), begun.started_at, {})
        store.close()
        with open_store(tmp_path, url) as third:
            records = {record.id: record for record in third.experiments()}
    assert {id_: record.status for id_, record in records.items()} == {
        begun.id: "interrupted",
        empty.id: "interrupted",
        ended.id: "done",
        mine.id: "running",
    }
    last_run_ended = begun.started_at + timedelta(minutes=2, seconds=90)
    assert records[begun.id].ended_at == last_run_ended
    assert records[empty.id].ended_at == begun.started_at


def test_a_run_comes_back_with_its_samples(
    store: Store, new_record: NewRecord, samples: Samples
) -> None:
    record = new_record(error="the engine died ☠")
    store.add_run(record, samples)
    assert store.run(record.id) == record
    assert store.samples(record.id) == samples
    assert store.runs() == [record]


def test_a_run_may_have_no_samples(store: Store, new_record: NewRecord, cell: Cell) -> None:
    attached = dataclasses.replace(cell, engine=None, batch=None, rate=2.5, slo=Slo(tpot_ms=1.0))
    record = new_record(cell=attached, status="failed", metrics={}, doubts=())
    store.add_run(record, None)
    assert store.run("last") == record
    assert store.samples("last") is None


def test_runs_are_chosen_by_experiment_and_time_newest_last(
    store: Store, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    other = store.begin_experiment(Experiment(name="other"), begun.started_at, {})
    records = [new_record(experiment_id=id_) for id_ in (begun.id, other.id, begun.id, begun.id)]
    for record in reversed(records):
        store.add_run(record, None)
    second = records[1].started_at
    assert store.runs() == records
    assert store.runs(limit=2) == records[2:]
    assert store.runs(limit=0) == []
    assert store.runs(experiment_id=other.id) == [records[1]]
    assert store.runs(since=second, limit=9) == records[1:]
    assert store.runs(until=second) == records[:1]
    assert store.runs(since=second, until=records[3].started_at) == records[1:3]


def test_an_experiment_gets_an_id_of_16_digits(store: Store, begun: ExperimentRecord) -> None:
    assert re.fullmatch("[0-9a-f]{16}", begun.id)


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store, new_record: NewRecord) -> None:
    for id_ in ("ab12", "ab1", "ab77", "cd_0"):
        store.add_run(new_record(id=id_), None)
    assert store.run("ab7").id == "ab77"
    assert store.run("ab1").id == "ab1"
    assert store.run("last").id == "cd_0"
    with pytest.raises(NotFound, match=r"'ab' begins the ids of several runs \(ab1, ab12, ab77\)"):
        store.run("ab")
    for wrong in ("", "x", "%", "cd%", "\x00", "\udcff", "' OR 1=1"):
        with pytest.raises(NotFound, match="there is no run"):
            store.run(wrong)


def test_an_empty_journal_has_no_last_run(store: Store) -> None:
    with pytest.raises(NotFound, match="the journal has no run yet"):
        store.run("last")
    with pytest.raises(NotFound):
        store.samples("last")
    assert store.runs() == []


def test_a_summary_is_replaced_whole(store: Store, new_record: NewRecord, samples: Samples) -> None:
    record, bystander = new_record(), new_record()
    store.add_run(record, samples)
    store.add_run(bystander, samples)
    metrics = {"e2e_s.mean": Figure(2.5)}
    doubts = (Doubt("drift", {"sentence": "It drifts: run longer."}, severity="invalid"),)
    store.replace_summary(record.id, metrics, doubts, "invalid")
    replaced = dataclasses.replace(record, metrics=metrics, doubts=doubts, status="invalid")
    assert store.runs() == [replaced, bystander]
    assert store.samples(record.id) == samples
    store.replace_summary(record.id, {}, (), "valid")
    assert store.run(record.id).metrics == {}
    with pytest.raises(NotFound):
        store.replace_summary("none", metrics, doubts, "valid")


def test_a_run_is_written_whole_or_not_at_all(
    store: Store, new_record: NewRecord, samples: Samples
) -> None:
    twice = samples.traces[0]
    overflow = dataclasses.replace(twice, output_tokens=2**70)
    with pytest.raises(StoreError, match="refused these values"):
        store.add_run(new_record(), dataclasses.replace(samples, traces=(twice, overflow)))
    assert store.runs() == []
    record = new_record()
    store.add_run(record, samples)
    with pytest.raises(StoreError, match="refused"):
        store.add_run(record, samples)
    with pytest.raises(StoreError, match="refused"):
        store.add_run(new_record(experiment_id="nowhere"), None)
    with pytest.raises(StoreError, match="time zone"):
        store.add_run(new_record(started_at=datetime(2026, 3, 1)), None)
    assert store.runs() == [record]


def test_samples_must_be_of_the_run(store: Store, new_record: NewRecord, samples: Samples) -> None:
    other = dataclasses.replace(samples, cell=dataclasses.replace(samples.cell, batch=1))
    with pytest.raises(StoreError, match="of another cell or engine"):
        store.add_run(new_record(), other)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_absent_or_refused(
    store: Store, new_record: NewRecord, samples: Samples, wrong: float
) -> None:
    trace = samples.traces[0]
    late = dataclasses.replace(trace, server_queue_s=wrong)
    record = new_record(metrics={"a": Figure(wrong, low=1.0)}, environment={"load": wrong})
    store.add_run(record, dataclasses.replace(samples, traces=(late,)))
    assert store.run(record.id).metrics == {"a": Figure(None, low=1.0)}
    assert store.run(record.id).environment == {"load": None}
    stored = store.samples(record.id)
    assert stored is not None
    assert stored.traces[0].server_queue_s is None
    for broken in (
        dataclasses.replace(trace, end_s=wrong),
        dataclasses.replace(trace, chunk_s=(0.1, wrong)),
    ):
        with pytest.raises(StoreError):
            store.add_run(new_record(), dataclasses.replace(samples, traces=(broken,)))
    with pytest.raises(StoreError):
        store.add_run(new_record(cell=dataclasses.replace(samples.cell, rate=wrong)), None)
    assert len(store.runs()) == 1


def test_text_that_no_database_can_hold_is_replaced(
    store: Store, new_record: NewRecord, samples: Samples
) -> None:
    odd = dataclasses.replace(samples.traces[0], error="a\x00b\udcffc")
    record = new_record(error="\x00", environment={"host": "\udcff"})
    store.add_run(record, dataclasses.replace(samples, traces=(odd,)))
    stored = store.samples(record.id)
    assert stored is not None
    assert stored.traces[0].error == "a\ufffdb\ufffdc"
    assert store.run(record.id).error == "\ufffd"
    assert store.run(record.id).environment == {"host": "\ufffd"}


def test_keys_never_reach_the_database(
    store: Store, new_record: NewRecord, samples: Samples
) -> None:
    env = {"HF_TOKEN": "hf_s3cret", "TOKENIZERS_PARALLELISM": "false"}
    engine = Engine(model="m", env=env, flags=("--api-key", "k3y", "--hf-token=t0ken", "--seed=1"))
    cell = dataclasses.replace(samples.cell, engine=engine)
    facts = dataclasses.replace(samples.facts, argv=("vllm", "--api-key", "k3y", "monk3y"))
    refused = dataclasses.replace(samples.traces[0], error="401: k3y is wrong")
    experiment = Experiment(name="e", engines=(engine,), source='HF_TOKEN = "hf_s3cret"')
    begun = store.begin_experiment(experiment, new_record().started_at, {})
    record = new_record(cell=cell, facts=facts, error="hf_s3cret", experiment_id=begun.id)
    client = ClientHealth()
    store.add_run(
        record,
        dataclasses.replace(samples, cell=cell, facts=facts, traces=(refused,), client=client),
    )
    text = f"{store.experiment(begun.id)} {store.run(record.id)} {store.samples(record.id)}"
    for secret in ("hf_s3cret", "'k3y'", "t0ken", "k3y is"):
        assert secret not in text
    assert store.run(record.id).facts.argv == ("vllm", "--api-key", "***", "monk3y")
    stored = store.run(record.id).cell.engine
    assert stored is not None
    assert stored.env == {"HF_TOKEN": "***", "TOKENIZERS_PARALLELISM": "false"}
    assert stored.flags == ("--api-key", "***", "--hf-token=***", "--seed=1")


def test_the_outbox_holds_what_mlflow_lacks(
    store: Store, new_record: NewRecord, begun: ExperimentRecord
) -> None:
    record = new_record()
    store.add_run(record, None)
    assert store.pending() == ([begun], [record])
    store.mark_unlogged(record, "no answer")
    assert store.pending() == ([begun], [record])
    store.mark_logged(begun, "p1")
    store.mark_logged(record, "c1")
    assert store.pending() == ([], [])
    assert store.run(record.id).mlflow_run_id == "c1"
    assert store.experiment(begun.id).mlflow_run_id == "p1"
    store.replace_summary(record.id, {}, (), "valid")
    store.end_experiment(begun.id, "done", begun.started_at)
    assert [len(waiting) for waiting in store.pending()] == [1, 1]
