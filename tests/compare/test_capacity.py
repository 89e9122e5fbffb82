"""Capacities: the verdicts on loads, and the highest load that holds an SLO."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import pytest

from journal.compare.capacity import answered_per_s, capacities, judged, long_enough
from journal.metrics.statistics import proportion
from journal.plan.cells import identified
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment, Load, Slo
from journal.records.figure import Figure
from journal.records.run import Record

Build = Callable[..., Record]
SLO = Slo(ttft_ms=200.0)
SEARCH = Experiment(name="x", find_capacity="concurrency", slo=SLO)
BY_RATE = Experiment(name="x", find_capacity="rate", slo=SLO)


def ran(record: Build, batch: int, good: int, number: int = 0, **changes: object) -> Record:
    metrics = {"steady_good_fraction": proportion(good, 200)}
    changes = {"load": Load(requests=200), **changes}
    made = record(batch=batch, number=100 * batch + number, metrics=metrics, **changes)
    return replace(made, cell=identified(replace(made.cell, seed=number)))


def twice(record: Build, batch: int, good: int, **changes: object) -> list[Record]:
    """The two runs that it takes to say that a load holds."""
    return [ran(record, batch, good, number, **changes) for number in (0, 1)]


def opened(record: Build, rate: float, good: int, number: int = 0, **changes: object) -> Record:
    """A run at a rate that is long enough for an overload of 5% to pass 200 ms: 4 s."""
    steady = {"steady_good_fraction": proportion(good, 200), "steady_s": Figure(10.0)}
    metrics = {**steady, "steady_requests_per_s": Figure(changes.pop("answered", rate))}
    made = record(batch=None, rate=rate, number=number, metrics=metrics, slo=SLO, **changes)
    load = replace(made.cell.load, requests=math.ceil(5 * rate))
    return replace(made, cell=identified(replace(made.cell, load=load, slo=SLO, seed=number)))


def test_the_answer_has_three_parts(record: Build) -> None:
    tried = ((8, 200), (2, 200), (32, 0), (12, 190), (16, 0))
    runs = [run for batch, good in tried for run in twice(record, batch, good)]
    (capacity,) = capacities(SEARCH, runs)
    assert [probe.load for probe in capacity.probes] == [2, 8, 12, 16, 32]
    assert (capacity.holds_up_to, capacity.undecided, capacity.breaks_from) == (8, (8, 16), 16)
    assert capacity.held is not None and capacity.beyond is not None
    assert (capacity.held.load, capacity.beyond.load, capacity.whole) == (8, 12, True)
    (never,) = capacities(SEARCH, [ran(record, 4, 0), ran(record, 2, 0)])
    assert (never.holds_up_to, never.undecided, never.breaks_from) == (None, (0, 2), 2)
    (always,) = capacities(SEARCH, twice(record, 4, 200))
    assert (always.holds_up_to, always.undecided, always.breaks_from) == (4, (4, None), None)
    (exact,) = capacities(SEARCH, [*twice(record, 4, 200), ran(record, 5, 0)])
    assert exact.undecided is None


def test_runs_that_contradict_each_other_leave_the_loads_between_undecided(record: Build) -> None:
    runs = [*twice(record, 2, 200), ran(record, 4, 0), *twice(record, 6, 200), ran(record, 9, 0)]
    (capacity,) = capacities(SEARCH, runs)
    assert (capacity.holds_up_to, capacity.undecided, capacity.breaks_from) == (2, (2, 9), 9)


def test_a_load_holds_by_two_runs_that_are_long_enough(record: Build) -> None:
    once = ran(record, 4, 200)
    assert judged(4, [once], SLO).verdict == "undecided"
    assert judged(4, [once], SLO).too_short
    assert judged(4, [once, ran(record, 4, 200, 1)], SLO).verdict == "held"
    short = replace(once, cell=replace(once.cell, load=Load(requests=8 * 4 - 1)))
    assert judged(4, [once, short], SLO).verdict == "undecided"
    assert not judged(4, [ran(record, 4, 0)], SLO).too_short


@pytest.mark.parametrize(
    ("slo", "requests", "long"),
    [
        (Slo(ttft_ms=200), 40, True),
        (Slo(ttft_ms=200), 39, False),
        (Slo(ttft_ms=500, e2e_ms=300), 60, True),
        (Slo(ttft_ms=500, e2e_ms=300), 59, False),
        (Slo(tpot_ms=20), 1, True),
    ],
)
def test_a_run_is_long_enough_when_a_queue_of_5_percent_passes_the_limit(
    record: Build, slo: Slo, requests: int, long: bool
) -> None:
    """At 10 requests/s: 200 ms are 5% of 4 s."""
    cell = replace(record(batch=None, rate=10.0).cell, slo=slo)
    assert long_enough(replace(cell, load=Load(requests=requests))) == long


def test_a_run_of_requests_in_bursts_is_long_enough_when_it_has_as_many_more(
    record: Build,
) -> None:
    """Gaps of the gamma shape .25 spread the number of requests by four times the variance of
    random ones, 200 ms are 5% of 4 s, and smoother ones need no less."""
    open_loop = replace(record(batch=None, rate=10.0).cell, slo=Slo(ttft_ms=200))
    for burstiness, least in ((0.25, 160), (0.5, 80), (1.0, 40), (3.0, 40), (0.0, 40)):
        loads = [Load(requests=n, burstiness=burstiness) for n in (least - 1, least)]
        runs = [replace(open_loop, load=load) for load in loads]
        assert [long_enough(run) for run in runs] == [False, True], burstiness


def test_no_rate_is_held_that_the_server_was_never_seen_to_answer(record: Build) -> None:
    behind = (Doubt("falls_behind", {}, "flag"),)
    fast = [opened(record, 42.0, 200, number) for number in (1, 2)]
    slow = [opened(record, 38.0, 200, number) for number in (3, 4)]
    (unbounded,) = capacities(BY_RATE, [*slow, *fast])
    assert (unbounded.holds_up_to, unbounded.answered_per_s) == (42, None)
    over = opened(record, 80.0, 0, 5, doubts=behind, answered=40.0)
    runs = [*slow, *[replace(run, metrics={**run.metrics, **only(40.0)}) for run in fast], over]
    (capacity,) = capacities(BY_RATE, runs)
    assert (capacity.holds_up_to, capacity.breaks_from) == (38, 40.0)
    assert capacity.answered_per_s == 40.0
    assert [probe.verdict for probe in capacity.probes] == ["held", "missed", "missed"]
    assert [probe.beyond_answers for probe in capacity.probes] == [False, True, True]


def only(answered: float) -> dict[str, Figure]:
    return {"steady_requests_per_s": Figure(answered)}


def test_what_the_server_answers_is_that_of_its_longest_overload(record: Build) -> None:
    behind = (Doubt("falls_behind", {}, "flag"),)
    short = opened(record, 80.0, 0, 1, doubts=behind, answered=45.0)
    short = replace(short, metrics={**short.metrics, "steady_s": Figure(2.0)})
    long = opened(record, 50.0, 0, 2, doubts=behind, answered=40.0)
    assert answered_per_s([short]) == 45.0
    assert answered_per_s([short, long]) == 40.0
    assert answered_per_s([short, long, opened(record, 41.0, 200, 3)]) == 41.0
    late = (*behind, Doubt("client_saturated", {}, "flag"))
    assert answered_per_s([replace(long, doubts=late)]) is None


def test_requests_that_are_good_or_bad_together_are_worth_fewer(record: Build) -> None:
    runs = twice(record, 4, 199)
    assert judged(4, runs, SLO).verdict == "held"
    fewer = [
        replace(run, metrics={**run.metrics, "steady_good_effective": Figure(40.0)}) for run in runs
    ]
    assert judged(4, fewer, SLO).verdict == "undecided"
    low, high = judged(4, fewer, SLO).good.low, judged(4, fewer, SLO).good.high
    assert (low, high) == pytest.approx(bounds(0.995, 80), abs=1e-4)


def bounds(share: float, worth: float) -> tuple[float, float]:
    """The shares at which a score test at 5% / 4 just keeps `share` of `worth` requests."""
    z = NormalDist().inv_cdf(1 - 0.05 / 4 / 2)
    kept = [
        at / 1e5
        for at in range(1, 100_000)
        if abs(share - at / 1e5) <= z * math.sqrt(at / 1e5 * (1 - at / 1e5) / worth)
    ]
    return min(kept), max(kept)


def test_each_model_and_length_is_a_search_of_its_own(record: Build) -> None:
    runs = [
        ran(record, 4, 200),
        ran(record, 8, 200),
        ran(record, 4, 200, 1, model="n"),
        ran(record, 4, 200, 2, prompt_tokens=65),
        ran(record, 4, 200, 3, output_tokens=33),
        ran(record, 4, 200, 4, quantisation="awq"),
    ]
    assert [len(capacity.probes) for capacity in capacities(SEARCH, runs)] == [2, 1, 1, 1, 1]


def test_the_last_run_of_a_cell_that_was_tried_again_counts(record: Build) -> None:
    again = replace(ran(record, 4, 200), id="again")
    (capacity,) = capacities(SEARCH, [ran(record, 4, 0), again])
    assert [[one.id for one in probe.records] for probe in capacity.probes] == [["again"]]
    assert capacity.probes[0].verdict == "undecided"


def test_a_search_with_a_run_that_was_cut_short_is_not_whole(record: Build) -> None:
    runs = [ran(record, 4, 200), ran(record, 8, 200, status="interrupted")]
    (capacity,) = capacities(SEARCH, runs)
    assert not capacity.whole
    assert [probe.load for probe in capacity.probes] == [4]
    assert capacities(SEARCH, runs[1:]) == ()


def test_no_capacity_is_told_without_a_search_or_an_slo(record: Build) -> None:
    runs = [ran(record, 4, 200)]
    assert capacities(Experiment(name="x", slo=SLO), runs) == ()
    assert capacities(replace(SEARCH, find_capacity=None), runs) == ()


@pytest.mark.parametrize(
    ("good", "whole", "verdict"),
    [(60, 60, "held"), (59, 59, "undecided"), (0, 1, "missed"), (190, 200, "undecided")],
)
def test_wilsons_interval_decides(record: Build, good: int, whole: int, verdict: str) -> None:
    """95% are asked for: 120 of 120 in two runs have a lower end of 120 / (120 + 2.50^2) = 0.950,
    at the 1.25% of one of four looks."""
    made = replace(record(batch=1), metrics={"steady_good_fraction": proportion(good, whole)})
    assert judged(1, [made, made], SLO).verdict == verdict


def test_requests_of_several_runs_are_added_up_and_those_of_the_whole_run_stand_in(
    record: Build,
) -> None:
    steady = {"steady_good_fraction": Figure(0.5, count=10), "good_fraction": Figure(0.1, count=20)}
    bare = {"steady_good_fraction": Figure(None, count=0), "good_fraction": Figure(0.25, count=20)}
    runs = [replace(record(number=n), metrics=m) for n, m in enumerate((steady, bare))]
    capacity = judged(1, runs, SLO)
    assert (capacity.good.value, capacity.good.count) == (pytest.approx(10 / 30), 30)


def test_a_fault_of_the_client_is_one_only_where_every_run_has_it(record: Build) -> None:
    late, clean = Doubt("client_saturated", {}, "flag"), Doubt("falls_behind", {}, "flag")
    runs = [
        replace(ran(record, 4, 200, n), doubts=(doubt,)) for n, doubt in enumerate((late, clean))
    ]
    assert judged(4, runs[:1], SLO).clients_fault
    assert not judged(4, runs, SLO).clients_fault
    assert judged(4, runs, SLO).overloaded
    assert not judged(4, runs[:1], SLO).overloaded


def doubted(run: Record, name: str) -> Record:
    return replace(run, doubts=(Doubt(name, {}, "flag"),))


def test_runs_that_others_spoilt_show_no_load_to_be_missed(record: Build) -> None:
    missed = [ran(record, 4, 0, number) for number in (0, 1)]
    assert judged(4, missed, SLO).verdict == "missed"
    for name, disturbed in (("busy_host", True), ("client_saturated", False)):
        spoilt = [doubted(run, name) for run in missed]
        probe = judged(4, spoilt, SLO)
        assert probe.verdict == "undecided"
        assert (probe.disturbed, probe.clients_fault) == (disturbed, not disturbed)
        with_clean = judged(4, [*spoilt, *twice(record, 4, 200)], SLO)
        assert (with_clean.verdict, with_clean.good.count) == ("held", 400)
        assert not with_clean.disturbed and not with_clean.clients_fault


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("busy_host", "held"),
        ("client_saturated", "held"),
        ("rate_not_achieved", "undecided"),
        ("batch_not_reached", "undecided"),
        ("falls_behind", "missed"),
    ],
)
def test_a_load_that_was_not_applied_is_not_shown_to_hold(
    record: Build, name: str, verdict: str
) -> None:
    runs = [doubted(run, name) for run in twice(record, 4, 200)]
    assert judged(4, runs, SLO).verdict == verdict


@pytest.mark.parametrize(("rate", "verdict"), [(39.59, "held"), (39.61, "missed")])
def test_a_rate_is_as_much_as_is_answered_from_99_percent_on(
    record: Build, rate: float, verdict: str
) -> None:
    runs = [opened(record, rate, 200, number) for number in (0, 1)]
    probe = judged(rate, runs, SLO, 40.0)
    assert (probe.verdict, probe.beyond_answers) == (verdict, verdict == "missed")


def test_between_two_numbers_of_requests_in_flight_nothing_is_undecided(record: Build) -> None:
    for held, missed in ((4.0, 5.0), (4.0, 6.0)):
        runs = [opened(record, held, 200, n) for n in (0, 1)] + [opened(record, missed, 0, 2)]
        (by_rate,) = capacities(BY_RATE, runs)
        assert by_rate.undecided == (held, missed)
        closed = [*twice(record, int(held), 200), ran(record, int(missed), 0)]
        (by_batch,) = capacities(SEARCH, closed)
        assert by_batch.undecided == (None if missed == 5 else (held, missed))


def test_a_search_by_rate_begins_with_a_look_at_one_request_at_a_time(record: Build) -> None:
    alone = ran(record, 1, 200)
    rates = [opened(record, 4.0, 200, number) for number in (1, 2)]
    (capacity,) = capacities(BY_RATE, [alone, *rates])
    assert capacity.alone is not None and capacity.alone.records == (alone,)
    assert [probe.load for probe in capacity.probes] == [4.0]
    (of_batches,) = capacities(SEARCH, [alone, *rates])
    assert of_batches.alone is None
    assert [probe.load for probe in of_batches.probes] == [1.0]
