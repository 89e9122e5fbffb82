"""The figures of many runs as MLflow draws them: curves, whose step is the batch or the prompt
length, and the headline figures of a server and what a search found, which it draws as bars."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from journal.compare.capacity import capacities
from journal.metrics.predicted import of_engine
from journal.metrics.table import rows
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.load_shape import STEP_AXES
from journal.records.run import Record

HEADLINES = ("engine", "most", "least", "capacity")  # their sections
LOADS = {"rate": "requests_per_s", "concurrency": "requests_in_flight"}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One value of a metric. `at` is when it was measured: a value that is sent twice with the
    same time is kept once."""

    name: str
    value: float
    at: datetime
    step: int = 0


def headlines(runs: Sequence[Record]) -> list[CurvePoint]:
    """The most and the least of each headline figure over all cells, such as
    `most/output_tokens_per_s` (MLflow's comparison opens with the first), and what the engine
    said of itself."""
    good = _good(runs)
    if not good:
        return []
    at = max(run.started_at for run in good)
    found: dict[str, list[float]] = {}
    kinds: tuple[tuple[str, Callable[[list[float]], float]], ...]
    kinds = (("most", max), ("least", min))
    for kind, pick in kinds:
        for metric in rows(lambda shown: shown.bar):
            if metric.shown.bar != kind:
                continue
            values = _values(good, metric.name)
            found[f"{kind}/{metric.name.replace('.', '_')}"] = [pick(values)] if values else []
    found["engine/start_s"] = [v for run in good if (v := run.facts.start_s) is not None][-1:]
    for metric in rows(lambda shown: shown.of_engine):
        said = [value for run in good if (value := of_engine(run, metric.name)) is not None]
        found[f"engine/{metric.name}"] = said[-1:]
    return [CurvePoint(name, values[0], at) for name, values in found.items() if values]


def searched(experiment: Experiment, runs: Sequence[Record]) -> list[CurvePoint]:
    """What the searches for capacity among `runs` found, such as
    `capacity/highest_held_requests_per_s`, the least load beyond it, and the part of the requests
    that was good there; with `p512_o64_` before it where lengths differ. None of what was not
    found."""
    found = capacities(experiment, runs)
    points = []
    for each in found:
        cell, load = each.cell, LOADS[each.of]
        place = f"p{cell.prompt_tokens}_o{cell.output_tokens}_" if len(found) > 1 else ""
        for kind, probe in (("highest_held", each.held), ("lowest_beyond", each.beyond)):
            if probe is not None:
                at = max(run.started_at for run in probe.records)
                points.append(CurvePoint(f"capacity/{place}{kind}_{load}", probe.load, at))
                if probe.good.value is not None:
                    name = f"capacity/{place}{kind}_good_fraction"
                    points.append(CurvePoint(name, probe.good.value, at))
    return points


def curves(runs: Sequence[Record], *, several_outputs: bool) -> list[CurvePoint]:
    """The figures of runs of one engine over each axis, wherever that has two values: the means of
    repeats, in sections such as `by_batch p512/ttft_s_p50` for the prompts of 512 tokens."""
    good = _good(runs)
    found: list[CurvePoint] = []
    for axis in STEP_AXES:
        groups: dict[str, list[Record]] = defaultdict(list)
        for run in good:
            if getattr(run.cell, axis) is not None:
                groups[_place(run.cell, axis, several_outputs)].append(run)
        for place, group in groups.items():
            if len({getattr(run.cell, axis) for run in group}) > 1:
                found += _curve(axis, f"by_{axis} {place}", group)
    return found


def _curve(axis: str, where: str, group: Sequence[Record]) -> Iterator[CurvePoint]:
    at = max(run.started_at for run in group)
    for metric in rows(lambda shown: shown.curve):
        found: dict[int, list[float]] = defaultdict(list)
        for run in group:
            value = run.value(metric.name)
            if value is not None:
                found[getattr(run.cell, axis)].append(value)
        for step in sorted(found):
            yield CurvePoint(
                f"{where}/{metric.name.replace('.', '_')}", fmean(found[step]), at, step
            )


def _place(cell: Cell, axis: str, several_outputs: bool) -> str:
    """Where a cell is but for `axis`: `p512`, `b8`, `2 per s`; with `o64` where outputs differ."""
    first = f"p{cell.prompt_tokens}" if axis == cell.shape.axis else cell.shape.short
    return f"{first} o{cell.output_tokens}" if several_outputs else first


def _good(runs: Sequence[Record]) -> list[Record]:
    return [run for run in runs if run.good]


def _values(runs: Sequence[Record], name: str) -> list[float]:
    return [value for run in runs if (value := run.value(name)) is not None]
