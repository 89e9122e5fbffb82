"""The highest load that holds an SLO, read from the runs of a search for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from journal.metrics.statistics import proportion
from journal.records.cell import Cell
from journal.records.experiment import Experiment, Slo
from journal.records.figure import Figure
from journal.records.run import Record

Of: TypeAlias = Literal["rate", "concurrency"]
Verdict = Literal["held", "missed", "undecided"]

OVERLOADED = "falls_behind"
NOT_APPLIED = {"rate_not_achieved", "batch_not_reached"}
CLIENTS_FAULT = NOT_APPLIED | {"client_saturated"}
DISTURBED = {"busy_host", "stolen_time", "swapping", "asleep", "foreign_traffic"}
SPOILT = CLIENTS_FAULT | DISTURBED


@dataclass(frozen=True, slots=True)
class Probe:
    """One load with all its runs. `load` is in requests/s or in requests in flight. `good` is the
    fraction of the requests sent in the steady state that held every limit, over the runs by which
    the load is judged, with Wilson's interval."""

    load: float
    records: tuple[Record, ...]
    good: Figure
    verdict: Verdict

    @property
    def overloaded(self) -> bool:
        """Whether the server fell behind in a run: a longer run would break any SLO."""
        return any(OVERLOADED in _flags(record) for record in self.records)

    @property
    def clients_fault(self) -> bool:
        """Whether the client failed to apply the load in every run."""
        return all(_flags(record) & CLIENTS_FAULT for record in self.records)

    @property
    def disturbed(self) -> bool:
        """Whether other programs or clients disturbed every run."""
        return all(_flags(record) & DISTURBED for record in self.records)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The result of one search for the model and lengths of `cell`. `probes` are in order of load.
    `alone` is the probe of a search for a rate with one request at a time. `whole` is whether the
    search came to its end."""

    of: Of
    slo: Slo
    cell: Cell
    probes: tuple[Probe, ...]
    alone: Probe | None = None
    whole: bool = True

    @property
    def held(self) -> Probe | None:
        """The highest load that was shown to hold the SLO."""
        return max((p for p in self.probes if p.verdict == "held"), key=_load, default=None)

    @property
    def beyond(self) -> Probe | None:
        """The lowest load above `held` that broke the SLO, or that no repeats could decide."""
        least = 0.0 if self.held is None else self.held.load
        above = (p for p in self.probes if p.load > least and p.verdict != "held")
        return min(above, key=_load, default=None)


def judged(load: float, records: Sequence[Record], slo: Slo) -> Probe:
    """The verdict on one load from its runs.

    It held the SLO where Wilson's 95% interval of the fraction of good requests lies at or above
    `slo.good_fraction`, and missed it where the interval lies below, or where the server fell
    behind. Runs that the client or others on the host spoilt are left out where there are sound
    runs, and never show that a load was missed; a load that was not applied in full is not shown
    to be held either.
    """
    sound = [record for record in records if not _flags(record) & SPOILT] or list(records)
    counts = [_good(record) for record in sound]
    good = proportion(sum(part for part, _ in counts), sum(whole for _, whole in counts))
    flags = set[str]().union(*map(_flags, sound))
    verdict: Verdict = "undecided"
    if OVERLOADED in flags or (good.high is not None and good.high < slo.good_fraction):
        verdict = "undecided" if flags & SPOILT else "missed"
    elif good.low is not None and good.low >= slo.good_fraction and not flags & NOT_APPLIED:
        verdict = "held"
    return Probe(load, tuple(records), good, verdict)


def capacities(experiment: Experiment, records: Iterable[Record]) -> tuple[Capacity, ...]:
    """The results of the searches of `experiment`, one for each model and pair of lengths, from the
    last run of each of its cells; empty where it was no search, or nothing was measured."""
    of, slo = experiment.find_capacity, experiment.slo
    if of is None or slo is None:
        return ()
    groups: list[list[Record]] = []
    for record in {record.cell.identity: record for record in records}.values():
        same = (g for g in groups if _subject(g[0].cell) == _subject(record.cell))
        group = next(same, None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    results = (_capacity(of, slo, group) for group in groups)
    return tuple(result for result in results if result.probes or result.alone)


def _capacity(of: Of, slo: Slo, tried: list[Record]) -> Capacity:
    records = [record for record in tried if record.metrics and record.status != "interrupted"]
    loads: dict[float, list[Record]] = {}
    alone = [record for record in records if of == "rate" and not record.cell.shape.is_open]
    for record in records:
        shape = record.cell.shape
        if shape.is_open == (of == "rate"):
            loads.setdefault(shape.value, []).append(record)
    return Capacity(
        of=of,
        slo=slo,
        cell=tried[0].cell,
        probes=tuple(judged(load, loads[load], slo) for load in sorted(loads)),
        alone=judged(0.0, alone, slo) if alone else None,
        whole=len(records) == len(tried),
    )


def _subject(cell: Cell) -> tuple[object, ...]:
    """The subject of one search: an engine, a model, and the lengths of its requests."""
    return cell.engine, cell.model, cell.quantisation, cell.prompt_tokens, cell.output_tokens


def _good(record: Record) -> tuple[int, int]:
    """The numbers of good requests and of all requests, those of the steady state where there was
    one."""
    for name in ("steady_good_fraction", "good_fraction"):
        figure = record.metrics.get(name)
        if figure is not None and figure.value is not None and figure.count:
            return round(figure.value * figure.count), figure.count
    return 0, 0


def _flags(record: Record) -> set[str]:
    return {doubt.name for doubt in record.doubts if doubt.severity != "note"}


def _load(probe: Probe) -> float:
    return probe.load
