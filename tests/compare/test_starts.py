"""Engine starts as the unit of a comparison: which runs share one, the order, pairs and flags."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.calibrate_compare import Case, called_different
from journal.compare.comparison import compared
from journal.compare.pairing import Pair
from journal.compare.sides import Side
from journal.compare.starts import ratio_of, way_measured
from journal.compare.verdicts import Compared
from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.run import Record
from journal.report.log import as_markdown
from journal.report.phrases import words
from journal.report.versus import comparison_page

Build = Callable[..., Record]
Make = Callable[..., Pair]
TTFT = "ttft_s.p50"
A, B = (0.100, 0.101, 0.099), (0.110, 0.111, 0.109)


@pytest.fixture
def pair(record: Build) -> Make:
    """The runs of one cell on two sides, by `order` such as "ABBA": each a new start, or served by
    the start that `starts` names at its place."""

    def build(order: str, starts: str = "", values: tuple[float, ...] = ()) -> Pair:
        sides: dict[str, list[Record]] = {"A": [], "B": []}
        for n, name in enumerate(order):
            repeat = len(sides[name])
            usual = (A if name == "A" else B)[repeat % 3]
            made = record(
                number=n,
                repeat=repeat,
                metrics={TTFT: values[n] if values else usual},
                facts=EngineFacts(log_path=f"{name}{starts[n] if starts else n}.log", start_s=9.0),
            )
            sides[name].append(made)
        return tuple(sides["A"]), tuple(sides["B"])

    return build


def compare(pair: Pair) -> Compared:
    sides = (Side(name, "run", records) for name, records in zip("ab", pair, strict=True))
    ((figure,),) = (row.figures for row in compared(*sides).rows)
    return figure


@pytest.mark.parametrize(
    ("order", "said", "drift"),
    [
        ("ABBAAB", "in turn", 0.0),
        ("ABAB", "in turn", 0.0),
        ("AAABBB", "one after the other", 0.01),
        ("BBAA", "one after the other", 0.01),
        ("AABAABBB", "in uneven turns", 0.01),
    ],
)
def test_the_order_of_the_sides_is_named(pair: Make, order: str, said: str, drift: float) -> None:
    way = way_measured([pair(order)])
    assert (way.order, way.drift) == (said, drift)


def test_sides_half_a_day_apart_are_days_apart(pair: Make) -> None:
    a, b = pair("AABB")
    later = tuple(replace(r, started_at=r.started_at.replace(day=21)) for r in b)
    assert way_measured([(a, later)]).order == "days apart"


def test_runs_of_one_start_are_one_unit(pair: Make) -> None:
    anew, shared = pair("AAABBB"), pair("AAABBB", starts="000000")
    assert way_measured([anew]).units == (3, 3)
    assert way_measured([shared]).units == (1, 1)
    assert compare(anew).verdict == "higher"
    figure = compare(shared)
    assert (figure.verdict, figure.reason) == ("cannot say", "one engine start each")
    assert figure.repeats == (3, 3) and figure.units == (1, 1)
    half = compare(pair("AAABBB", starts="001001"))
    assert half.units == (2, 2), "two runs of one start and one of another"
    assert half.ratio is not None and half.a == pytest.approx((0.1005 + 0.099) / 2, rel=1e-4)


def test_a_start_whose_log_was_written_anew_is_another(pair: Make) -> None:
    (a, *rest), b = pair("AAABBB", starts="000000")
    again = replace(a, facts=replace(a.facts, start_s=11.0))
    assert way_measured([((again, *rest), b)]).units == (2, 1)


def test_runs_on_the_same_starts_are_counted_themselves(pair: Make) -> None:
    a, b = pair("ABABAB")
    one = EngineFacts(log_path="one.log", start_s=9.0)
    cell = tuple(tuple(replace(r, facts=one) for r in side) for side in (a, b))
    way = way_measured([(cell[0], cell[1])])
    assert (way.unit, way.units) == ("run", (3, 3))


def test_the_experiment_is_the_unit_where_the_start_of_an_endpoint_is_not_known(
    pair: Make,
) -> None:
    a, b = (tuple(replace(r, facts=EngineFacts()) for r in side) for side in pair("AAABBB"))
    b = tuple(replace(record, experiment_id="e2") for record in b)
    way = way_measured([(a, b)])
    assert (way.unit, way.units) == ("experiment", (1, 1))
    assert compare((a, b)).reason == "one run of an experiment each"


def test_pairs_are_compared_where_they_were_measured_as_such(pair: Make) -> None:
    """Pairs that share a level of their own: unpaired, the levels drown the difference."""
    levels = (1.0, 1.0, 2.0, 2.0, 1.5, 1.5, 3.0, 3.0)
    values = tuple(
        level * (1.1 if side == "B" else 1.0) * (1 + 0.001 * n)
        for n, (side, level) in enumerate(zip("ABBAABBA", levels, strict=True))
    )
    turns = pair("ABBAABBA", values=values)
    assert way_measured([turns]).paired
    paired = ratio_of([turns], TTFT)
    assert paired is not None and paired.low is not None and paired.low > 1.08
    a, b = turns
    elsewhere = tuple(replace(record, experiment_id="e2") for record in b)
    assert not way_measured([(a, elsewhere)]).paired
    apart = ratio_of([(a, elsewhere)], TTFT)
    assert apart is not None and apart.low is not None and apart.low < 0.7
    assert not way_measured([pair("ABBAAB")]).paired, "three pairs have too few degrees of freedom"


def test_the_repeats_that_would_tell_are_said(pair: Make) -> None:
    tenth = compare(pair("AB"))
    assert tenth.more == 2, "10% at the usual 2% from start to start: three of each tell"
    assert compare(pair("AB", values=(1.0, 1.04))).more == 8
    assert compare(pair("AB", values=(1.0, 1.001))).more == 16, "as for a difference of 2%"
    wobbly = pair("AAABBB", starts="000000", values=(1.0, 1.2, 0.8, 1.3, 1.5, 1.1))
    assert (compare(wobbly).more or 0) > 5, "the runs of a start differ by more"
    assert compare(pair("ABBAAB")).more is None


def test_two_starts_with_a_wide_interval_cannot_say(pair: Make) -> None:
    wide = compare(pair("ABBA", values=(1.0, 1.2, 1.3, 1.3)))
    assert (wide.verdict, wide.reason) == ("cannot say", "too few engine starts")
    assert wide.ratio is not None and wide.ratio.low is not None and (wide.more or 0) > 0
    narrow = compare(pair("ABBA", values=(1.0, 1.001, 0.999, 1.002)))
    assert (narrow.verdict, narrow.reason, narrow.more) == ("no difference seen", "", None)
    three = compare(pair("ABBAAB", values=(1.0, 1.2, 1.3, 1.3, 1.1, 1.1)))
    assert three.verdict == "no difference seen"


@pytest.mark.parametrize(
    ("lang", "sentences"),
    [
        (
            "en",
            (
                "A and B were measured one after the other: the intervals allow for a drift of",
                "Engine starts are counted: 1 of A, 1 of B.",
                "Flags of the runs of B: busy_host ×2.",
                "cannot say: one engine start each; 2 more of each would tell",
            ),
        ),
        (
            "zh",
            (
                "先后测量",
                "按引擎启动计数：A 有 1 次",
                "B 的运行带有标记：busy_host ×2",
                "各再加 2 次",
            ),
        ),
    ],
)
def test_a_comparison_says_how_it_was_measured(
    pair: Make, lang: str, sentences: tuple[str, ...]
) -> None:
    a, b = pair("AABB", starts="0000")
    doubts = (Doubt("busy_host", {}), Doubt("clocks", {}, severity="note"))
    b = tuple(replace(record, doubts=doubts, status="flagged") for record in b)
    comparison = compared(Side("a", "run", a), Side("b", "run", b))
    text = as_markdown(comparison_page(comparison), words(lang), "").replace("\\_", "_")
    for sentence in sentences:
        assert sentence in text
    way = comparison.as_json()["measured"]
    assert way["flags"] == {"a": {}, "b": {"busy_host": 2}}
    assert (way["order"], way["unit"]) == ("one after the other", "start")
    assert way["units"] == {"a": 1, "b": 1} and not way["paired"]
    (figure,) = comparison.as_json()["cells"][0]["figures"]
    assert (figure["more_repeats"], figure["counted"]) == (2, "start")


@pytest.mark.parametrize(
    "case",
    [
        Case(starts=3, cells=3, start_sd=0.02),
        Case(starts=6, cells=1, start_sd=0.005, in_turn=False, drift=0.01),
        Case(starts=4, cells=8, run_sd=0.03, drift=0.01),
        Case(starts=1, runs=6, start_sd=0.02),
    ],
    ids=["three", "drift", "pairs", "one"],
)
def test_equal_sides_are_called_different_in_at_most_5_percent(case: Case) -> None:
    """A short version of docs/calibration.md, from runs to verdicts."""
    assert max(called_different(case, trials=300)) <= 0.05
    if case.starts > 1:
        assert called_different(replace(case, truth=1.2), trials=100)[1] >= 0.9
