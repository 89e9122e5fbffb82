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
    part of the requests sent in the steady state that held every limit, over the runs that it is
    judged by, with Wilson's interval."""

    load: float
    records: tuple[Record, ...]
    good: Figure
    verdict: Verdict

    @property
    def overloaded(self) -> bool:
        """Whether the server fell behind: a longer run would break any SLO."""
        return any(OVERLOADED in _flags(record) for record in self.records)

    @property
    def clients_fault(self) -> bool:
        """Whether in every run the client kept the load from being what it was to be."""
        return all(_flags(record) & CLIENTS_FAULT for record in self.records)

    @property
    def disturbed(self) -> bool:
        """Whether in every run somebody else had a part in how the server did."""
        return all(_flags(record) & DISTURBED for record in self.records)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one search found for the model and lengths of `cell`. `probes` are in order of load.
    `alone` is a rate search's look at one request at a time. `whole` is whether the search came
    to its end."""

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
        """The lowest load above it that was not: it broke the SLO, or no repeats could tell."""
        least = 0.0 if self.held is None else self.held.load
        above = (p for p in self.probes if p.load > least and p.verdict != "held")
        return min(above, key=_load, default=None)


def judged(load: float, records: Sequence[Record], slo: Slo) -> Probe:
    """What the runs of one load say of it.

    It held the SLO when Wilson's 95% interval of the part of good requests lies at or above
    `slo.good_fraction`, and missed it when the interval lies below, or when the server fell
    behind. Runs that were spoilt, by the client or by others on the host, are left out where
    there are others, and never show that a load was missed; a load that was not really applied is
    not shown to be held either.
    """
    fit = [each for each in records if not _flags(each) & SPOILT] or list(records)
    counts = [_good(record) for record in fit]
    good = proportion(sum(part for part, _ in counts), sum(whole for _, whole in counts))
    flags = set[str]().union(*map(_flags, fit))
    verdict: Verdict = "undecided"
    if OVERLOADED in flags or (good.high is not None and good.high < slo.good_fraction):
        verdict = "undecided" if flags & SPOILT else "missed"
    elif good.low is not None and good.low >= slo.good_fraction and not flags & NOT_APPLIED:
        verdict = "held"
    return Probe(load, tuple(records), good, verdict)


def capacities(experiment: Experiment, records: Iterable[Record]) -> tuple[Capacity, ...]:
    """What the searches of `experiment` found, one for each model and pair of lengths, from the
    last run of each of its cells; nothing where it was no search, or nothing was measured."""
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
    found = (_capacity(of, slo, group) for group in groups)
    return tuple(each for each in found if each.probes or each.alone)


def _capacity(of: Of, slo: Slo, tried: list[Record]) -> Capacity:
    records = [each for each in tried if each.metrics and each.status != "interrupted"]
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
    """What one search is about."""
    return cell.engine, cell.model, cell.quantisation, cell.prompt_tokens, cell.output_tokens


def _good(record: Record) -> tuple[int, int]:
    """The good requests and all of them: those of the steady state where there was one."""
    for name in ("steady_good_fraction", "good_fraction"):
        figure = record.metrics.get(name)
        if figure is not None and figure.value is not None and figure.count:
            return round(figure.value * figure.count), figure.count
    return 0, 0


def _flags(record: Record) -> set[str]:
    return {doubt.name for doubt in record.doubts if doubt.severity != "note"}


def _load(probe: Probe) -> float:
    return probe.load
