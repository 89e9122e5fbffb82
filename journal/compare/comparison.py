"""Comparisons of two sides: ratios of their headline figures, cell by cell, each with a verdict."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from journal.compare.crossover import crossover
from journal.compare.knee import THROUGHPUT
from journal.compare.pairing import Match, Pair, Pairing, Records, Value, pair
from journal.compare.ratios import Ratio, Units
from journal.compare.sides import Side, find_side
from journal.compare.starts import (
    Measured,
    by_unit,
    geometric_mean,
    more_needed,
    ratio_of,
    start_of,
    way_measured,
)
from journal.compare.verdicts import Compared, judge
from journal.errors import UsageError
from journal.metrics.row import Metric
from journal.metrics.table import named, standing_in
from journal.metrics.table import rows as metric_rows

# The fields of a cell but the batch, and the ratios of throughput, each with its batch, rising.
Line: TypeAlias = tuple[dict[str, Value], list[tuple[float, Ratio]]]

NOTICEABLE = 0.01  # a smaller difference is called none: a server started anew differs as much


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One row of a comparison: the cells that it stands for, and their figures."""

    match: Match
    figures: tuple[Compared, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides compared. `by` are the fields of a cell that a row stands for; empty: every cell is
    a row. `engines` are rows of no cell, one for each pair of conditions, with the figures that all
    runs of a start share, such as how long it took. `overall` has the figures over all rows; it is
    empty where there is one row only, or where a side has runs under several conditions. `measured`
    is the way in which the runs of all rows were measured. `left_out` are the runs of each side
    that failed, were interrupted or are invalid."""

    a: Side
    b: Side
    by: tuple[str, ...]
    pairing: Pairing
    rows: tuple[ComparisonRow, ...]
    engines: tuple[ComparisonRow, ...]
    overall: tuple[Compared, ...]
    measured: Measured
    left_out: tuple[Records, Records]

    @property
    def judged(self) -> tuple[ComparisonRow, ...]:
        """All rows, of cells and of engines, whose verdicts were reached together."""
        return *self.rows, *self.engines

    @property
    def lines_over_batch(self) -> list[Line]:
        """The lines of rows that differ in the batch alone."""
        lines: dict[str, Line] = {}
        for row in self.rows:
            others = {name: value for name, value in row.match.cell.items() if name != "batch"}
            batch = row.match.cell.get("batch")
            ratio = next((f.ratio for f in row.figures if f.metric == THROUGHPUT), None)
            if isinstance(batch, int | float) and ratio is not None:
                key = repr((others, row.match.conditions))
                lines.setdefault(key, (others, []))[1].append((float(batch), ratio))
        for _, ratios in lines.values():
            ratios.sort(key=lambda pair: pair[0])
        return list(lines.values())

    def __str__(self) -> str:
        """A line for each figure of each row: A, B, their ratio with its interval, the verdict."""
        lines = [f"{self.b.name} against {self.a.name}"]
        for row in self.rows:
            lines.append(", ".join(f"{name} {value}" for name, value in row.match.cell.items()))
            lines += [f"  {figure}" for figure in row.figures]
        for row in self.engines:
            lines += ["engine", *(f"  {figure}" for figure in row.figures)]
        if self.overall:
            lines += ["over all", *(f"  {figure}" for figure in self.overall)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values, in SI units and bytes."""
        return {
            "a": _side_json(self.a),
            "b": _side_json(self.b),
            "by": list(self.by),
            "differs": {name: _two(values) for name, values in self.pairing.differs.items()},
            "environment": {
                name: _two([list(values) for values in sides])
                for name, sides in self.pairing.conditions.items()
            },
            "measured": _measured_json(self.measured),
            "overall": [_figure_json(figure) for figure in self.overall],
            "crossovers": list(_crossovers_json(self)),
            "cells": [{"cell": dict(row.match.cell), **_row_json(row)} for row in self.rows],
            "engines": [_row_json(row) for row in self.engines],
            "only_in": _two([[dict(cell) for cell in cells] for cells in self.pairing.alone]),
            "left_out": _two(
                [[{"id": r.id, "status": r.status} for r in records] for records in self.left_out]
            ),
        }


def compare(a: str, b: str, home: str | Path = "lab", *, by: Sequence[str] = ()) -> Comparison:
    """The comparison of side `b` with side `a` of the journal in `home`. A side is a run's id (or
    several, with commas), an experiment's name or id, a model, a tag, or a day (YYYY-MM-DD, today
    or yesterday).

    `by` names the fields of a cell that a row of the result stands for, with the geometric mean
    over its cells; by default each cell is a row. Raises NotFound for a side that is not in the
    journal, UsageError where no cells can be paired.
    """
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        return compared(find_side(store, a), find_side(store, b), tuple(by))


def compared(
    a: Side, b: Side, by: tuple[str, ...] = (), noticeable: float = NOTICEABLE
) -> Comparison:
    """The comparison of two sides; a relative difference smaller than `noticeable` counts as none.
    Raises UsageError where a side has no good run, where the sides share runs, or where they have
    no cell in common."""
    good, left_out = zip(*(_sorted_out(side) for side in (a, b)), strict=True)
    if {record.id for record in good[0]} & {record.id for record in good[1]}:
        raise UsageError(f"{a.name} and {b.name} share runs: name two sides without common runs")
    pairing = pair(good[0], good[1], by)
    chosen = _chosen(good, other_text="model" in pairing.differs)
    of_cells = [metric for metric in chosen if not metric.shown.of_engine]
    rows = [
        ComparisonRow(match=match, figures=tuple(_figures(match.pairs, of_cells)))
        for match in pairing.matches
    ]
    groups = _by_conditions(pairing.matches)
    engines = list(_of_engines(groups, [m for m in chosen if m.shown.of_engine]))
    pairs = [cell for match in pairing.matches for cell in match.pairs]
    overall = list(_figures(pairs, of_cells)) if len(rows) > 1 and len(groups) == 1 else []
    if overall:
        overall += [figure for row in engines for figure in row.figures]
    together = [figure for row in (*rows, *engines) for figure in row.figures]
    judged = iter(judge(together, noticeable))
    return Comparison(
        a=a,
        b=b,
        by=by,
        pairing=pairing,
        rows=_with_verdicts(rows, judged),
        engines=_with_verdicts(engines, judged),
        overall=tuple(judge(overall, noticeable)),
        measured=way_measured(pairs),
        left_out=(left_out[0], left_out[1]),
    )


def _by_conditions(matches: Iterable[Match]) -> list[list[Match]]:
    groups: dict[str, list[Match]] = {}
    for match in matches:
        groups.setdefault(str(match.conditions), []).append(match)
    return list(groups.values())


def _of_engines(
    groups: Iterable[Sequence[Match]], chosen: Sequence[Metric]
) -> Iterator[ComparisonRow]:
    """A row of the metrics of engines for each group of matches under equal conditions; none where
    both sides were measured on the same starts."""
    for group in groups:
        a, b = (tuple(r for m in group for pair in m.pairs for r in pair[side]) for side in (0, 1))
        figures = tuple(_figures([(a, b)], chosen))
        if figures and {start_of(record) for record in a} != {start_of(record) for record in b}:
            whole = Match(cell={}, conditions=group[0].conditions, pairs=((a, b),))
            yield ComparisonRow(match=whole, figures=figures)


def _with_verdicts(
    rows: Iterable[ComparisonRow], judged: Iterator[Compared]
) -> tuple[ComparisonRow, ...]:
    return tuple(replace(row, figures=tuple(next(judged) for _ in row.figures)) for row in rows)


def _sorted_out(side: Side) -> tuple[Records, Records]:
    """The good runs of a side, and the others."""
    good = tuple(record for record in side.records if record.good)
    if not good:
        tried = f"none of its {len(side.records)} runs is valid" if side.records else "has no run"
        raise UsageError(f"{side.name} cannot be compared: {tried}")
    return good, tuple(record for record in side.records if not record.good)


def compared_metrics() -> set[str]:
    """The metrics that a comparison may need, by name."""
    headlines = metric_rows(lambda shown: shown.headline)
    return {name for headline in headlines for name in standing_in(headline.name)}


def _chosen(sides: Iterable[Records], *, other_text: bool) -> list[Metric]:
    """The headline metrics that both sides have, each with the metric that stands in for it where
    a side lacks it. `other_text`: metrics of text are among them."""
    sides = list(sides)
    return [
        named(name)
        for headline in metric_rows(lambda shown: shown.headline)
        if other_text or not headline.shown.of_text
        for name in [
            name for name in standing_in(headline.name) if all(_has(side, name) for side in sides)
        ][:1]
    ]


def _figures(cells: Iterable[Pair], chosen: Iterable[Metric]) -> Iterator[Compared]:
    cells = list(cells)
    way = way_measured(cells)
    for headline in chosen:
        name = headline.name
        shared = [cell for cell in cells if all(_has(side, name) for side in cell)]
        if shared:
            a, b = ([by_unit(cell[side], name, way) for cell in shared] for side in (0, 1))
            ratio = ratio_of(shared, name, way)
            yield Compared(
                metric=name,
                headline=headline,
                a=geometric_mean([_of_units(units) for units in a]),
                b=geometric_mean([_of_units(units) for units in b]),
                ratio=ratio,
                repeats=(_fewest_runs(a), _fewest_runs(b)),
                units=(min(map(len, a)), min(map(len, b))),
                unit=way.unit,
                more=more_needed(ratio, [*a, *b], way),
            )


def _of_units(units: Units) -> float:
    return geometric_mean([geometric_mean(values) for values in units.values()])


def _has(records: Records, name: str) -> bool:
    return any(record.value(name) is not None for record in records)


def _fewest_runs(cells: Iterable[Units]) -> int:
    return min(sum(map(len, units.values())) for units in cells)


def _crossovers_json(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for cell, ratios in comparison.lines_over_batch:
        found = crossover(ratios)
        if found is not None:
            ahead = {"below": "b" if found.falls else "a", "above": "a" if found.falls else "b"}
            yield {
                "cell": cell,
                "metric": THROUGHPUT,
                "batch": found.load,
                "low": found.low,
                "high": found.high,
                "higher": ahead,
            }


def _side_json(side: Side) -> dict[str, Any]:
    runs = [record.id for record in side.records if record.good]
    return {"name": side.name, "kind": side.kind, "runs": runs}


def _measured_json(way: Measured) -> dict[str, Any]:
    return {
        "order": way.order,
        "drift_allowed": way.drift,
        "unit": way.unit,
        "units": _two(way.units),
        "paired": way.paired,
        "flags": _two([dict(flags) for flags in way.flags]),
    }


def _two(values: Sequence[Any]) -> dict[str, Any]:
    return {"a": values[0], "b": values[1]}


def _ids(pairs: Iterable[Pair]) -> tuple[list[str], list[str]]:
    pairs = list(pairs)
    return [r.id for a, _ in pairs for r in a], [r.id for _, b in pairs for r in b]


def _row_json(row: ComparisonRow) -> dict[str, Any]:
    return {
        "environment": _two([dict(fields) for fields in row.match.conditions]),
        "runs": _two(_ids(row.match.pairs)),
        "figures": [_figure_json(figure) for figure in row.figures],
    }


def _figure_json(figure: Compared) -> dict[str, Any]:
    ratio = figure.ratio
    return {
        "metric": figure.metric,
        "unit": figure.headline.unit,
        "better": figure.headline.better,
        "a": figure.a,
        "b": figure.b,
        "ratio": ratio.value if ratio else None,
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "p": ratio.probability if ratio else None,
        "repeats": _two(figure.repeats),
        "counted": figure.unit,
        "units": _two(figure.units),
        "more_repeats": figure.more,
        "verdict": figure.verdict,
        "reason": figure.reason,
    }
