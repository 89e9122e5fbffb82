"""The highest load that holds an SLO, read from the runs of a search for it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

from journal.records.cell import Cell
from journal.records.experiment import Experiment, Slo
from journal.records.figure import Figure
from journal.records.load_shape import Closed, Open, Users
from journal.records.run import Record

Of: TypeAlias = Literal["rate", "concurrency"]
Verdict = Literal["held", "missed", "undecided"]

LOOKS = 4  # at one load at most
LEAST_LOOKS = 2  # before a load is said to hold
ERROR = 0.05  # of a wrong verdict on one load, in all looks together
OVERLOAD = 0.05  # that a run must be long enough to show
COUNTED = 0.01  # to which the answers per second of a run are known
WAVES = 8  # of requests, that a run in closed loop must hold

OVERLOADED = "falls_behind"
NOT_APPLIED = {"rate_not_achieved", "batch_not_reached"}
CLIENTS_FAULT = NOT_APPLIED | {"client_saturated"}
DISTURBED = {"busy_host", "stolen_time", "swapping", "asleep", "foreign_traffic"}
SPOILT = CLIENTS_FAULT | DISTURBED


@dataclass(frozen=True, slots=True)
class Probe:
    """One load with all its runs. `load` is in requests/s or in requests in flight. `good` is the
    part of the requests sent in the steady state that held every limit, over the runs that it is
    judged by, with the interval that decides. `too_short` is whether its runs were too short, or
    too few, to say that it holds, though the requests were good; `beyond_answers` whether the
    server was never seen to answer as many."""

    load: float
    records: tuple[Record, ...]
    good: Figure
    verdict: Verdict
    too_short: bool
    beyond_answers: bool

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
    """The result of one search for the model and lengths of `cell`. `probes` are in order of load.
    `alone` is a rate search's look at one request at a time, `answered_per_s` the most that the
    server was seen to answer, where a run overloaded it. `whole` is whether the search came to its
    end.

    The answer has three parts: the SLO holds up to `holds_up_to`, it breaks from `breaks_from` on,
    and in between it is undecided."""

    of: Of
    slo: Slo
    cell: Cell
    probes: tuple[Probe, ...]
    alone: Probe | None
    whole: bool
    answered_per_s: float | None

    @property
    def held(self) -> Probe | None:
        """The highest load that was shown to hold the SLO, with none below it that broke it."""
        least = min((p.load for p in self.probes if p.verdict == "missed"), default=math.inf)
        below = (p for p in self.probes if p.verdict == "held" and p.load < least)
        return max(below, key=_load, default=None)

    @property
    def broken(self) -> Probe | None:
        """The lowest load that was shown to break the SLO, with none above it that held it."""
        most = max((p.load for p in self.probes if p.verdict == "held"), default=0.0)
        above = (p for p in self.probes if p.verdict == "missed" and p.load > most)
        return min(above, key=_load, default=None)

    @property
    def beyond(self) -> Probe | None:
        """The lowest load above `held` that was not: it broke the SLO, or no runs could tell."""
        least = 0.0 if self.held is None else self.held.load
        above = (p for p in self.probes if p.load > least and p.verdict != "held")
        return min(above, key=_load, default=None)

    @property
    def holds_up_to(self) -> float | None:
        """The load up to which the SLO holds; None where it was shown for none."""
        return None if self.held is None else self.held.load

    @property
    def breaks_from(self) -> float | None:
        """The load from which on the SLO breaks: the lowest that broke it, or the most that the
        server answers where that is less. None where none was shown to break it."""
        broken = None if self.broken is None else self.broken.load
        if self.answered_per_s is None:
            return broken
        return self.answered_per_s if broken is None else min(broken, self.answered_per_s)

    @property
    def undecided(self) -> tuple[float, float | None] | None:
        """The loads in between, 0 where none was shown to hold, None where none was shown to break;
        None where nothing is between two numbers of requests in flight."""
        least = 0.0 if self.holds_up_to is None else self.holds_up_to
        most = self.breaks_from
        if self.of == "concurrency" and most is not None and most - least <= 1:
            return None
        return least, most


def judged(
    load: float, records: Sequence[Record], slo: Slo, answered_per_s: float | None = None
) -> Probe:
    """The verdict of the runs of one load.

    Wilson's interval of the part of good requests decides, of as many independent requests as they
    are worth (`steady_good_effective`). A load may be looked at LOOKS times, after each of its
    runs, so that each interval misses the truth in ERROR / LOOKS: in ERROR at most over all looks
    (Bonferroni's bound, which stands looks that are alike). The load held the SLO when the interval
    lies at or above `slo.good_fraction` and LEAST_LOOKS runs were long enough to show an overload,
    since a queue near the limit is seldom seen in one. It missed it
    when the interval lies below, when the server fell behind, or when the load is not
    below `answered_per_s`, which is the most that the server was seen to answer.

    Runs that were spoilt, by the client or by others on the host, are left out where there are
    others, and never show that a load was missed; a load that was not really applied is not shown
    to be held either.
    """
    clean = [record for record in records if not _flags(record) & SPOILT] or list(records)
    good = _share(clean)
    flags = set[str]().union(*map(_flags, clean))
    short = sum(long_enough(record.cell) for record in clean) < LEAST_LOOKS
    beyond = answered_per_s is not None and load > (1 - COUNTED) * answered_per_s
    verdict: Verdict = "undecided"
    if OVERLOADED in flags or beyond or (good.high is not None and good.high < slo.good_fraction):
        verdict = "undecided" if flags & SPOILT else "missed"
    elif promises(good, slo) and not short and not flags & NOT_APPLIED:
        verdict = "held"
    return Probe(load, tuple(records), good, verdict, short and promises(good, slo), beyond)


def promises(good: Figure, slo: Slo) -> bool:
    """Whether the interval of the part of good requests lies at or above what the SLO asks."""
    return good.low is not None and good.low >= slo.good_fraction


def long_enough(cell: Cell) -> bool:
    """Whether a run of `cell` lets an overload of 5% show: in open loop a queue grows by as much of
    each second, until it is longer than the limit; in closed loop requests go in WAVES waves."""
    shape, requests = cell.shape, cell.load.requests
    if isinstance(shape, Open):
        return cell.slo is None or requests / shape.rate >= showing_s(cell.slo, shape.burstiness)
    return isinstance(shape, Closed | Users) and requests >= WAVES * shape.batch


def limit_s(slo: Slo) -> float:
    """The first limit in s that a queue passes, of TTFT and E2E; 0 where the SLO has neither."""
    limits_ms = [limit for limit in (slo.ttft_ms, slo.e2e_ms) if limit is not None]
    return min(limits_ms, default=0.0) / 1e3


def showing_s(slo: Slo, burstiness: float) -> float:
    """The time in s after which a queue that grows by OVERLOAD of each second has passed the
    limits of `slo`; 0 where a queue passes none. Requests that come in bursts need more time: of
    gamma gaps with the shape `burstiness` the number in a long time has 1 / `burstiness` times the
    variance of random ones (renewal theory; Cox, 1962), and a run holds as many more of them."""
    bursts = 1 / burstiness if 0 < burstiness < 1 else 1.0
    return bursts * limit_s(slo) / OVERLOAD


def answered_per_s(records: Iterable[Record]) -> float | None:
    """The most requests/s that the server was seen to answer, in the longest run that overloaded it
    and in those that were as long; None where none did."""
    opened = [record for record in records if isinstance(record.cell.shape, Open)]
    opened = [record for record in opened if not _flags(record) & CLIENTS_FAULT]
    behind = [_steady_s(record) for record in opened if OVERLOADED in _flags(record)]
    if not behind:
        return None
    most = (
        record.value("steady_requests_per_s")
        for record in opened
        if _steady_s(record) >= max(behind)
    )
    return max((answers for answers in most if answers is not None), default=None)


def capacities(experiment: Experiment, records: Iterable[Record]) -> tuple[Capacity, ...]:
    """The results of the searches of `experiment`, one for each model and pair of lengths, from the
    last run of each of its cells; none where it was no search, or nothing was measured."""
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
    searches = (capacity_of(of, slo, group) for group in groups)
    return tuple(search for search in searches if search.probes or search.alone)


def capacity_of(of: Of, slo: Slo, tried: Sequence[Record]) -> Capacity:
    """The capacity of the one server that all runs of `tried` measured, under `slo`."""
    records = [record for record in tried if record.metrics and record.status != "interrupted"]
    loads: dict[float, list[Record]] = {}
    alone = [record for record in records if of == "rate" and not record.cell.shape.is_open]
    for record in records:
        shape = record.cell.shape
        if shape.is_open == (of == "rate"):
            loads.setdefault(shape.value, []).append(record)
    most = answered_per_s(records)
    return Capacity(
        of=of,
        slo=slo,
        cell=tried[0].cell,
        probes=tuple(judged(load, loads[load], slo, most) for load in sorted(loads)),
        alone=judged(0.0, alone, slo) if alone else None,
        whole=len(records) == len(tried),
        answered_per_s=most,
    )


def _subject(cell: Cell) -> tuple[object, ...]:
    """What one search is about."""
    return cell.engine, cell.model, cell.quantisation, cell.prompt_tokens, cell.output_tokens


def _share(records: Iterable[Record]) -> Figure:
    """The part of good requests over several runs, with the interval of one look at it."""
    good = worth = 0.0
    count = 0
    for record in records:
        share, requests, effective = _good(record)
        good, count, worth = good + share * requests, count + requests, worth + effective
    return interval(good / count, worth, count) if count else Figure(None, count=0)


def interval(share: float, worth: float, count: int) -> Figure:
    """Wilson's (1927) interval of one of LOOKS looks at a `share` of `count` requests that are
    `worth` as many independent ones (Kott and Liu 2009 show that it keeps its level so)."""
    z = NormalDist().inv_cdf(1 - ERROR / LOOKS / 2)
    scale = 1 + z**2 / worth
    centre = (share + z**2 / (2 * worth)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / worth + z**2 / (4 * worth**2))
    low, high = max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
    return Figure(share, low, high, count)


def _good(record: Record) -> tuple[float, int, float]:
    """The part of good requests, of how many, and how many independent ones they are worth: those
    of the steady state where there was one."""
    for name in ("steady_good_fraction", "good_fraction"):
        figure = record.metrics.get(name)
        if figure is not None and figure.value is not None and figure.count:
            effective = record.value("steady_good_effective") if name.startswith("steady") else None
            return figure.value, figure.count, figure.count if effective is None else effective
    return 0.0, 0, 0.0


def _steady_s(record: Record) -> float:
    steady_s = record.value("steady_s")
    return 0.0 if steady_s is None else steady_s


def _flags(record: Record) -> set[str]:
    return {doubt.name for doubt in record.doubts if doubt.severity != "note"}


def _load(probe: Probe) -> float:
    return probe.load
