"""The search for capacity against loads whose truth is known, without a server and with one."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journal
from benchmarks import calibrate_capacity as calibrated
from journal.compare.capacity import LOOKS, Capacity, capacities, judged
from journal.metrics.statistics import proportion
from journal.plan.cells import cells, identified
from journal.records.cell import Cell
from journal.records.doubt import Doubt
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.records.figure import Figure
from journal.records.progress import Event, Listener
from journal.records.run import Record
from journal.run.capacity_search import LOADS, RESOLUTION, price_of, search
from journal.serve import start as engines

Server = Callable[..., str]
Truth = Callable[[float], float]  # the chance that a request is good, at a load

SLO = Slo(ttft_ms=200.0)
MOST_RUNS = LOADS * LOOKS + 1


def asking(of: str, slo: Slo = SLO, **grid: object) -> Experiment:
    return Experiment(
        name="capacity",
        find_capacity=of,  # type: ignore[arg-type]
        slo=slo,
        grid=Grid(prompt_tokens=(8,), output_tokens=(4,), **grid),  # type: ignore[arg-type]
        load=Load(warmup=1),
    )


def measured(cell: Cell, good: float, seed: int, *rules: str, e2e_s: float = 0.2) -> Record:
    """A run of `cell` in which each request is good with the chance `good`."""
    asked = cell.load.requests
    chance = random.Random(f"{seed} {cell.identity}")
    found = sum(chance.random() < good for _ in range(asked))
    return Record(
        id=cell.identity,
        experiment_id="e",
        cell=cell,
        status="flagged" if rules else "valid",
        started_at=datetime.now(UTC),
        duration_s=1.0,
        metrics={
            "steady_good_fraction": proportion(found, asked),
            "e2e_s.mean": Figure(e2e_s),
        },
        doubts=tuple(Doubt(rule, {}, "flag") for rule in rules),
    )


def searched(asked: Experiment, truth: Truth, seed: int = 0) -> tuple[Capacity, list[Record]]:
    """The search on a server of which only the chance of a good request at each load is known."""
    records: list[Record] = []
    (start,) = cells(asked, model="m")
    course = search(start, asked)
    try:
        cell = next(course)
        while True:
            load = cell.rate if cell.rate is not None else cell.batch
            alone = asked.find_capacity == "rate" and cell.rate is None
            records.append(measured(cell, truth(0.0 if alone else float(load or 0)), seed))
            cell = course.send(records[-1])
    except StopIteration:
        pass
    (found,) = capacities(asked, records)
    return found, records


def up_to(capacity: float) -> Truth:
    return lambda load: 1.0 if load <= capacity else 0.0


@given(st.integers(1, 5000))
def test_a_concurrency_is_found_within_a_tenth(capacity: int) -> None:
    found, records = searched(asking("concurrency"), up_to(capacity))
    assert len(records) <= MOST_RUNS
    assert found.held is not None
    assert found.held.load <= capacity
    if capacity < 4096:
        assert found.beyond is not None
        assert capacity < found.beyond.load
        assert found.beyond.load - found.held.load <= max(1, RESOLUTION * found.held.load)
    else:
        assert (found.held.load, found.beyond) == (4096, None)


@given(st.floats(2.6, 19000))
def test_a_rate_is_found_within_a_tenth(capacity: float) -> None:
    """Of requests of 200 ms; half of one for each E2E still fits in the time."""
    found, records = searched(asking("rate"), up_to(capacity))
    assert len(records) <= MOST_RUNS
    assert found.held is not None and found.beyond is not None
    assert found.held.load <= capacity < found.beyond.load
    assert found.beyond.load <= (1 + RESOLUTION) * found.held.load


@pytest.mark.parametrize("of", ["rate", "concurrency"])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_holds_an_slo_that_nothing_holds(of: str, seed: int) -> None:
    found, records = searched(asking(of), lambda load: 0.9, seed)
    assert found.held is None
    assert len(records) <= MOST_RUNS


def test_a_request_alone_that_is_not_good_ends_a_search_for_a_rate_at_once() -> None:
    found, records = searched(asking("rate"), lambda load: 0.0)
    assert (found.held, found.beyond, len(records)) == (None, None, 1)
    assert found.alone is not None and found.alone.verdict == "missed"
    assert len(searched(asking("concurrency"), lambda load: 0.0)[1]) == 1


def test_every_run_of_every_search_has_a_seed_of_its_own_which_comes_again() -> None:
    every: list[int] = []
    for of in ("rate", "concurrency"):
        for seed in (0, 1):
            asked = replace(asking(of), load=Load(warmup=1, seed=seed))
            first, again = ([r.cell.seed for r in searched(asked, up_to(20))[1]] for _ in range(2))
            assert first == again
            every += first
    assert len(set(every)) == len(every)


def test_a_search_ends_when_its_time_is_up_and_says_what_is_open() -> None:
    """Every run is said to have lasted 90 s, so that there are four."""
    asked = asking("rate")
    (start,) = cells(asked, model="m")
    records: list[Record] = []
    course = search(start, asked)
    with pytest.raises(StopIteration):
        cell = next(course)
        while True:
            records.append(replace(measured(cell, 1.0, 0), duration_s=90.0))
            cell = course.send(records[-1])
    assert sum(record.duration_s for record in records) <= 300 + 90
    (capacity,) = capacities(asked, records)
    assert capacity.holds_up_to is None and capacity.breaks_from is None


@pytest.mark.parametrize(
    ("slo", "of", "load_s"),
    [
        (Slo(ttft_ms=2000), "rate", 300),
        (Slo(ttft_ms=10_000), "rate", 6 * 250),
        (Slo(ttft_ms=100, tpot_ms=300), "rate", 6 * 156 * (0.1 + 3 * 0.3)),
        (Slo(e2e_ms=30_000), "concurrency", 6 * 9 * 30),
        (Slo(ttft_ms=1000, tpot_ms=1000), "concurrency", 300),
        (Slo(ttft_ms=3000, tpot_ms=1000), "concurrency", 6 * 9 * 6),
    ],
)
def test_a_price_is_five_minutes_or_that_of_long_requests(slo: Slo, of: str, load_s: float) -> None:
    (start,) = cells(asking(of, slo), model="m")
    assert price_of(start, of).load_s == pytest.approx(load_s)  # type: ignore[arg-type]
    assert price_of(start, of).label.startswith(f"at most {MOST_RUNS} runs, about ")  # type: ignore[arg-type]


def test_a_search_with_bursts_costs_as_much_more() -> None:
    asked = asking("rate", Slo(ttft_ms=10_000))
    (start,) = cells(replace(asked, load=replace(asked.load, burstiness=0.5)), model="m")
    assert price_of(start, "rate").load_s == pytest.approx(2 * 6 * 250)


@pytest.mark.parametrize(("ttft_ms", "truth"), [(200, 31.1), (500, 36.7), (2000, 39.3)])
def test_the_rate_of_four_lanes_lies_between_the_two_ends(ttft_ms: float, truth: float) -> None:
    """The server of docs/calibration.md, which answers 40 requests/s and not one more."""
    results = [
        calibrated.searched(calibrated.by_rate(ttft_ms, s), calibrated.lanes) for s in (0, 1)
    ]
    found = calibrated.tally(truth, results)
    assert found.between == 1 and found.highest <= 40 and found.longest_s <= 300


def test_the_truth_of_the_calibration_is_that_of_its_server() -> None:
    """Its waits are those of requests that are served first come, first served."""
    arrive_s = np.cumsum(np.random.default_rng(3).gamma(0.25, 4 / 30, 5000))
    waits_s = calibrated.in_lanes(arrive_s, np.full(5000, calibrated.LASTS_S)) - arrive_s
    for lane in range(calibrated.LANES):
        own = slice(lane, None, calibrated.LANES)
        assert calibrated._waits_s(arrive_s[own]) == pytest.approx(waits_s[own], abs=1e-9)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_concurrency_of_an_engine_lies_between_the_two_ends(mixed: bool) -> None:
    """Steps that take longer for each stream: 15 or 6 in flight have 16 ms for a token."""
    slo = Slo(tpot_ms=16)
    asked = calibrated.by_concurrency(slo, 0)
    results = [calibrated.searched(asked, lambda cell: calibrated.engine(cell, mixed))]
    found = calibrated.tally(6 if mixed else 15, results)
    assert found.between == 1 and found.width <= 0.5 and found.longest_s <= 300


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 0.99), st.integers(1, 60))
def test_noise_ends_in_bounded_time_and_the_bracket_is_one(
    seed: int, asked: float, middle: int
) -> None:
    """A load at which fewer requests are good than asked is hardly ever called held."""

    def truth(load: float) -> float:
        return 1 / (1 + (load / middle) ** 4) if load else 1.0

    found, records = searched(asking("concurrency", replace(SLO, good_fraction=asked)), truth, seed)
    assert len(records) <= MOST_RUNS
    if found.held is not None:
        assert truth(found.held.load) > asked - 0.1
        assert found.beyond is None or found.beyond.load > found.held.load
    identities = [record.cell.identity for record in records]
    assert len(set(identities)) == len(identities)


def test_a_load_is_hardly_ever_called_held_when_it_is_not() -> None:
    """Right at the border, where it may happen: 94% are good and 95% are asked."""
    (start,) = cells(asking("concurrency"), model="m")
    start = replace(start, load=replace(start.load, requests=110))
    called = 0
    for seed in range(300):
        runs = [measured(replace(start, identity=f"{n}"), 0.94, seed) for n in range(4)]
        called += any(judged(1, runs[: n + 1], SLO).verdict == "held" for n in range(4))
    assert called <= 9


def test_a_load_is_judged_by_runs_that_nobody_spoilt() -> None:
    (start,) = cells(asking("concurrency"), model="m")
    good, bad = measured(start, 1.0, 0), measured(start, 0.0, 0)
    enough = replace(good, metrics={"steady_good_fraction": proportion(200, 200)})
    late = replace(bad, doubts=(Doubt("client_saturated", {}, "flag"),))
    thin = replace(enough, doubts=(Doubt("batch_not_reached", {}, "flag"),))
    behind = replace(enough, doubts=(Doubt("falls_behind", {}, "flag"),))
    noted = replace(bad, doubts=(Doubt("client_saturated", {}, "note"),))
    assert judged(1, [enough, enough], SLO).verdict == "held"
    assert judged(1, [late, enough, enough], SLO).verdict == "held"
    assert judged(1, [late], SLO).verdict == "undecided"
    assert judged(1, [late], SLO).clients_fault
    busy = replace(bad, doubts=(Doubt("busy_host", {}, "flag"),))
    assert judged(1, [busy], SLO).verdict == "undecided"
    assert judged(1, [busy], SLO).disturbed and not judged(1, [busy, bad], SLO).disturbed
    assert judged(1, [busy, bad], SLO).verdict == "missed"
    assert judged(1, 2 * [replace(enough, doubts=busy.doubts)], SLO).verdict == "held"
    assert judged(1, [thin, thin], SLO).verdict == "undecided"
    assert judged(1, [behind], SLO).verdict == "missed"
    assert judged(1, [noted], SLO).verdict == "missed"
    assert judged(1, [replace(good, metrics={})], SLO).verdict == "undecided"


def test_runs_that_were_not_to_find_a_capacity_found_none() -> None:
    asked = asking("concurrency")
    (start,) = cells(asked, model="m")
    record = measured(start, 1.0, 0)
    assert capacities(replace(asked, find_capacity=None), [record]) == ()
    assert capacities(asked, [replace(record, status="interrupted")]) == ()
    other = replace(record, cell=identified(replace(start, prompt_tokens=99)))
    assert [each.cell.prompt_tokens for each in capacities(asked, [record, other])] == [8, 99]


def test_a_search_begins_at_the_given_load_and_every_run_has_requests_enough() -> None:
    found, records = searched(asking("concurrency", batch=(64, 16)), up_to(40))
    assert records[0].cell.batch == 16
    assert found.held is not None and 36 < found.held.load <= 40
    for record in records:
        assert record.cell.batch is not None
        assert record.cell.load.requests >= max(119, 4 * record.cell.batch) + record.cell.batch
    _, records = searched(asking("rate", rate=(100.0,)), up_to(40))
    assert [record.cell.rate for record in records[:3]] == [None, 100.0, 50.0]
    in_flight = 50.0 * 0.2
    assert records[2].cell.load.requests >= 9 * in_flight


@pytest.mark.alone
@pytest.mark.slow
def test_the_concurrency_of_a_server_that_slows_down(fake_server: Server, tmp_path: Path) -> None:
    """With n in flight a token takes 4 + 4 (n - 1) ms: with 8 it takes 32 ms, with 9 36 ms.
    With 80% of the requests to be good, few of them tell."""
    url = fake_server(ttft_s=0.01, itl_s=0.004, itl_s_per_running=0.004)
    slo = Slo(tpot_ms=34.5, good_fraction=0.8)
    asked = asking("concurrency", slo, batch=(6,))
    asked = replace(asked, grid=replace(asked.grid, output_tokens=(8,)))
    result = journal.run(asked, tmp_path, endpoint=journal.attach(url))
    assert result.ok
    (found,) = result.capacities
    assert found.held is not None and found.beyond is not None
    assert 6 <= found.held.load <= 8, "never more, and little less on a busy machine"
    assert found.held.load < found.beyond.load <= 9
    assert result.records[0].cell.batch == 6
    assert all(record.experiment_id == result.experiment.id for record in result.records)
    text = result.log.markdown.read_text()
    assert "## " in text and "What load holds the SLO" in text
    with journal.open_store(tmp_path) as store:
        stored = store.runs(experiment_id=result.experiment.id)
    assert capacities(asked, stored) == result.capacities


@pytest.mark.timing
def test_one_engine_start_serves_all_searches_and_resume_goes_on_with_them(
    stand_in: Callable[..., Engine], tmp_path: Path
) -> None:
    """The first tokens come after 50 ms, so that nothing holds 40 ms: one load for each length."""
    starts: list[Engine] = []

    def counted(engine: Engine, log_path: Path, listener: Listener) -> AbstractContextManager[Any]:
        starts.append(engine)
        return engines.start(engine, log_path=log_path, listener=listener)

    said: list[str] = []

    def stop(event: Event) -> None:
        said.append(event.message)
        if event.stage == "record":
            raise KeyboardInterrupt

    asked = asking("concurrency", Slo(ttft_ms=40.0, good_fraction=0.5))
    lengths = replace(asked.grid, prompt_tokens=(8, 16, 24), output_tokens=(2,))
    asked = replace(asked, grid=lengths, engines=(stand_in(),), load=Load(requests=4, warmup=0))
    with pytest.raises(KeyboardInterrupt):
        journal.run(asked, tmp_path, listener=stop, serve=counted)
    assert f"a search for the highest concurrency takes at most {MOST_RUNS} runs" in str(said)
    result = journal.run(asked, tmp_path, serve=counted, resume=True)
    assert result.ok
    assert [found.cell.prompt_tokens for found in result.capacities] == [8, 16, 24]
    assert all(found.held is None and found.whole for found in result.capacities)
    loads = {(record.cell.prompt_tokens, record.cell.batch) for record in result.records}
    assert loads == {(8, 1), (16, 1), (24, 1)}, "on a busy machine some are tried again"
    assert len(starts) == 2, "one for each time that it was run"
    again = journal.run(asked, tmp_path, serve=counted, resume=True)
    assert (again.records, len(starts)) == (result.records, 2)
