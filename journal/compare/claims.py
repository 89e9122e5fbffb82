"""Claims, judged: whether a metric behaves as it was claimed to, before the runs, in every cell or
line of cells.

A claim is a conjunction of parts, each with an estimate and the region in which it has to lie. It
is supported where the 95% interval of every part lies within its region, refuted where that of a
part lies outside, at a confidence that all parts share (Bonferroni), and not established else.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from journal.compare.contrast import contrast, slope_weights
from journal.compare.knee import KNEE_GAIN
from journal.compare.points import Point, Points, lines
from journal.compare.ratios import Ratio
from journal.compare.starts import by_unit, more_needed, ratio_of, way_measured
from journal.metrics.figure_error import Error, error
from journal.metrics.row import TURNS
from journal.metrics.statistics import CONFIDENCE, t_quantile
from journal.metrics.table import is_exact, metric_of_key
from journal.records.claim import PHASES, Claim, Verdict
from journal.records.experiment import Engine
from journal.records.figure import Figure

INFINITE = math.inf


@dataclass(frozen=True, slots=True)
class Region:
    """The values, from `low` to `high`, in which an estimate has to lie."""

    low: float
    high: float

    def distance(self, value: float) -> float:
        """How far `value` lies within its nearest end; below 0 where it lies outside."""
        return min(value - self.low, self.high - value)


@dataclass(frozen=True, slots=True)
class ClaimPart:
    """A part of a claim: `points` are its cells, `figure` is what was estimated (a ratio, an
    exponent, the gain for a doubling, or the metric itself) with its 95% interval, `more` the
    number of further repeats that would decide (None where that is not known or not needed), and
    `distance` how far the estimate lies within its region."""

    points: Points
    figure: Figure
    verdict: Verdict
    distance: float
    more: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim with its verdict and the parts that it rests on, the decisive one first."""

    claim: Claim
    metric: str
    verdict: Verdict
    parts: tuple[ClaimPart, ...]

    @property
    def more(self) -> int | None:
        """The further repeats that would decide all parts; None where that is not known."""
        return repeats_to_decide(self.parts)


def repeats_to_decide(parts: Sequence[ClaimPart]) -> int | None:
    """The further repeats that would decide all of `parts`; None where that is not known."""
    counts = [part.more for part in parts if part.verdict == "not_established"]
    known = [count for count in counts if count is not None]
    return max(known) if known and len(known) == len(counts) else None


def judged_claim(claim: Claim, points: Points, engines: Sequence[Engine | str] = ()) -> Judged:
    """The verdict on `claim` by the good runs of `points`, those of its experiment; its numbers
    mean `engines`, of which a text is the name of a variant of the load. "not_measured" where no
    cell, or no two cells of a line, have the metric."""
    metric = metric_of_key(claim.metric)
    chosen = tuple(point for point in points if point.good and _is_at(point, claim.at))
    if claim.a is not None and claim.b is not None:
        sides = _of_engine(chosen, engines, claim.a), _of_engine(chosen, engines, claim.b)
        tests = _apart(metric, *sides) if claim.over is None else _beside(claim, metric, *sides)
    else:
        own = chosen if claim.engine is None else _of_engine(chosen, engines, claim.engine)
        tests = _alone(claim, metric, own)
    parts = conjunction(tests)
    return Judged(claim, metric, overall([part.verdict for part in parts]), parts)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a conjunction by those on its parts."""
    order: tuple[Verdict, ...] = ("refuted", "not_established", "supported")
    return next((verdict for verdict in order if verdict in verdicts), "not_measured")


@dataclass(frozen=True, slots=True)
class Trial:
    """A part before it is judged: the interval of its estimate at any confidence, its region, and
    the repeats that would tell the estimate from a bound at a distance. `shown` puts the estimate
    into the form in which people read it."""

    points: Points
    region: Region
    figure: Callable[[float], Figure]
    more: Callable[[float], int | None]
    shown: Callable[[float], float] = lambda value: value


def conjunction(tests: Iterable[Trial]) -> tuple[ClaimPart, ...]:
    """The parts of `tests`, judged together: the decisive one first."""
    tests = list(tests)
    share = 1 - (1 - CONFIDENCE) / max(1, len(tests))
    parts = [_part(test, share) for test in tests]
    order = ("refuted", "not_established", "supported")
    return tuple(sorted(parts, key=lambda part: (order.index(part.verdict), part.distance)))


def _part(test: Trial, share: float) -> ClaimPart:
    own, strict = test.figure(CONFIDENCE), test.figure(share)
    if own.value is None:
        return ClaimPart(test.points, own, "not_established", -INFINITE)
    distance = test.region.distance(own.value)
    verdict = verdict_by(own, strict, test.region)
    more = test.more(distance) if verdict == "not_established" else None
    low, high = (None if end is None else test.shown(end) for end in (own.low, own.high))
    figure = Figure(test.shown(own.value), low, high, own.count)
    return ClaimPart(test.points, figure, verdict, distance, more)


def verdict_by(own: Figure, strict: Figure, region: Region) -> Verdict:
    """The verdict on an estimate with its 95% interval (`own`), and with the one of the confidence
    that all parts of a claim share (`strict`)."""
    if own.value is None:
        return "not_measured"
    if own.low is None or own.high is None or strict.low is None or strict.high is None:
        return "not_established"
    if region.low <= own.low and own.high <= region.high:
        return "supported"
    if strict.high < region.low or strict.low > region.high:
        return "refuted"
    return "not_established"


def _is_at(point: Point, at: Mapping[str, float]) -> bool:
    return all(axis_value(point, name) == value for name, value in at.items())


def axis_value(point: Point, name: str) -> float | None:
    """The place of `point` on the axis `name` of the grid, or of claims."""
    if name in ("tokens_to_read", "shared_prefix"):
        shared = point.records[0].cell.workload.shared_prefix
        if name == "shared_prefix":
            return shared
        return None if point.prompt_tokens is None else point.prompt_tokens - shared
    value = getattr(point, name)
    return None if value is None else float(value)


def _of_engine(points: Points, engines: Sequence[Engine | str], number: int) -> Points:
    own = engines[number - 1 : number]
    cells = [(point, point.records[0].cell) for point in points]
    return tuple(p for p, cell in cells if cell.engine in own or cell.load.variant in own)


# ---- one setup ---------------------------------------------------------------------------------


class _Reading(NamedTuple):
    """The figure of the metric `name` at `point`, at `x` on the axis of a claim; `other` is that of
    the engine to which it is relative."""

    x: float
    name: str
    point: Point
    figure: Figure
    other: Figure | None = None


def _alone(claim: Claim, metric: str, points: Points) -> Iterator[Trial]:
    if claim.value is not None:
        bound = (claim.value, INFINITE) if claim.behaves == "at_least" else (-INFINITE, claim.value)
        for point in points:
            figure = point.figure(metric)
            if figure is not None and figure.value is not None:
                yield figure_trial(point, figure, Region(*bound), exact=is_exact(metric))
        return
    for line in _lines(claim, metric, points):
        yield from _along(line, metric, claim)


def _along(line: list[_Reading], metric: str, claim: Claim) -> Iterator[Trial]:
    if claim.behaves == "flat":
        yield from _flat(line, metric, claim.within)
    elif claim.behaves == "grows":
        yield from _grows(line, metric, claim)
    elif claim.between is not None:
        yield from _saturates(line, metric, claim.between)


def _lines(claim: Claim, metric: str, points: Points) -> Iterator[list[_Reading]]:
    """The readings of `metric` along the axis of the claim, for each line of two points or more."""
    if claim.over == "turn":
        for point in points:
            yield _readings((float(turn), f"{metric}.{turn}", point) for turn in TURNS)
        return
    if claim.over == "phase":
        for point in points:
            yield _readings((float(n), name, point) for n, name in enumerate(PHASES, start=1))
        return
    over = claim.over or ""
    for line in _to_read(points) if over == "tokens_to_read" else lines(points, over):
        yield _readings((axis_value(point, over) or 0.0, metric, point) for point in line)


def _readings(places: Iterable[tuple[float, str, Point]]) -> list[_Reading]:
    found = [(x, name, point, point.figure(name)) for x, name, point in places]
    return [_Reading(x, n, p, f) for x, n, p, f in found if f is not None and f.value is not None]


def _to_read(points: Points) -> list[Points]:
    """The lines of points that differ in the tokens that are left to read alone."""
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        key = point.setup, point.shape, point.output_tokens, *point.manner_of_reading
        groups.setdefault(key, []).append(point)
    ordered = (
        sorted(g, key=lambda p: axis_value(p, "tokens_to_read") or 0) for g in groups.values()
    )
    return [tuple(group) for group in ordered if len(group) > 1]


def _contrasted(
    weights: Sequence[float],
    readings: Sequence[_Reading],
    metric: str,
    region: Region,
    shown: Callable[[float], float] = lambda value: value,
) -> Iterator[Trial]:
    """The test of a contrast of the readings; undecided where a value is not above 0."""
    terms = [
        (sign * weight, figure)
        for weight, reading in zip(weights, readings, strict=True)
        for sign, figure in ((1, reading.figure), (-1, reading.other))
        if figure is not None
    ]
    made = contrast([w for w, _ in terms], [f for _, f in terms], exact=is_exact(metric))
    points = tuple(dict.fromkeys(reading.point for reading in readings))
    if made is None:
        yield Trial(points, region, lambda _: Figure(None), lambda _: None)
    else:
        yield Trial(points, region, made.figure, made.more_to_clear, shown)


def _flat(line: list[_Reading], metric: str, within: float) -> Iterator[Trial]:
    """A test for any two readings: their ratio."""
    region = Region(-math.log1p(within), math.log1p(within))
    for pair in combinations(line, 2):
        yield from _contrasted((-1, 1), pair, metric, region, math.exp)


def _grows(line: list[_Reading], metric: str, claim: Claim) -> Iterator[Trial]:
    """The test of the exponent: the least-squares slope of the logarithms."""
    regions = {
        "any": Region(0.0, INFINITE),
        "linear": Region(1 - claim.within, 1 + claim.within),
        "slower": Region(0.0, 1.0),
        "faster": Region(1.0, INFINITE),
    }
    usable = [reading for reading in line if reading.x > 0]
    if len(usable) > 1:
        weights = slope_weights([math.log(reading.x) for reading in usable])
        yield from _contrasted(weights, usable, metric, regions[claim.growth])


def _saturates(line: list[_Reading], metric: str, between: tuple[float, float]) -> Iterator[Trial]:
    """The tests of the gains for a doubling: KNEE_GAIN or more in each step up to the first load,
    less in the last step up to the second."""
    steps = [pair for pair in pairwise(line) if pair[0].x > 0]
    last = [step for step in steps if between[0] <= step[0].x and step[1].x <= between[1]][-1:]
    before = [step for step in steps if step[1].x <= between[0]]
    gain = math.log(KNEE_GAIN)
    regions = [*(Region(gain, INFINITE) for _ in before), *(Region(-INFINITE, gain) for _ in last)]
    for step, region in zip([*before, *last], regions, strict=True) if last else ():
        weight = 1 / math.log2(step[1].x / step[0].x)
        yield from _contrasted((-weight, weight), step, metric, region, math.exp)


def figure_trial(point: Point, figure: Figure, region: Region, *, exact: bool = False) -> Trial:
    """The test of a figure itself."""
    halves = error(figure, upwards=False), error(figure, upwards=True)
    errors = [half or (Error(0.0, 1) if exact else None) for half in halves]

    def at(confidence: float) -> Figure:
        assert figure.value is not None
        down, up = (each and _half(each, confidence) for each in errors)
        if down is None or up is None or (confidence == CONFIDENCE and figure.low is not None):
            return figure
        return Figure(figure.value, figure.value - down, figure.value + up, figure.count)

    def more(distance: float) -> int | None:
        made = contrast((1,), [figure], exact=exact)
        return None if made is None else made.more_to_clear(distance / abs(figure.value or 1.0))

    return Trial((point,), region, at, more)


def _half(of: Error, confidence: float) -> float:
    return of.standard and of.standard * t_quantile((1 + confidence) / 2, of.degrees)


# ---- two setups --------------------------------------------------------------------------------


def _apart(metric: str, a: Points, b: Points) -> Iterator[Trial]:
    """A test for each cell that both engines have: the ratio B / A by their starts."""
    for one, other in _same_cells(a, b):
        yield from _ratio_test(metric, one, other)


def _same_cells(a: Points, b: Points) -> Iterator[tuple[Point, Point]]:
    """The pairs of points of the same cell; of one engine, two variants of its load."""
    for one in a:
        for other in b:
            engines = {repr(point.records[0].cell.engine) for point in (one, other)}
            manners = [p.manner if len(engines) > 1 else p.manner_of_variant for p in (one, other)]
            same = (one.shape, one.lengths) == (other.shape, other.lengths)
            if same and manners[0] == manners[1]:
                yield one, other


def _beside(claim: Claim, metric: str, a: Points, b: Points) -> Iterator[Trial]:
    """The tests along the axis of the claim of the metric of A relative to that of B."""
    twins = dict(_same_cells(a, b))
    for line in _lines(claim, metric, a):
        both = [
            reading._replace(other=other)
            for reading in line
            if (twin := twins.get(reading.point)) and (other := twin.figure(reading.name))
        ]
        yield from _along(both, metric, claim)


def _ratio_test(metric: str, one: Point, other: Point) -> Iterator[Trial]:
    pair = one.good, other.good
    way = way_measured([pair])
    units = [by_unit(side, metric, way) for side in pair]
    between = ratio_of([pair], metric, way)
    if between is None:
        return

    def at(confidence: float) -> Figure:
        ratio = ratio_of([pair], metric, way, confidence)
        return _logarithm(ratio) if ratio else Figure(None)

    def more(_: float) -> int | None:
        return more_needed(between, units, way)

    yield Trial((one, other), Region(0.0, INFINITE), at, more, math.exp)


def _logarithm(ratio: Ratio) -> Figure:
    low, high = (None if end is None else math.log(end) for end in (ratio.low, ratio.high))
    return Figure(math.log(ratio.value), low, high)
