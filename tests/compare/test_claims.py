"""Claims, judged on points whose truth is known."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from journal.compare.claims import (
    ClaimPart,
    Judged,
    Region,
    Trial,
    conjunction,
    figure_trial,
    judged_claim,
    repeats_to_decide,
    verdict_by,
)
from journal.compare.contrast import contrast
from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.records.claim import Claim
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Load, Variant
from journal.records.figure import Figure
from journal.records.run import Record
from journal.records.workload import Workload

Build = Callable[..., Record]
RATE, TTFT = "output_tokens_per_s", "ttft_s.p50"
LUCK = (0.99, 1.0, 1.01)  # of three repeats


def at_points(runs: list[Record]) -> Points:
    return points(zip(runs, setups_of(runs), strict=True))


def line(
    record: Build,
    values: Mapping[int, float],
    luck: tuple[float, ...] = LUCK,
    metric: str = RATE,
    over: str = "batch",
) -> Points:
    """A line of points over `over`, with a repeat for each factor of `luck`."""
    return at_points(
        [
            record(repeat=n, number=10 * i + n, metrics={metric: value * f}, **{over: x})
            for i, (x, value) in enumerate(values.items())
            for n, f in enumerate(luck)
        ]
    )


def about(points_: Points, **claimed: object) -> Judged:
    return judged_claim(Claim(metric=RATE, **claimed), points_)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({1: 100.0, 2: 100.5, 4: 99.0}, "supported"),
        ({1: 100.0, 2: 100.5, 4: 150.0}, "refuted"),
        ({1: 100.0, 2: 104.9, 4: 110.0}, "not_established"),  # at the band
        ({1: 100.0}, "not_measured"),
    ],
)
def test_flat_is_judged_by_any_two_points(
    record: Build, values: dict[int, float], verdict: str
) -> None:
    found = about(line(record, values), behaves="flat", over="batch")
    assert found.verdict == verdict
    assert (found.more is None) is (verdict != "not_established")


def test_the_deciding_part_stands_first(record: Build) -> None:
    found = about(line(record, {1: 100.0, 2: 101.0, 4: 150.0}), behaves="flat", over="batch")
    assert found.parts[0].verdict == "refuted"
    assert found.parts[0].figure.value == pytest.approx(1.5, rel=0.01)
    assert [point.batch for point in found.parts[0].points] == [1, 4]


@pytest.mark.parametrize(
    ("exponent", "growth", "verdict"),
    [
        (1.0, "linear", "supported"),
        (0.7, "linear", "refuted"),
        (0.7, "slower", "supported"),
        (1.3, "slower", "refuted"),
        (1.3, "faster", "supported"),
        (0.7, "faster", "refuted"),
        (0.7, "any", "supported"),
        (-0.5, "any", "refuted"),
        (0.0, "any", "not_established"),
        (1.0, "slower", "not_established"),
    ],
)
def test_growth_is_judged_by_its_exponent(
    record: Build, exponent: float, growth: str, verdict: str
) -> None:
    values = {n: 100.0 * n**exponent for n in (1, 2, 4, 8)}
    found = about(line(record, values), behaves="grows", over="batch", growth=growth)
    assert found.verdict == verdict
    (part,) = found.parts
    assert part.figure.value == pytest.approx(exponent, abs=1e-9)
    assert part.figure.low is not None
    assert part.figure.high is not None
    assert part.figure.low < exponent < part.figure.high


def test_one_run_without_an_interval_establishes_nothing(record: Build) -> None:
    values = {n: 100.0 * n for n in (1, 2, 4)}
    found = about(line(record, values, (1.0,)), behaves="grows", over="batch", growth="linear")
    assert found.verdict == "not_established"
    assert found.more is not None


@pytest.mark.parametrize(
    ("behaves", "value", "verdict"),
    [
        ("at_least", 90, "supported"),
        ("at_least", 100, "not_established"),
        ("at_least", 120, "refuted"),
        ("at_most", 120, "supported"),
        ("at_most", 90, "refuted"),
    ],
)
def test_a_bound_holds_in_every_cell(
    record: Build, behaves: str, value: float, verdict: str
) -> None:
    assert (
        about(line(record, {1: 100.0, 2: 101.0}), behaves=behaves, value=value).verdict == verdict
    )


def test_at_bounds_a_claim_to_cells(record: Build) -> None:
    there = line(record, {1: 100.0, 2: 10.0})
    assert about(there, behaves="at_least", value=90).verdict == "refuted"
    assert about(there, behaves="at_least", value=90, at={"batch": 1.0}).verdict == "supported"
    assert about(there, behaves="at_least", value=9, at={"batch": 4.0}).verdict == "not_measured"


@pytest.mark.parametrize(
    ("between", "verdict"),
    [((4.0, 16.0), "supported"), ((1.0, 4.0), "refuted"), ((8.0, 32.0), "refuted")],
)
def test_a_knee_lies_between_two_loads(
    record: Build, between: tuple[float, float], verdict: str
) -> None:
    values = {1: 100.0, 2: 190.0, 4: 360.0, 8: 400.0, 16: 410.0, 32: 415.0}
    found = about(line(record, values), behaves="saturates", over="batch", between=between)
    assert found.verdict == verdict


def test_a_knee_needs_a_step_between_the_two_loads(record: Build) -> None:
    there = line(record, {1: 100.0, 16: 400.0})
    found = about(there, behaves="saturates", over="batch", between=(2.0, 8.0))
    assert found.verdict == "not_measured"


def of_engines(record: Build, values: Mapping[str, float]) -> tuple[Points, tuple[Engine, ...]]:
    engines = tuple(Engine(model=model) for model in values)
    runs = [
        record(
            engine.model,
            engine=engine,
            repeat=n,
            number=2 * n + i,
            metrics={RATE: values[engine.model] * f},
            facts=EngineFacts(log_path=f"{engine.model}{n}.log"),
        )
        for n, f in enumerate(LUCK)
        for i, engine in enumerate(engines)
    ]
    return at_points(runs), engines


@pytest.mark.parametrize(
    ("second", "verdict"), [(120.0, "supported"), (80.0, "refuted"), (100.1, "not_established")]
)
def test_one_setup_is_below_another_by_their_starts(
    record: Build, second: float, verdict: str
) -> None:
    there, engines = of_engines(record, {"x": 100.0, "y": second})
    found = judged_claim(Claim(metric=RATE, behaves="a_below_b", a=1, b=2), there, engines)
    assert found.verdict == verdict
    assert found.parts[0].figure.value == pytest.approx(second / 100)
    swapped = judged_claim(Claim(metric=RATE, behaves="a_below_b", a=2, b=1), there, engines)
    opposite = {"supported": "refuted", "refuted": "supported"}
    assert swapped.verdict == opposite.get(verdict, verdict)


def test_a_claim_about_one_engine_asks_that_one(record: Build) -> None:
    there, engines = of_engines(record, {"x": 100.0, "y": 50.0})
    claim = Claim(metric=RATE, behaves="at_least", value=90, engine=1)
    assert judged_claim(claim, there, engines).verdict == "supported"
    assert judged_claim(replace(claim, engine=2), there, engines).verdict == "refuted"
    assert judged_claim(replace(claim, engine=3), there, engines).verdict == "not_measured"


def test_the_turns_of_a_conversation_are_an_axis(record: Build) -> None:
    runs = [
        record(repeat=n, number=n, metrics={f"turn_ttft_s.{k}": 0.1 * k * f for k in range(1, 6)})
        for n, f in enumerate(LUCK)
    ]
    claim = Claim(metric="turn_ttft_s", over="turn", behaves="grows", growth="linear")
    assert judged_claim(claim, at_points(runs)).verdict == "supported"
    assert judged_claim(replace(claim, behaves="flat"), at_points(runs)).verdict == "refuted"


def test_the_tokens_left_to_read_are_an_axis(record: Build) -> None:
    runs = [
        record(
            prompt_tokens=1000,
            repeat=n,
            number=10 * i + n,
            workload=Workload(shared_prefix=shared, prefixes=4 if shared else 1),
            metrics={TTFT: (1000 - shared) * 1e-3 * f},
        )
        for i, shared in enumerate((0, 500, 900))
        for n, f in enumerate(LUCK)
    ]
    claim = Claim(metric="ttft_s", over="tokens_to_read", behaves="grows", growth="linear")
    found = judged_claim(claim, at_points(runs))
    assert found.verdict == "supported"
    assert len(found.parts[0].points) == 3


@pytest.mark.parametrize(("truth", "most"), [(1.1, 0.05), (1.2, 0.01)])
def test_a_false_claim_is_rarely_supported(record: Build, truth: float, most: float) -> None:
    """At the edge of the band in at most 5%; the whole table is in docs/calibration.md."""
    chance = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        luck = 1 + chance.normal(0, 0.02, (2, 3))
        runs = [
            record(batch=x, repeat=n, number=3 * x + n, metrics={RATE: v * luck[i, n]})
            for i, (x, v) in enumerate(((1, 100.0), (2, 100.0 * truth)))
            for n in range(3)
        ]
        wrong += about(at_points(runs), behaves="flat", over="batch").verdict == "supported"
    assert wrong <= 200 * most


def test_a_value_of_nothing_leaves_a_claim_open(record: Build) -> None:
    there = line(record, {1: 0.0, 2: 100.0, 4: 100.0})
    assert about(there, behaves="flat", over="batch").verdict == "not_established"


@pytest.mark.parametrize(("second", "verdict"), [(0.5, "supported"), (-0.5, "refuted")])
def test_a_claim_may_be_about_a_ratio_along_an_axis(
    record: Build, second: float, verdict: str
) -> None:
    """The metric of x grows by 0.2 relative to that of y, or falls."""
    engines = Engine(model="x"), Engine(model="y")
    runs = [
        record(
            engine.model,
            batch,
            engine=engine,
            repeat=n,
            number=n,
            metrics={RATE: 100 * batch**exponent * f},
        )
        for engine, exponent in zip(engines, (second, 0.0), strict=True)
        for batch in (1, 4, 16)
        for n, f in enumerate(LUCK)
    ]
    claim = Claim(metric=RATE, over="batch", behaves="grows", a=1, b=2)
    found = judged_claim(claim, at_points(runs), engines)
    assert found.verdict == verdict
    assert found.parts[0].figure.value == pytest.approx(second)


def test_the_phases_of_reasoning_are_an_axis(record: Build) -> None:
    rates = {"thinking_tokens_per_s": 50.0, "answering_tokens_per_s": 51.0}
    runs = [
        record(repeat=n, number=n, metrics={name: v * f for name, v in rates.items()})
        for n, f in enumerate(LUCK)
    ]
    claim = Claim(metric="thinking_tokens_per_s", over="phase", behaves="flat")
    assert judged_claim(claim, at_points(runs)).verdict == "supported"
    assert judged_claim(replace(claim, within=0.01), at_points(runs)).verdict == "not_established"


def test_the_variants_of_a_load_are_numbered_where_there_is_one_engine(record: Build) -> None:
    runs = [
        record(
            repeat=n,
            number=2 * n + len(name) % 2,
            load=Load(variant=name, body={"is": name}),
            metrics={RATE: value * f},
        )
        for name, value in (("free", 100.0), ("JSON-", 120.0))
        for n, f in enumerate(LUCK)
    ]
    variants = tuple(Variant(name=name, body={}) for name in ("free", "JSON-"))
    asked = Experiment(name="x", load=Load(variants=variants))
    claim = Claim(metric=RATE, behaves="a_below_b", a=1, b=2)
    assert judged_claim(claim, at_points(runs), asked.compared).verdict == "supported"


# ---- parts of a claim ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "strict", "verdict"),
    [
        ((0.0, 1.0), (-0.5, 1.5), "supported"),
        ((-0.01, 1.0), (-0.5, 1.5), "not_established"),
        ((0.0, 1.01), (-0.5, 1.5), "not_established"),
        ((1.2, 1.4), (1.01, 1.6), "refuted"),
        ((1.2, 1.4), (1.0, 1.6), "not_established"),
        ((-0.4, -0.2), (-0.6, -0.01), "refuted"),
        ((-0.4, -0.2), (-0.6, 0.0), "not_established"),
        ((0.2, None), (0.1, 0.9), "not_established"),
        ((0.2, 0.8), (0.1, None), "not_established"),
    ],
)
def test_an_interval_supports_within_a_region_and_the_strict_one_refutes_beyond_it(
    own: tuple[float, float | None], strict: tuple[float, float | None], verdict: str
) -> None:
    figures = Figure(0.5, *own), Figure(0.5, *strict)
    assert verdict_by(*figures, Region(0.0, 1.0)) == verdict
    assert verdict_by(Figure(None), figures[1], Region(0.0, 1.0)) == "not_measured"


def test_a_value_lies_within_the_nearer_end_of_its_region() -> None:
    region = Region(1.0, 4.0)
    assert [region.distance(value) for value in (1.5, 3.0, 0.5, 5.0)] == [0.5, 1.0, -0.5, -1.0]


def test_the_parts_of_a_claim_share_the_chance_of_a_refusal_and_the_deciding_one_leads() -> None:
    asked: list[float] = []

    def part(value: float, half: float) -> Trial:
        def figure(confidence: float) -> Figure:
            asked.append(confidence)
            return Figure(value, value - half, value + half)

        return Trial(
            (), Region(0.0, 10.0), figure, lambda distance: round(distance), lambda v: 2 * v
        )

    parts = conjunction([part(5.0, 1.0), part(1.5, 2.0), part(2.0, 1.0), part(30.0, 1.0)])
    assert sorted(set(asked)) == pytest.approx([0.95, 0.9875])
    assert [(p.verdict, p.figure.value, p.distance, p.more) for p in parts] == [
        ("refuted", 60.0, -20.0, None),
        ("not_established", 3.0, 1.5, 2),
        ("supported", 4.0, 2.0, None),
        ("supported", 10.0, 5.0, None),
    ]
    assert (parts[1].figure.low, parts[1].figure.high) == (-1.0, 7.0)
    assert conjunction([]) == ()


def test_a_figure_is_its_own_estimate_at_any_confidence(record: Build) -> None:
    """Of a single run: an interval of 2.2622 standard errors, Student's t of 9 degrees, of which 7
    count. At 99% it takes 3.4995, that of 7."""
    (point,) = line(record, {1: 10.0}, luck=(1.0,))
    figure = Figure(10.0, 9.0, 12.0, 1)
    trial = figure_trial(point, figure, Region(0.0, 20.0))
    assert trial.figure(0.95) == figure
    wider = trial.figure(0.99)
    scale = 3.4995 / 2.2622
    assert (wider.low, wider.high) == pytest.approx((10 - scale, 10 + 2 * scale), rel=1e-4)
    same = contrast((1,), [figure])
    assert same is not None and trial.more(0.5) == same.more_to_clear(0.05)
    bare = Figure(10.0, count=1)
    assert figure_trial(point, bare, Region(0.0, 20.0)).figure(0.99) == bare
    exact = figure_trial(point, bare, Region(0.0, 20.0), exact=True)
    assert exact.figure(0.95) == exact.figure(0.99) == Figure(10.0, 10.0, 10.0, 1)
    nothing = figure_trial(point, Figure(0.0, -1.0, 1.0, 1), Region(0.0, 20.0))
    assert nothing.more(0.5) is None


def test_the_part_that_takes_most_repeats_says_how_many_decide_all() -> None:
    def part(more: int | None, verdict: str = "not_established") -> ClaimPart:
        return ClaimPart((), Figure(1.0), verdict, 0.0, more)  # type: ignore[arg-type]

    assert repeats_to_decide([part(3), part(7), part(None, "supported")]) == 7
    assert repeats_to_decide([part(3), part(None)]) is None
    assert repeats_to_decide([part(None, "supported")]) is repeats_to_decide([]) is None


@pytest.mark.parametrize(("exponent", "verdict"), [(0.95, "supported"), (0.85, "refuted")])
def test_what_grows_in_proportion_has_an_exponent_within_a_tenth_of_one(
    record: Build, exponent: float, verdict: str
) -> None:
    for sign in (1, -1):
        values = {n: 100.0 * n ** (1 + sign * (exponent - 1)) for n in (1, 4, 16, 64)}
        there = line(record, values, luck=(0.999, 1.0, 1.001))
        claimed = {"behaves": "grows", "over": "batch", "growth": "linear", "within": 0.1}
        assert about(there, **claimed).verdict == verdict


@pytest.mark.parametrize(
    ("gains", "between", "verdict"),
    [
        ((1.9, 1.1), (2, 4), "supported"),
        ((1.9, 1.3), (2, 4), "refuted"),
        ((1.1, 1.1), (2, 4), "refuted"),
        ((1.1, 1.1), (1, 4), "supported"),  # the last step decides, and none lies before
        ((1.9, 1.1), (1, 2), "refuted"),
    ],
)
def test_a_knee_lies_after_steps_that_gain_a_fifth_and_before_one_that_gains_less(
    record: Build, gains: tuple[float, float], between: tuple[float, float], verdict: str
) -> None:
    values = {1: 100.0, 2: 100.0 * gains[0], 4: 100.0 * gains[0] * gains[1]}
    there = line(record, values, luck=(0.999, 1.0, 1.001))
    found = about(there, behaves="saturates", over="batch", between=between)
    assert found.verdict == verdict
    for part in found.parts:  # in the gain for a doubling
        assert part.figure.value == pytest.approx(gains[[p.batch for p in part.points] == [2, 4]])
