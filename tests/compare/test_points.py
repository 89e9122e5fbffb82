"""Points and lines: which runs are one point, which points one line, and the figures of both."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from builders import a_record

from journal.compare.points import Point, Points, lines, over_repeats, points
from journal.compare.setups import setups_of
from journal.records.doubt import Doubt
from journal.records.experiment import Load, Slo
from journal.records.figure import Figure
from journal.records.run import Record
from journal.records.workload import Workload


def of(*runs: Record) -> Points:
    return points(zip(runs, setups_of(runs), strict=True))


def only(*runs: Record) -> Point:
    (point,) = of(*runs)
    return point


def test_repeats_of_one_cell_are_one_point() -> None:
    first, again = (a_record(batch=4, number=n, repeat=n) for n in (0, 1))
    assert only(first, again).records == (first, again)
    for changes in (
        {"prompt_tokens": 65},
        {"output_tokens": 33},
        {"batch": 2},
        {"slo": Slo(ttft_ms=9)},
        {"workload": Workload(turns=2)},
        *({"load": Load(requests=24, **one)} for one in LOADS),
    ):
        other = a_record(**{"batch": 4, "number": 2, **changes})  # type: ignore[arg-type]
        assert len(of(first, other)) == 2, changes


LOADS: tuple[dict[str, object], ...] = (
    {"warmup": 9},
    {"convoy": True},
    {"length_spread": 0.5},
    {"body": {"x": 1}},
)


def test_points_stand_in_the_order_of_setups_lengths_and_loads() -> None:
    asked = [
        ("b", 1, 64, 32),
        ("a", 16, 64, 32),
        ("a", 2, 64, 32),
        ("a", 1, 128, 16),
        ("a", 9, 64, 8),
        ("b", 1, 32, 99),
    ]
    runs = [
        a_record(model, batch, prompt, output_tokens=output, number=n)
        for n, (model, batch, prompt, output) in enumerate(asked)
    ]
    unknown = a_record("a", 1, output_tokens=None, number=9)
    opened = a_record("a", None, rate=1.0, number=10)
    found = [point.records[0] for point in of(*runs, unknown, opened)]
    order = [5, 0, None, 4, 2, 1, "open", 3]
    assert found == [
        unknown if n is None else opened if n == "open" else runs[n]  # type: ignore[index]
        for n in order
    ]


def test_a_rate_that_changes_stands_in_no_line_of_rates() -> None:
    steady = [a_record("a", None, rate=rate, number=n) for n, rate in enumerate((1.0, 2.0))]
    ramp = a_record("a", None, rate=3.0, number=3, load=Load(requests=24, ramp="2..4 in 8s"))
    (line,) = lines(of(*steady, ramp), "rate")
    assert [point.load for point in line] == [1.0, 2.0]
    longer = replace(ramp, id="f" * 16, cell=replace(ramp.cell, prompt_tokens=128))
    assert len(lines(of(ramp, longer), "prompt_tokens")) == 1
    assert [only(run).load_text for run in (steady[0], ramp)] == ["1", "2..4 in 8s"]


def test_the_figure_of_a_point_is_that_of_its_run_or_the_mean_of_its_good_ones() -> None:
    runs = [
        a_record(number=n, repeat=n, metrics={"x": Figure(value, value - 1, value + 1, 100)})
        for n, value in enumerate((9.0, 10.0, 11.0))
    ]
    assert only(runs[0]).figure("x") == Figure(9.0, 8.0, 10.0, 1)
    failed = replace(a_record(number=7, repeat=7, metrics={"x": 99.0}), status="failed")
    bare = a_record(number=8, repeat=8, metrics={"x": Figure(None)})
    half = 4.302653 / 3**0.5
    whole = only(*runs, failed, bare)
    assert whole.figure("x") == Figure(10.0, *map(pytest.approx, (10 - half, 10 + half)), 3)
    assert whole.repeats("x") == [9.0, 10.0, 11.0]
    assert only(bare).figure("x") is only(bare).value("x") is whole.value("y") is None
    assert only(bare, runs[0]).figure("x") == Figure(9.0, 8.0, 10.0, 1)


def test_no_latency_is_less_than_nothing() -> None:
    apart = over_repeats([0.0, 10.0])
    assert (apart.value, apart.low) == (5.0, 0.0)
    below = over_repeats([-1.0, 10.0])
    assert below.low is not None and below.low < 0
    assert over_repeats([3.0]) == Figure(3.0, count=1)


def test_prompts_are_read_together_where_streams_begin_or_march_so() -> None:
    marching = (Doubt("in_step", {}),)
    convoy = Load(requests=24, convoy=True)
    assert only(a_record(batch=2, load=convoy)).together
    assert only(a_record(batch=2, doubts=marching)).together
    assert not only(a_record(batch=2)).together
    assert not only(a_record(batch=1, load=convoy)).together
    assert not only(a_record(batch=None, rate=2.0, doubts=marching)).together


def test_lengths_differ_by_a_spread_or_by_the_workload() -> None:
    assert only(a_record(load=Load(requests=24, length_spread=0.1))).lengths_differ
    assert only(a_record(workload=Workload(turns=2))).lengths_differ
    assert not only(a_record()).lengths_differ


def test_prompts_of_ones_own_have_no_length_that_is_the_same_for_all_servers() -> None:
    assert only(a_record()).lengths == (64, 32)
    assert only(a_record(workload=Workload(prompts="text:en"))).lengths == (None, 32)
    assert only(a_record()).whole_tokens == 96


def shown(found: Sequence[Points], field: str) -> list[list[object]]:
    return [[getattr(point, field) for point in line] for line in found]


def test_a_line_differs_in_one_field_alone() -> None:
    places = [(4, 64), (1, 64), (4, 128), (1, 128), (2, 256)]
    runs = [a_record("m", batch, prompt, number=n) for n, (batch, prompt) in enumerate(places)]
    assert shown(lines(of(*runs), "batch"), "batch") == [[1, 4], [1, 4]]
    assert shown(lines(of(*runs), "prompt_tokens"), "prompt_tokens") == [[64, 128], [64, 128]]
    failed = [replace(runs[1], status="failed"), *runs[:1]]
    assert lines(of(*failed), "batch") == [], "one good point is no line"
    warm = a_record(batch=1, number=20, load=Load(requests=24, warmup=9))
    assert lines(of(runs[0], warm), "batch") == []
    rates = [a_record(batch=None, rate=rate, number=n) for n, rate in enumerate((3.0, 1.0, 2.0))]
    assert shown(lines(of(*rates, runs[0]), "rate"), "rate") == [[1.0, 2.0, 3.0]]
    unknown = [a_record(prompt_tokens=n, number=n or 9) for n in (None, 8)]  # type: ignore[arg-type]
    assert lines(of(*unknown), "prompt_tokens") == []


def test_variants_differ_in_the_fields_of_their_requests_alone() -> None:
    free = only(a_record())
    forced = only(a_record(load=Load(requests=24, variant="json", body={"x": 1})))
    warm = only(a_record(load=Load(requests=24, warmup=9)))
    assert (forced.variant, forced.body, free.variant) == ("json", '{"x": 1}', None)
    assert forced.manner != free.manner
    assert forced.manner_of_variant == free.manner_of_variant != warm.manner_of_variant
    shared = only(a_record(workload=Workload(shared_prefix=32, prefixes=2)))
    assert shared.manner_of_reading == free.manner_of_reading and shared.manner != free.manner
