"""The search for the highest load that holds an SLO: doubling in short runs, then bisection in runs
long enough to show an overload, each load looked at until its runs decide."""

import hashlib
import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TypeAlias

from journal import units
from journal.compare.capacity import (
    COUNTED,
    ERROR,
    LOOKS,
    WAVES,
    Of,
    Probe,
    answered_per_s,
    interval,
    judged,
    limit_s,
    promises,
    showing_s,
)
from journal.plan.cells import identified
from journal.records.cell import Cell
from journal.records.experiment import Experiment, Slo
from journal.records.load_shape import Closed, Open
from journal.records.run import Record

ALONE = 12  # requests that show how the server does with one at a time
LOADS = 24  # tried at most
DOUBLINGS = 12  # of the first load
HALVINGS = 2  # of the first rate, at which a server has one request at a time
RESOLUTION = 0.1  # each end of the answer is known to a tenth, where runs can decide
SPANS = 8  # each run lasts that many times E2E, so that a queue has time to grow
SHORT_LIMITS = 3  # ... and that many times the limit, in which twice the capacity shows
SHORT_WAVES = 4  # ... or each stream sends that many requests
LONG_SHARE = 3  # times the requests that can decide at all, in a long run
MARGIN = 1.25  # of the time in which an overload of 5% passes the limit
BELOW_ANSWERED = 0.9  # of what an overloaded server answers: the first load of the bisection
BUDGET_S = 300.0  # of load for one search, or
ROUNDS = 6  # long runs, where these take longer
BATCHES = 6  # of requests that can decide, one for each E2E, where these take longer

Search: TypeAlias = Generator[Cell, Record, None]
Looked: TypeAlias = Generator[Cell, Record, Probe | None]


@dataclass(frozen=True, slots=True)
class Price:
    """The most that one search takes: runs, and s of load."""

    runs: int
    load_s: float

    @property
    def label(self) -> str:
        """The price in a sentence: "at most 97 runs, about 5 min of load"."""
        return f"at most {self.runs} runs, about {units.seconds(self.load_s)} of load"


def price_of(start: Cell, of: Of, e2e_s: float | None = None) -> Price:
    """The price of the search that begins with `start`, by the E2E of a request; before one was
    measured, by the longest E2E that the limits of its SLO allow where they do. Where a request
    takes long and no limit says how long it may, the search takes longer."""
    slo = start.slo
    assert slo is not None
    if e2e_s is None:
        e2e_s = _allowed_s(slo, start.planned_lengths[1])
    grown_s = showing_s(slo, start.load.burstiness)
    by_limit_s = ROUNDS * MARGIN * grown_s if of == "rate" else 0.0
    return Price(LOADS * LOOKS + 1, max(BUDGET_S, by_limit_s, _spans(slo, of) * e2e_s))


def long_request_s(slo: Slo, of: Of) -> float:
    """The E2E in s from which on a search takes longer than BUDGET_S."""
    return BUDGET_S / _spans(slo, of)


def _spans(slo: Slo, of: Of) -> float:
    """The price of a search in E2E of a request: ROUNDS long runs in waves, or, by rate, BATCHES
    times the requests that can decide, the first of which go at one for each E2E."""
    return ROUNDS * (WAVES + 1) if of == "concurrency" else BATCHES * _deciding(slo.good_fraction)


def search(start: Cell, experiment: Experiment) -> Search:
    """The cells to measure, one after the other; it is sent the record of each. `start` is the
    cell that `plan.cells` gives for this search.

    A load that seems to hold the SLO in short runs is doubled until one does not (or, where the
    first does not, halved until one does). The space between is then halved, for rates on a
    logarithmic scale and from a tenth below what the server answered on, in runs so long that an
    overload of 5% would break the limit. A load is looked at up to LOOKS times, each time with
    other requests and arrivals, until its runs decide. What stays undecided parts the search: it
    goes on below and above, until each end is known to a tenth of the load or to one request in
    flight, or until the time that `price` names is up.
    """
    of = experiment.find_capacity
    assert of is not None and start.slo is not None
    course = _Course(start, of, start.slo)
    if of == "concurrency":
        yield from course.climb(start.shape.value)
        return
    record = yield from course.measured(_asking(start, ALONE))
    if record is None:
        return
    e2e_s, most = record.value("e2e_s.mean"), judged(0.0, [record], start.slo).good.high
    if not e2e_s or most is None or most < start.slo.good_fraction:
        return  # no rate is kinder to a request than to be alone
    yield from course.climb(min(experiment.grid.rate, default=_rounded(of, 1 / e2e_s)))


@dataclass(slots=True)
class _Course:
    """A search on its way: what it has measured, and the loads by their verdicts."""

    start: Cell
    of: Of
    slo: Slo
    records: list[Record] = field(default_factory=list)
    runs: dict[float, list[Record]] = field(default_factory=dict)
    probes: dict[float, Probe] = field(default_factory=dict)
    promising: set[float] = field(default_factory=set)

    def climb(self, first: float) -> Search:
        """Double the first load, or halve it, and then narrow the space between."""
        least = 1.0 if self.of == "concurrency" else first / 2**HALVINGS
        load = first
        while least <= load <= first * 2**DOUBLINGS:
            probe = yield from self._look(load, long=False)
            if probe is None:
                return
            if load in self.promising:
                load *= 2
            elif self.promising or load == least:
                break
            else:
                load = _rounded(self.of, max(least, load / 2))
        yield from self._narrow_below(least)
        yield from self._narrow_above()

    def _narrow_below(self, least: float) -> Search:
        """Find the highest load that holds: the loads under the lowest that does not."""
        for _ in range(LOADS):
            top = self._top()
            held = self._held(top)
            promising = max((load for load in self.promising if load < top), default=None)
            bottom = promising if held is None else max(held, promising or held)
            load = self._below(least, held, bottom, top)
            if load is None:
                return
            probe = yield from self._look(load, long=True)
            if probe is None:
                return
            if probe.verdict != "held":
                self.promising.discard(load)

    def _below(
        self, least: float, held: float | None, bottom: float | None, top: float
    ) -> float | None:
        """The load to try under `top`, which does not hold; None where the answer is known.
        `bottom` is the highest that is held or promising."""
        if bottom is None:
            load = _rounded(self.of, max(least, top / 2))
            return load if load < top else None
        if top < math.inf and not self._close(bottom, top):
            load = self._between(bottom, top)
            if bottom < load < top:
                return load
        return None if bottom == held else bottom

    def _narrow_above(self) -> Search:
        """Find the lowest load that breaks: the loads over the highest that is undecided."""
        for _ in range(LOADS):
            undecided = [load for load, p in self.probes.items() if p.verdict != "missed"]
            missed = [load for load, p in self.probes.items() if p.verdict == "missed"]
            top = min([*missed, *self._answered()], default=None)
            bottom = max((load for load in undecided if top is None or load < top), default=None)
            if bottom is None or (top is not None and self._close(bottom, top)):
                return
            held = any(probe.verdict == "held" for probe in self.probes.values())
            if top is None and (bottom in self.promising or not held):
                return  # no load that was tried broke it, or none could be judged
            load = 2 * bottom if top is None else self._between(bottom, top)
            if load in self.probes:
                return
            if (yield from self._look(load, long=False)) is None:
                return  # a run need not be long to show that a load breaks the SLO

    def _look(self, load: float, long: bool) -> Looked:
        """Measure a load until its runs decide, or once where it is promising in a short run; None
        where its time is up."""
        cell = self._cell(load, long)
        for _ in range(LOOKS):
            if len(self.probes) >= LOADS and load not in self.probes:
                return None
            record = yield from self.measured(cell)
            if record is None:
                return None
            runs = self.runs.setdefault(load, [])
            runs.append(record)
            probe = judged(load, runs, self.slo, answered_per_s(self.records))
            self.probes[load] = probe
            if promises(probe.good, self.slo) and probe.verdict != "missed":
                self.promising.add(load)
                if not long:
                    return probe
            if probe.verdict != "undecided" or len(runs) >= LOOKS:
                break
        return probe

    def measured(self, cell: Cell) -> Generator[Cell, Record, Record | None]:
        """The record of a cell, with requests and arrivals that no other run of any search has;
        None where the time of this search is up."""
        if self.records and self._spent_s() + self._lasts_s(cell) > self._budget_s():
            return None
        repeat = len(self.runs.get(cell.shape.value, ())) if self._is_probe(cell) else 0
        seed = _seed(f"{self.start.identity} {self.of} {len(self.records)}")
        record = yield identified(replace(cell, repeat=repeat, seed=seed))
        self.records.append(record)
        return record

    def _is_probe(self, cell: Cell) -> bool:
        return cell.shape.is_open == (self.of == "rate")

    def _cell(self, load: float, long: bool) -> Cell:
        """The cell of one load: enough requests that a single bad one does not leave it open, and
        that the load is steady for most of the run. Those that go before it is steady come on
        top."""
        asked = max(self.start.load.requests, _deciding(self.slo.good_fraction))
        if self.of == "concurrency":
            batch = round(load)
            waves = WAVES if long else SHORT_WAVES
            return _asking(self.start.under(Closed(batch)), max(asked, waves * batch) + batch)
        e2e_s = self._e2e_s(alone=True)
        cell = self.start.under(Open(load, self.start.load.burstiness))
        grown_s = SHORT_LIMITS * limit_s(self.slo)
        if long:
            grown_s = MARGIN * showing_s(self.slo, self.start.load.burstiness)
        spread = math.ceil(load * max(grown_s, SPANS * e2e_s))
        requests = max((LONG_SHARE if long else 1) * asked, spread)
        return _asking(cell, requests + math.ceil(load * e2e_s))

    def _e2e_s(self, alone: bool = False) -> float:
        """E2E in s of a request alone, or in the last run that knows it; 0 before."""
        known = [e2e_s for record in self.records if (e2e_s := record.value("e2e_s.mean"))]
        return (known[0] if alone else known[-1]) if known else 0.0

    def _lasts_s(self, cell: Cell) -> float:
        """How long a run of `cell` is expected to last."""
        e2e_s, shape = self._e2e_s(alone=True), cell.shape
        if not isinstance(shape, Open):
            last = self.records[-1].cell.shape.value
            return cell.load.requests / shape.value * self._e2e_s() * max(1.0, shape.value / last)
        rate = min([shape.rate, *self._answered()])
        return cell.load.requests / rate + e2e_s

    def _spent_s(self) -> float:
        return math.fsum(record.duration_s for record in self.records)

    def _budget_s(self) -> float:
        e2e_s = self._e2e_s(alone=self.of == "rate")
        return price_of(self.start, self.of, e2e_s).load_s

    def _answered(self) -> list[float]:
        """The rate from which on the server is known to answer no more, in a list; an empty one
        where it is not known."""
        most = answered_per_s(self.records) if self.of == "rate" else None
        return [] if most is None else [(1 - COUNTED) * most]

    def _top(self) -> float:
        """The lowest load that is not held; infinite where each is."""
        failed = (load for load, probe in self.probes.items() if not self._may_hold(load, probe))
        return min([*failed, *self._answered()], default=math.inf)

    def _may_hold(self, load: float, probe: Probe) -> bool:
        return probe.verdict == "held" or (load in self.promising and probe.verdict != "missed")

    def _held(self, top: float) -> float | None:
        held = (load for load, p in self.probes.items() if p.verdict == "held" and load < top)
        return max(held, default=None)

    def _close(self, low: float, high: float) -> bool:
        least = 1.0 if self.of == "concurrency" else 0.0
        return high - low <= max(RESOLUTION * low, least)

    def _between(self, low: float, high: float) -> float:
        """The load to try between two: their geometric mean, or, of rates, a little less than what
        the server answers, since capacity is near that when the limits are long."""
        for answered in self._answered():
            near = _rounded(self.of, BELOW_ANSWERED * answered)
            if low < near and not self._close(near, high) and near not in self.probes:
                return near
        return _rounded(self.of, math.sqrt(low * high))


def _asking(cell: Cell, requests: int) -> Cell:
    return replace(cell, load=replace(cell.load, requests=requests))


def _seed(run: str) -> int:
    """A seed of its own for each run of each search, and the same one when the search is repeated.
    `run` holds the identity of the search's first cell, in which the experiment's seed is, and the
    number of the run."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:4]) >> 1  # fits 31 bits


def _deciding(good_fraction: float) -> int:
    """The fewest requests of which all but one, if good, show that `good_fraction` of all are."""
    z = NormalDist().inv_cdf(1 - ERROR / LOOKS / 2)
    count = math.ceil(z**2 * good_fraction / (1 - good_fraction))
    while (low := interval((count - 1) / count, count, count).low) is None or low < good_fraction:
        count += 1
    return count


def _allowed_s(slo: Slo, output_tokens: int) -> float:
    """The longest E2E in s of a request that holds `slo`; 0 where it sets no such limit."""
    if slo.e2e_ms is not None:
        return slo.e2e_ms / 1e3
    first_ms = 0.0 if slo.ttft_ms is None else slo.ttft_ms
    if slo.tpot_ms is None:
        return 0.0
    return (first_ms + slo.tpot_ms * (output_tokens - 1)) / 1e3


def _rounded(of: Of, load: float) -> float:
    """A load as a person would give it: whole requests in flight, or a rate to three digits."""
    return float(round(load)) if of == "concurrency" else float(f"{load:.3g}")
