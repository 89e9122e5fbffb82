"""What-if: the figures of stored runs under another SLO are those that a run with it would have."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import Run
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import journal
from journal.cli.app import app
from journal.compare.whatif import DECIDED_BY_SLO, supposed
from journal.errors import NotFound
from journal.metrics.table import metrics
from journal.records.experiment import Slo
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import Store

NewRecord = Callable[..., Record]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def kept(store: Store, new_record: NewRecord, batch: int) -> tuple[Record, Samples]:
    samples = Run(batch=batch).samples()
    cell = replace(samples.cell, identity=f"{batch}")
    samples = replace(samples, cell=cell)
    record = new_record(cell=cell, metrics=metrics(samples), doubts=(), facts=samples.facts)
    store.add_run(record, samples)
    return record, samples


def test_the_figures_are_to_the_bit_those_of_a_run_with_that_slo(
    store: Store, new_record: NewRecord
) -> None:
    record, samples = kept(store, new_record, 4)
    slo = Slo(ttft_ms=120.0, tpot_ms=40.0)
    fresh = metrics(replace(samples, cell=replace(samples.cell, slo=slo)))
    again = supposed(record, samples, slo)
    assert {name: again.metrics[name] for name in DECIDED_BY_SLO} == {
        name: fresh[name] for name in DECIDED_BY_SLO
    }
    others = record.metrics.keys() - set(DECIDED_BY_SLO)
    assert all(again.metrics[name] == record.metrics[name] for name in others)
    moved = {name for name in others if fresh[name] != record.metrics[name]}
    assert moved <= {"steady_good_effective"}


@given(st.floats(1, 5000), st.floats(1, 5))
def test_a_looser_slo_never_lowers_goodput(limit_ms: float, looser: float) -> None:
    samples = Run(batch=4).samples()

    def goodput(ttft_ms: float) -> float:
        cell = replace(samples.cell, slo=Slo(ttft_ms=ttft_ms))
        value = metrics(replace(samples, cell=cell))["goodput_per_s"].value
        assert value is not None
        return value

    assert goodput(limit_ms * looser) >= goodput(limit_ms)


def test_every_setup_has_its_loads_and_what_holds(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    for batch in (1, 4):
        kept(store, new_record, batch)
    (loose,) = journal.whatif(Slo(e2e_ms=60_000.0), tmp_path)
    assert [probe.load for probe in loose.capacity.probes] == [1.0, 4.0]
    assert all(probe.good.value == 1.0 for probe in loose.capacity.probes)
    (tight,) = journal.whatif(Slo(e2e_ms=0.001), tmp_path)
    assert tight.capacity.holds_up_to is None
    assert set(tight.goodput_per_s.values()) == {0.0}
    words = ["whatif", "--slo-e2e-ms", "60000", "--home", str(tmp_path)]
    (printed,) = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert [load["good_fraction"] for load in printed["loads"]] == [1.0, 1.0]
    assert "requests in flight" in CliRunner().invoke(app, words).output


def test_a_journal_without_samples_is_told_so(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    store.add_run(new_record(), None)
    with pytest.raises(NotFound, match="no good run of this journal has raw samples"):
        journal.whatif(Slo(ttft_ms=1.0), tmp_path)
    assert CliRunner().invoke(app, ["whatif"]).exit_code != 0
