"""Engine starts behind two sides of a comparison: the unit that a difference is judged by.

A server differs from its next start (memory layout, clocks, the kernels that were chosen), so the
runs of one start are averaged, and starts are what is counted. Where both sides were measured on
the same starts, these differences are common to both, and repeats are counted. The start of an
endpoint is not known: the experiment run against it is counted in its place.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, fsum, hypot, log, sqrt
from statistics import fmean, stdev
from typing import Literal

from journal.compare.pairing import Pair, Records
from journal.compare.ratios import Ratio, Units, nested, starts_needed
from journal.metrics.statistics import CONFIDENCE
from journal.records.run import Record

Unit = Literal["start", "experiment", "run"]
Order = Literal["in turn", "in uneven turns", "one after the other", "days apart"]

DAYS_APART = timedelta(hours=12)
DRIFT: Mapping[Order, float] = {  # the share by which a host may change between the sides
    "in turn": 0.0,
    "in uneven turns": 0.01,
    "one after the other": 0.01,
    "days apart": 0.03,
}
EVEN = 1 / 3  # between the mean ranks of the sides, of all ranks: that of A B, A B
PAIRS = 4  # with fewer, the degrees of freedom that pairing costs weigh more than what it gains
USUAL_SPREAD = 0.02  # of the figures of one server from start to start, where it was not seen
SMALLEST = 0.02  # the least difference that further repeats are advised for


@dataclass(frozen=True, slots=True)
class Measured:
    """The way in which two sides were measured: the `unit` that is counted, the number of `units`
    of each side (of the cell that has fewest), their `order` in time, and whether a unit of A and
    one of B are `paired`, with the same prompts and arrivals. `flags` counts the flags of the runs
    of each side by the names of their doubts. `labels` maps the id of a run to its unit."""

    unit: Unit
    units: tuple[int, int]
    order: Order
    paired: bool
    flags: tuple[Mapping[str, int], Mapping[str, int]]
    labels: Mapping[str, Hashable]

    @property
    def drift(self) -> float:
        """The relative change of the host between the sides that intervals allow for."""
        return DRIFT[self.order]


def start_of(record: Record) -> Hashable:
    """The key of the engine start that served a run, by its log and how long it took; of an
    endpoint, whose start is not known, the key of the experiment and the model."""
    facts, cell = record.facts, record.cell
    if facts.log_path is None:
        return record.experiment_id, cell.model, repr(cell.engine)
    return facts.log_path, facts.start_s, facts.version


def unmeasured_by_reason(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """The runs that failed before anything was sent, those of one start of one experiment with one
    reason together."""
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        if record.unmeasured:
            groups.setdefault(reason_of(record), []).append(record)
    return [tuple(group) for group in groups.values()]


def reason_of(record: Record) -> Hashable:
    """The key of runs that one start of one experiment left unmeasured, for one reason."""
    return record.experiment_id, record.cell.model, start_of(record), record.error


def way_measured(cells: Sequence[Pair]) -> Measured:
    """The way in which the runs of `cells` were measured, each with those of A and those of B."""
    a, b = (tuple(record for cell in cells for record in cell[side]) for side in (0, 1))
    unit, labels = _labels(cells, a, b)
    units = [[{labels[r.id] for r in cell[side]} for cell in cells] for side in (0, 1)]
    order = _order(*(_times(side, labels) for side in (a, b)))
    fewest = (min(map(len, units[0])), min(map(len, units[1])))
    tries = unit == "run" or all(labels[r.id] == _try(r) for r in (*a, *b))
    return Measured(
        unit=unit,
        units=fewest,
        order=order,
        paired=tries and order == "in turn" and units[0] == units[1] and min(fewest) >= PAIRS,
        flags=(_flags(a), _flags(b)),
        labels=labels,
    )


def ratio_of(
    cells: Sequence[Pair],
    name: str,
    way: Measured | None = None,
    confidence: float = CONFIDENCE,
) -> Ratio | None:
    """B / A of metric `name` over `cells`, judged by the units of `way` (None: those of `cells`),
    with the interval of `confidence`; None where it has no ratio."""
    way = way_measured(cells) if way is None else way
    values = [(by_unit(a, name, way), by_unit(b, name, way)) for a, b in cells]
    paired = way.paired and all(a.keys() == b.keys() for a, b in values)
    return nested(values, paired=paired, drift=way.drift, confidence=confidence)


def more_needed(ratio: Ratio | None, sides: Iterable[Units], way: Measured) -> int | None:
    """The further repeats of each side that would tell a difference as large as the one seen, or of
    SMALLEST, in four of five comparisons; None where that is not known. Starts are taken to differ
    by what the units of a cell do, and by USUAL_SPREAD at the least."""
    if ratio is None:
        return None
    effect = max(abs(log(ratio.value)) - way.drift, SMALLEST)
    needed = starts_needed(effect, _spread(list(sides)))
    return None if needed is None else max(1, needed - min(way.units))


def _spread(sides: Sequence[Units]) -> float:
    """The standard deviation of the logarithms from start to start."""
    runs = [[[log(v) for v in values] for values in units.values()] for units in sides]
    between = [stdev(map(fmean, units)) for units in runs if len(units) > 1]
    within = [stdev(logs) for units in runs for logs in units if len(logs) > 1]
    if between:
        return max(USUAL_SPREAD, hypot(*between) / sqrt(len(between)))
    return hypot(USUAL_SPREAD, hypot(*within) / sqrt(len(within) or 1))


def by_unit(records: Iterable[Record], name: str, way: Measured) -> Units:
    """The values of metric `name` in the runs that have one, by their units."""
    values: dict[Hashable, list[float]] = {}
    for record in records:
        value = record.value(name)
        if value is not None:
            values.setdefault(way.labels[record.id], []).append(value)
    return values


def centre_of(records: Iterable[Record], name: str, way: Measured) -> float | None:
    """The mean of metric `name` that ratios are made of: geometric over the runs of a unit, then
    over units; None where no run has it."""
    units = by_unit(records, name, way)
    return geometric_mean([geometric_mean(runs) for runs in units.values()]) if units else None


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean; the arithmetic one where a value is not above 0."""
    if min(values) <= 0:
        return fsum(values) / len(values)
    return exp(fsum(map(log, values)) / len(values))


def _labels(cells: Sequence[Pair], a: Records, b: Records) -> tuple[Unit, Mapping[str, Hashable]]:
    """The unit of a comparison, and that of each run. Cells of one repeat share their hour too, so
    a start that served one repeat alone goes by the name of that."""
    starts = {record.id: start_of(record) for record in (*a, *b)}
    if {starts[record.id] for record in a} == {starts[record.id] for record in b}:
        return "run", _numbered(cells)
    repeats: dict[Hashable, set[Hashable]] = {}
    for record in (*a, *b):
        repeats.setdefault(starts[record.id], set()).add(_try(record))
    unknown = any(record.facts.log_path is None for record in (*a, *b))
    unit: Unit = "experiment" if unknown else "start"
    if not unknown and all(len(tries) == 1 for tries in repeats.values()):
        return unit, {record.id: _try(record) for record in (*a, *b)}
    return unit, starts


def _try(record: Record) -> Hashable:
    return record.experiment_id, record.cell.repeat


def _numbered(cells: Sequence[Pair]) -> dict[str, Hashable]:
    """The repeat of each run, and which run of its cell at that repeat it is."""
    labels: dict[str, Hashable] = {}
    for cell in cells:
        for side in cell:
            seen: Counter[Hashable] = Counter()
            for record in side:
                labels[record.id] = (_try(record), seen[_try(record)])
                seen[_try(record)] += 1
    return labels


def _times(records: Records, labels: Mapping[str, Hashable]) -> list[datetime]:
    """The start of the first run of each unit, in order."""
    first: dict[Hashable, datetime] = {}
    for record in records:
        label = labels[record.id]
        first[label] = min(first.get(label, record.started_at), record.started_at)
    return sorted(first.values())


def _order(a: Sequence[datetime], b: Sequence[datetime]) -> Order:
    for first, second in ((a, b), (b, a)):
        if first[-1] < second[0]:
            days = second[0] - first[-1] >= DAYS_APART
            return "days apart" if days else "one after the other"
    ranks = sorted([*((time, 0) for time in a), *((time, 1) for time in b)])
    mean = [
        sum(rank for rank, (_, of) in enumerate(ranks) if of == side) / len(times)
        for side, times in enumerate((a, b))
    ]
    even = abs(mean[1] - mean[0]) <= EVEN * (len(ranks) - 1) + 1e-9
    return "in turn" if even else "in uneven turns"


def _flags(records: Iterable[Record]) -> Mapping[str, int]:
    names = (
        name
        for record in records
        for name in {doubt.name for doubt in record.doubts if doubt.severity != "note"}
    )
    return dict(sorted(Counter(names).items()))
