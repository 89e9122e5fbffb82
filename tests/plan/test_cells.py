"""Cells: their order and identity."""

from dataclasses import replace

import pytest

from journal.errors import SpecError
from journal.plan.cells import by_engine, cells, without_repeat, without_turns
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo

TWO_ENGINES = Experiment(
    name="x",
    engines=(Engine(model="a"), Engine(model="b", quantisation="awq")),
    grid=Grid(batch=(1, 8), prompt_tokens=(16, 64), output_tokens=(32,)),
    load=Load(requests=10, warmup=2, repeats=3),
)


def test_one_engine_start_serves_all_its_cells() -> None:
    planned = cells(replace(TWO_ENGINES, load=replace(TWO_ENGINES.load, interleave=False)))
    assert len(planned) == 2 * 3 * 4
    groups = by_engine(planned)
    assert [(engine.model if engine else None, len(group)) for engine, group in groups] == [
        ("a", 12),
        ("b", 12),
    ]


def test_repeats_are_spread_over_the_time_of_an_engine() -> None:
    one_engine = replace(TWO_ENGINES, engines=TWO_ENGINES.engines[:1])
    first = [cell.repeat for cell in cells(one_engine)[:12]]
    assert first == [0] * 4 + [1] * 4 + [2] * 4


def test_engines_that_are_compared_take_turns() -> None:
    compared = replace(TWO_ENGINES, load=replace(TWO_ENGINES.load, repeats=4))
    planned = cells(compared)
    turns = [(cell.model, cell.repeat) for cell in planned[:: len(planned) // 8]]
    assert turns == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3)]
    places = {m: [n for n, c in enumerate(planned) if c.model == m] for m in ("a", "b")}
    assert sum(places["a"]) == sum(places["b"]), "a steady drift falls on both alike"
    starts = [engine.model if engine else None for engine, _ in by_engine(planned)]
    assert starts == ["a", "b", "b", "a", "a", "b", "b", "a"], "each repeat has a start of its own"
    plain = cells(replace(compared, load=replace(compared.load, interleave=False)))
    assert {cell.identity for cell in planned} == {cell.identity for cell in plain}
    apart = without_turns(planned)
    assert [cell.identity for cell in apart] == [cell.identity for cell in plain]
    assert [engine.model for engine, _ in by_engine(apart) if engine] == ["a", "b"]
    one_server = replace(compared, engines=())
    assert [c.repeat for c in cells(one_server, model="m")] == [n // 4 for n in range(16)]


@pytest.mark.parametrize(
    ("engines", "repeats", "interleave", "starts"),
    [(2, 3, None, 6), (2, 1, None, 2), (1, 3, None, 1), (2, 3, False, 2), (1, 3, True, 3)],
)
def test_starts_are_anew_for_each_repeat_of_several_engines_unless_asked_otherwise(
    engines: int, repeats: int, interleave: bool | None, starts: int
) -> None:
    load = replace(TWO_ENGINES.load, repeats=repeats, interleave=interleave)
    planned = cells(replace(TWO_ENGINES, engines=TWO_ENGINES.engines[:engines], load=load))
    assert len(by_engine(planned)) == starts
    assert all(cell.load.interleave is not None for cell in planned), "what was resolved is stored"
    server = cells(replace(TWO_ENGINES, engines=(), load=load), model="m")
    assert len(by_engine(server)) == 1, "a server that runs already is not started"


def test_identities_are_unique_and_do_not_depend_on_what_is_not_measured() -> None:
    planned = cells(TWO_ENGINES)
    assert len({cell.identity for cell in planned}) == len(planned)
    elsewhere = replace(
        TWO_ENGINES,
        name="y",
        engines=tuple(replace(engine, python="python3") for engine in TWO_ENGINES.engines),
        load=replace(TWO_ENGINES.load, timeout_s=5.0),
    )
    assert [cell.identity for cell in cells(elsewhere)] == [cell.identity for cell in planned]


def test_identities_change_with_all_that_is_measured() -> None:
    planned = {cell.identity for cell in cells(TWO_ENGINES)}
    for changed in (
        replace(TWO_ENGINES, load=replace(TWO_ENGINES.load, requests=11)),
        replace(TWO_ENGINES, load=replace(TWO_ENGINES.load, seed=9)),
        replace(
            TWO_ENGINES,
            engines=tuple(replace(e, flags=("--enforce-eager",)) for e in TWO_ENGINES.engines),
        ),
    ):
        assert planned.isdisjoint(cell.identity for cell in cells(changed))


def test_a_rate_makes_the_cells_open_loop() -> None:
    experiment = replace(TWO_ENGINES, grid=Grid(rate=(1.0, 2.5)))
    assert {(cell.batch, cell.rate) for cell in cells(experiment)} == {(None, 1.0), (None, 2.5)}


def test_nothing_is_measured_without_engine_or_model() -> None:
    with pytest.raises(SpecError, match="--endpoint"):
        cells(Experiment(name="x"))
    assert {cell.model for cell in cells(Experiment(name="x"), model="m")} == {"m"}


def test_what_came_to_be_known_later_changes_no_identity_unless_it_is_said() -> None:
    """Else an experiment that was interrupted under an older version could not be resumed."""
    plain, staged = cells(
        Experiment(name="x", engines=(Engine(model="m"), Engine(model="m", pipeline_parallel=2)))
    )
    assert plain.identity == "aa034aa7bff8963f"
    assert staged.identity != plain.identity


def test_repeats_have_an_identity_in_common_and_other_cells_have_not() -> None:
    planned = cells(TWO_ENGINES)
    common = [without_repeat(cell) for cell in planned]
    assert len(set(common)) == len(planned) // 3
    assert len({(name, cell.repeat) for name, cell in zip(common, planned, strict=True)}) == 24
    assert not set(common) & {cell.identity for cell in planned}


@pytest.mark.parametrize("of", ["rate", "concurrency"])
def test_a_search_for_capacity_begins_with_one_cell_for_each_length(of: str) -> None:
    search = replace(TWO_ENGINES, find_capacity=of, slo=Slo(ttft_ms=200.0))
    planned = cells(search)
    assert [(cell.engine, cell.prompt_tokens) for cell in planned] == [
        (engine, length) for engine in TWO_ENGINES.engines for length in (16, 64)
    ]
    assert {(cell.batch, cell.rate, cell.repeat) for cell in planned} == {(1, None, 0)}
    assert len(by_engine(planned)) == 2


@pytest.mark.parametrize("slo", [None, Slo()])
def test_a_search_for_capacity_needs_an_slo(slo: Slo | None) -> None:
    with pytest.raises(SpecError, match="--slo-ttft-ms"):
        cells(replace(TWO_ENGINES, find_capacity="rate", slo=slo))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"engines": ()}, "an engine that can be started"),
        ({"grid": Grid(rate=(1.0,))}, "batches: leave rate out"),
        ({"find_capacity": "concurrency", "slo": Slo(ttft_ms=1000.0)}, "leave find_capacity out"),
        ({}, None),
    ],
)
def test_a_search_for_the_needed_vram_that_could_find_nothing_is_refused(
    changes: dict[str, object], missing: str | None
) -> None:
    experiment = replace(TWO_ENGINES, needed_vram=True, **changes)
    if missing is None:
        assert [cell.batch for cell in cells(experiment)] == [1, 8] * 4
    else:
        with pytest.raises(SpecError, match=missing):
            cells(experiment, model="m")


def test_the_needed_memory_is_looked_for_with_all_requests_at_their_full_length_at_once() -> None:
    asked = Experiment(
        name="x", engines=(Engine(model="m"),), grid=Grid(batch=(4,)), needed_vram=True
    )
    assert [cell.convoy for cell in cells(asked)] == [True]
    assert [cell.convoy for cell in cells(replace(asked, needed_vram=False))] == [False]
