"""The figures of many runs as MLflow draws them: curves over the batch or the prompt length, and
bars of a server's headline figures and of the results of searches."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from journal.compare.capacity import capacities
from journal.compare.points import lines
from journal.compare.points import points as points_of
from journal.compare.setups import setups_of
from journal.compare.trade_off import trade_offs
from journal.metrics.beside_theory import of_engine
from journal.metrics.row import TURNS
from journal.metrics.table import rows
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.load_shape import STEP_AXES
from journal.records.run import Record

HEADLINES = ("engine", "most", "least", "capacity")  # their sections
UNNAMED = re.compile(r"[^\w.: -]", re.ASCII)  # what MLflow has in no name, and what parts sections
LONGEST_NAME = 60  # of an engine
LOADS = {"rate": "requests_per_s", "concurrency": "requests_in_flight"}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One value of a metric. `at` is the time of the measurement: a value that is sent twice with
    the same time is kept once."""

    name: str
    value: float
    at: datetime
    step: int = 0


def headlines(runs: Sequence[Record]) -> list[CurvePoint]:
    """The largest and the smallest value of each headline figure over all cells, such as
    `most/output_tokens_per_s` (MLflow's comparison opens with the first), and the figures of the
    engine itself."""
    good = _good(runs)
    if not good:
        return []
    at = max(run.started_at for run in good)
    values_of: dict[str, list[float]] = {}
    kinds: tuple[tuple[str, Callable[[list[float]], float]], ...]
    kinds = (("most", max), ("least", min))
    for kind, pick in kinds:
        for metric in rows(lambda shown: shown.bar):
            if metric.shown.bar != kind:
                continue
            values = _values(good, metric.name)
            values_of[f"{kind}/{metric.name.replace('.', '_')}"] = [pick(values)] if values else []
    values_of["engine/start_s"] = [v for run in good if (v := run.facts.start_s) is not None][-1:]
    for metric in rows(lambda shown: shown.of_engine):
        own = [value for run in good if (value := of_engine(run, metric.name)) is not None]
        values_of[f"engine/{metric.name}"] = own[-1:]
    return [CurvePoint(name, values[0], at) for name, values in values_of.items() if values]


def headlines_of(engines: Iterable[tuple[str, Sequence[Record]]]) -> list[CurvePoint]:
    """The headline figures of `engines` that an experiment compares, each with its name and its
    runs: `most/output_tokens_per_s/1 a`, so that a section has a bar for each engine."""
    return [
        replace(point, name=f"{point.name}/{number} {UNNAMED.sub('_', name)[:LONGEST_NAME]}")
        for number, (name, runs) in enumerate(engines, start=1)
        for point in headlines(runs)
    ]


def searched(experiment: Experiment, runs: Sequence[Record]) -> list[CurvePoint]:
    """The results of the searches for capacity among `runs`, such as
    `capacity/highest_held_requests_per_s`, the lowest load beyond it, and the fraction of requests
    that was good at each; with `p512_o64_` before it where lengths differ. Results that a search
    lacks are left out."""
    searches = capacities(experiment, runs)
    points = []
    for search in searches:
        cell, load = search.cell, LOADS[search.of]
        place = f"{_lengths(cell).replace(' ', '_')}_" if len(searches) > 1 else ""
        for kind, probe in (("highest_held", search.held), ("lowest_beyond", search.beyond)):
            if probe is not None:
                at = max(run.started_at for run in probe.records)
                points.append(CurvePoint(f"capacity/{place}{kind}_{load}", probe.load, at))
                if probe.good.value is not None:
                    name = f"capacity/{place}{kind}_good_fraction"
                    points.append(CurvePoint(name, probe.good.value, at))
        if search.breaks_from is not None:
            at = max(run.started_at for probe in search.probes for run in probe.records)
            points.append(CurvePoint(f"capacity/{place}breaks_from_{load}", search.breaks_from, at))
    return points


def curves(runs: Sequence[Record], *, several_outputs: bool) -> list[CurvePoint]:
    """The figures of runs of one engine over each axis with at least two values: means over
    repeats, such as `TTFT/p512 by batch: ttft_s_p50` for prompts of 512 tokens. MLflow cuts its
    titles in narrow cards to some ten characters: they begin with what sets them apart."""
    good = _good(runs)
    points: list[CurvePoint] = []
    for axis in STEP_AXES:
        groups: dict[str, list[Record]] = defaultdict(list)
        for run in good:
            if getattr(run.cell, axis) is not None:
                groups[_place(run.cell, axis, several_outputs)].append(run)
        for place, group in groups.items():
            if len({getattr(run.cell, axis) for run in group}) > 1:
                points += _curve(axis, place, group)
    return points + _over_hits(good) + _over_turns(good) + _over_users(good)


def _over_hits(good: Sequence[Record]) -> list[CurvePoint]:
    """The median TTFT over the hit rate asked for, in whole percent, of cells that share a prefix
    and of those of the same load and lengths that share none."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in good:
        cell = run.cell
        if not cell.workload.is_own:
            groups[f"{cell.shape.short} {_lengths(cell)}"].append(run)
    points: list[CurvePoint] = []
    for place, group in groups.items():
        by_step: dict[int, list[float]] = defaultdict(list)
        for run in group:
            ttft_s, asked = map(run.value, ("ttft_s.p50", "prefix_hit_asked_fraction"))
            if ttft_s is not None:
                by_step[0 if asked is None else round(100 * asked)].append(ttft_s)
        if len(by_step) > 1:
            at = max(run.started_at for run in group)
            name = f"TTFT/{place} by hit percent: ttft_s_p50"
            points += [CurvePoint(name, fmean(by_step[step]), at, step) for step in sorted(by_step)]
    return points


def _over_turns(good: Sequence[Record]) -> list[CurvePoint]:
    """The median TTFT and the hit rate over the turns of conversations, means over repeats."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in good:
        cell = run.cell
        if cell.workload.is_conversation:
            groups[f"{cell.shape.short} {_lengths(cell)}"].append(run)
    points: list[CurvePoint] = []
    for place, group in groups.items():
        at = max(run.started_at for run in group)
        for section, name in (("TTFT", "turn_ttft_s"), ("hits", "turn_hit_fraction")):
            title = f"{section}/{place} by turn: {name}"
            for turn in TURNS:
                values = _values(group, f"{name}.{turn}")
                if values:
                    points.append(CurvePoint(title, fmean(values), at, turn))
    return points


def _over_users(good: Sequence[Record]) -> list[CurvePoint]:
    """The output tokens/s of each GPU over the tokens/s of one user (in whole ones, a dot for each
    batch), of lines of two batches or more: the trade-off that the log draws."""
    curves: list[CurvePoint] = []
    measured = points_of(zip(good, setups_of(good), strict=True))
    for line in lines(measured, "batch"):
        cell = line[0].good[0].cell
        name = f"GPU/{_lengths(cell)} by tokens of a user: tokens_per_s_of_a_gpu"
        found = {max(1, round(one.of_one)): one for one in trade_offs(line)}
        at = max(run.started_at for point in line for run in point.good)
        if len(found) > 1:
            values = ((step, one.of_gpu.value) for step, one in sorted(found.items()))
            curves += [CurvePoint(name, value, at, s) for s, value in values if value is not None]
    return curves


def _curve(axis: str, place: str, group: Sequence[Record]) -> Iterator[CurvePoint]:
    at = max(run.started_at for run in group)
    for metric in rows(lambda shown: shown.curve):
        by = axis.removesuffix("_tokens")
        name = f"{metric.shown.curve}/{place} by {by}: {metric.name.replace('.', '_')}"
        by_step: dict[int, list[float]] = defaultdict(list)
        for run in group:
            value = run.value(metric.name)
            if value is not None:
                by_step[getattr(run.cell, axis)].append(value)
        for step in sorted(by_step):
            yield CurvePoint(name, fmean(by_step[step]), at, step)


def _place(cell: Cell, axis: str, several_outputs: bool) -> str:
    """The place of a cell without `axis`: `p512`, `b8`, `2 per s`; with `o64` where outputs
    differ."""
    prompt, output = _lengths(cell).split()
    first = prompt if axis == cell.shape.axis else cell.shape.short
    if cell.workload.shared_prefix:
        first += f" shared{cell.workload.shared_prefix}"
    if cell.load.variant is not None:
        first += f" {cell.load.variant}"
    return f"{first} {output}" if several_outputs else first


def _lengths(cell: Cell) -> str:
    """The lengths in the name of a curve: `p512 o64`, with a dash for one that is not known."""
    prompt, output = ("-" if n is None else n for n in (cell.prompt_tokens, cell.output_tokens))
    return f"p{prompt} o{output}"


def _good(runs: Sequence[Record]) -> list[Record]:
    return [run for run in runs if run.good]


def _values(runs: Sequence[Record], name: str) -> list[float]:
    return [value for run in runs if (value := run.value(name)) is not None]
