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
from journal.compare.capacity import capacity_of
from journal.compare.whatif import PRICE, mean_price
from journal.errors import DamagedRow, NotFound
from journal.metrics.slo_times import figures_under, slo_times
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.engine import EngineFacts
from journal.records.experiment import Slo
from journal.records.money import Money
from journal.records.run import Record
from journal.records.samples import Samples
from journal.store.store import Store

NewRecord = Callable[..., Record]


def with_failures(samples: Samples) -> Samples:
    """The samples with every fifth request failed, as of an unsorted run."""
    failed = [
        replace(trace, outcome="error", chunk_s=(), chunk_tokens=None) if n % 5 == 0 else trace
        for n, trace in enumerate(samples.traces)
    ]
    return replace(samples, traces=tuple(reversed(failed)))


RUNS = [
    Run(batch=1).samples(),
    Run(batch=4, requests=80, noise=0.3).samples(),
    with_failures(Run(batch=None, rate=6.0, requests=48, noise=0.3).samples()),
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def kept(store: Store, new_record: NewRecord, batch: int) -> tuple[Record, Samples]:
    samples = Run(batch=batch).samples()
    cell = replace(samples.cell, identity=f"{batch}")
    samples = replace(samples, cell=cell)
    record = new_record(cell=cell, metrics=metrics(samples), doubts=(), facts=samples.facts)
    store.add_run(record, samples, slo_times(View(samples)))
    return record, samples


milliseconds = st.none() | st.floats(1, 5000)


@given(milliseconds, milliseconds, milliseconds, st.sampled_from(range(len(RUNS))))
def test_the_figures_are_to_the_bit_those_of_a_run_with_that_slo(
    ttft_ms: float | None, tpot_ms: float | None, e2e_ms: float | None, run: int
) -> None:
    samples = RUNS[run]
    slo = Slo(ttft_ms=ttft_ms, tpot_ms=tpot_ms, e2e_ms=e2e_ms)
    cell = replace(samples.cell, slo=slo)
    fresh = metrics(replace(samples, cell=cell))
    again = figures_under(slo_times(View(samples)), cell)
    assert {name: (one.value, one.count) for name, one in again.items()} == {
        name: (fresh[name].value, fresh[name].count) for name in again
    }
    plain = metrics(samples)
    assert {name for name in fresh if fresh[name] != plain[name]} <= again.keys()


def test_verdicts_are_those_of_runs_with_that_slo(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    slo = Slo(ttft_ms=120.0, tpot_ms=40.0)
    fresh = []
    for batch in (1, 4):
        record, samples = kept(store, new_record, batch)
        cell = replace(samples.cell, slo=slo)
        figures = metrics(replace(samples, cell=cell))
        fresh.append(replace(record, cell=cell, metrics=figures))
    (found,) = journal.whatif(slo, tmp_path)
    wanted = capacity_of("concurrency", slo, fresh)
    for probe, of_fresh in zip(found.capacity.probes, wanted.probes, strict=True):
        assert replace(probe, records=()) == replace(of_fresh, records=())


def test_a_run_of_an_older_journal_is_read_from_its_samples(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    kept(store, new_record, 4)
    slo = Slo(e2e_ms=700.0)
    (new,) = journal.whatif(slo, tmp_path)
    with store.transaction(writing=True) as connection:
        connection.exec_driver_sql("DELETE FROM slo_times")
    (old,) = journal.whatif(slo, tmp_path)
    assert old == new
    journal.recompute(tmp_path)
    with store.transaction(writing=False) as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM slo_times").scalar() == 1


def test_times_that_are_damaged_are_named_and_left_out(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    for batch in (1, 4):
        kept(store, new_record, batch)
    with store.transaction(writing=True) as connection:
        damage = "UPDATE slo_times SET latencies_s = x'00' WHERE run_id = (SELECT id FROM runs"
        connection.exec_driver_sql(f"{damage} WHERE batch = 4)")
    with pytest.warns(DamagedRow, match="the times of run .* cannot be read"):
        (found,) = journal.whatif(Slo(e2e_ms=60_000.0), tmp_path)
    assert [probe.load for probe in found.capacity.probes] == [1.0]


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


@pytest.mark.parametrize("currency", ["CNY", "USD"])
def test_a_price_is_that_of_runs_in_one_currency(new_record: NewRecord, currency: str) -> None:
    yuan = EngineFacts(price_per_hour=Money(amount=36.0, currency="CNY"))
    dollars = EngineFacts(usd_per_hour=5.0)
    samples = Run(batch=1).samples()
    runs = [
        new_record(facts=facts, metrics=metrics(replace(samples, facts=facts)))
        for facts in (yuan, dollars)
    ]
    one = runs[currency == "USD"]
    name = "usd_per_million_output_tokens" if currency == "USD" else PRICE
    assert mean_price([one]) == Money(amount=one.value(name) or 0.0, currency=currency)
    assert mean_price(runs) is None


def test_a_journal_without_samples_is_told_so(
    store: Store, new_record: NewRecord, tmp_path: Path
) -> None:
    store.add_run(new_record(), None)
    with pytest.raises(NotFound, match="no good run of this journal has raw samples"):
        journal.whatif(Slo(ttft_ms=1.0), tmp_path)
    assert CliRunner().invoke(app, ["whatif"]).exit_code != 0
