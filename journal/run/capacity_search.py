"""The search for the highest load that holds an SLO: doubling, then bisection, each load tried
until its runs decide whether it holds."""

import math
from collections.abc import Generator
from dataclasses import replace

from journal.compare.capacity import Of, Probe, judged
from journal.metrics.statistics import proportion
from journal.plan.cells import identified
from journal.records.cell import Cell
from journal.records.experiment import Experiment
from journal.records.load_shape import Closed, Open
from journal.records.run import Record

ALONE = 12  # requests that show the server with one request at a time
LOADS = 20  # tried at most
DOUBLINGS = 12  # of the first load
HALVINGS = 2  # of the first rate, at which a server has one request at a time
REPEATS = 3  # of a load whose runs leave it open
RESOLUTION = 0.1  # the highest load that holds is known to a tenth
SPANS = 8  # each run lasts that many times E2E, so that a queue has time to grow
BATCHES = 3  # ... and each stream sends that many requests

Search = Generator[Cell, Record, None]


def search(start: Cell, experiment: Experiment) -> Search:
    """Search for capacity: yield each cell to measure and receive its record. `start` is the cell
    that `plan.cells` gives for this search, the first to be measured.

    A load that holds the SLO is doubled until one does not (or, where the first does not, halved
    until one does), then the space between is halved, for rates on a logarithmic scale, until it is
    a tenth of the load or one request in flight. A load is tried up to three times, until the
    interval of its fraction of good requests lies on one side of the fraction that the SLO asks
    for.
    """
    of = experiment.find_capacity
    assert of is not None and start.slo is not None
    if of == "concurrency":
        yield from _climb(of, start, start.shape.value, 0.0)
        return
    record = yield identified(_asking(start, ALONE))
    e2e_s, most = _e2e_s(record), judged(0.0, [record], start.slo).good.high
    if not e2e_s or most is None or most < start.slo.good_fraction:
        return  # no rate gives a request more of the server than being alone
    first = min(experiment.grid.rate, default=_given(of, 1 / e2e_s))
    yield from _climb(of, start, first, e2e_s)


def most_runs() -> int:
    """The largest number of runs that one search takes."""
    return LOADS * REPEATS + 1


def _climb(of: Of, start: Cell, first: float, e2e_s: float) -> Search:
    held = missed = None
    load: float | None = first
    for _ in range(LOADS):
        if load is None:
            return
        probe = yield from _tried(_at(start, load, of, e2e_s), load)
        if probe.verdict == "held":
            held, e2e_s = load, _e2e_s(probe.records[-1]) or e2e_s
        else:
            missed = load
        load = _next(of, held, missed, first)


def _tried(cell: Cell, load: float) -> Generator[Cell, Record, Probe]:
    """Measure one load until its runs decide whether it holds; return the probe with its
    verdict."""
    assert cell.slo is not None
    records: list[Record] = []
    for repeat in range(REPEATS):
        seed = cell.load.seed + repeat
        records.append((yield identified(replace(cell, repeat=repeat, seed=seed))))
        probe = judged(load, records, cell.slo)
        if probe.verdict != "undecided":
            break
    return probe


def _next(of: Of, held: float | None, missed: float | None, first: float) -> float | None:
    """The load to try next; None where capacity is known well enough, or further loads would not
    decide it."""
    least = 1.0 if of == "concurrency" else first / 2**HALVINGS
    if missed is None:
        load = 2 * (held or first)
        return load if load <= first * 2**DOUBLINGS else None
    if held is None:
        return _given(of, max(least, missed / 2)) if missed > least else None
    if missed - held <= max(RESOLUTION * held, 1.0 if of == "concurrency" else 0.0):
        return None
    return _given(of, math.sqrt(held * missed))


def _at(start: Cell, load: float, of: Of, e2e_s: float) -> Cell:
    """The cell of one load: enough requests that a single bad one does not leave the verdict open
    and that the load is steady for most of the run. The requests before it is steady come on
    top."""
    assert start.slo is not None
    needed = max(start.load.requests, _telling(start.slo.good_fraction))
    if of == "concurrency":
        batch = round(load)
        return _asking(start.under(Closed(batch)), max(needed, BATCHES * batch) + batch)
    flying = math.ceil(load * e2e_s)
    cell = start.under(Open(load, start.load.burstiness))
    return _asking(cell, max(needed, SPANS * flying) + flying)


def _asking(cell: Cell, requests: int) -> Cell:
    return replace(cell, load=replace(cell.load, requests=requests))


def _telling(good_fraction: float) -> int:
    """The fewest requests of which all but one, if good, show that `good_fraction` of all are
    good."""
    whole = 2
    while (low := proportion(whole - 1, whole).low) is None or low < good_fraction:
        whole += 1
    return whole


def _e2e_s(record: Record) -> float | None:
    return record.value("e2e_s.mean")


def _given(of: Of, load: float) -> float:
    """A load as a person would write it: whole requests in flight, or a rate in requests/s to three
    digits."""
    return float(round(load)) if of == "concurrency" else float(f"{load:.3g}")
