"""The times that decide a run's figures under any SLO, stored beside it or read from samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import Run, a_record

from journal.errors import DamagedRow
from journal.metrics.slo_times import SloTimes, slo_times
from journal.metrics.view import View
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.store.slo_runs import replace_slo_times, runs_with_slo_times
from journal.store.store import Store, open_store


def equal(one: SloTimes, other: SloTimes) -> bool:
    whole = (one.span_s, one.steady_from) == (other.span_s, other.steady_from)
    return whole and np.array_equal(one.latencies_s, other.latencies_s, equal_nan=True)


def changed(times: SloTimes) -> SloTimes:
    return SloTimes(9.5, 3, times.latencies_s * 2)


def test_good_runs_have_the_stored_times_or_those_of_their_samples(tmp_path: Path) -> None:
    samples = Run(batch=2, requests=12).samples()
    own = slo_times(View(samples))
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(Experiment(name="x"), a_record().started_at, {})

        def add(number: int, times: SloTimes | None, status: str = "valid") -> str:
            doubts = (Doubt("few-samples", {}), Doubt("prefix-cache", {}, severity="note"))
            record = replace(
                a_record(number=number, status=status, metrics={"a": 1, "b": 2}, doubts=doubts),
                **{"experiment_id": begun.id, "cell": samples.cell, "facts": samples.facts},  # type: ignore[arg-type]
            )
            store.add_run(record, samples, times)
            return record.id

        ids = [add(1, None), add(2, changed(own), "flagged")]
        add(3, own, "failed")
        store.add_run(replace(a_record(number=4), experiment_id=begun.id), None)
        (first, computed), (second, stored) = runs_with_slo_times(store, ["a"])
        assert [first.id, second.id] == ids
        assert equal(computed, own)
        assert equal(stored, changed(own))
        assert [set(run.metrics) for run in (first, second)] == [{"a"}, {"a"}]
        assert [doubt.name for doubt in first.doubts] == ["few-samples"]
        check_replaced(store, ids, own)


def check_replaced(store: Store, ids: list[str], own: SloTimes) -> None:
    replace_slo_times(store, ids[0], changed(own))
    replace_slo_times(store, ids[1], None)
    (_, stored), (_, computed) = runs_with_slo_times(store, [])
    assert equal(stored, changed(own))
    assert equal(computed, own)


@pytest.mark.parametrize(
    ("column", "value"),
    [("span_s", "long"), ("steady_from", 1.5), ("latencies_s", b"12345678"), ("span_s", b"\1")],
)
def test_damaged_times_are_named_and_hide_no_other_run(
    tmp_path: Path, column: str, value: object
) -> None:
    samples = Run(batch=2, requests=12).samples()
    own = slo_times(View(samples))
    with open_store(tmp_path) as store:
        begun = store.begin_experiment(Experiment(name="x"), a_record().started_at, {})
        for number in (1, 2):
            record = replace(a_record(number=number), experiment_id=begun.id)
            record = replace(record, cell=samples.cell, facts=samples.facts)
            store.add_run(record, samples, own)
        with store.transaction(writing=True) as connection:
            statement = f"UPDATE slo_times SET {column} = ? WHERE run_id = ?"
            connection.exec_driver_sql(statement, (value, record.id))
        with pytest.warns(DamagedRow, match=f"the times of run {record.id}"):
            left = list(runs_with_slo_times(store, []))
        assert [run.id for run, _ in left] == [f"{1:016x}"]
