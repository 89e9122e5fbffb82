"""The trade-off of batches: tokens/s of one user against tokens/s of each GPU, and the dots that
nothing beats (the Pareto frontier)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from journal.compare.knee import THROUGHPUT, knee
from journal.compare.points import Point, Points
from journal.records.figure import Figure

TIMED_OUT = "timed_out"  # the doubt about a time-out that decides throughput


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What one point gives each user, in tokens/s of one request (1 / TPOT), and each GPU, in
    output tokens/s of all requests over the number of GPUs. `is_knee`: more load than here gains
    little throughput."""

    point: Point
    of_one: float
    of_gpu: Figure
    is_knee: bool


def gpus_behind(point: Point) -> int:
    """The number of GPUs behind the server of `point`; 1 where it has none or they are not
    known."""
    engine, attached = point.good[-1].cell.engine, point.good[-1].facts.cards
    if engine is not None:
        return engine.gpu_count
    return 1 if attached is None else attached


def waited_out(point: Point) -> bool:
    """Whether a time-out decides the throughput of a run of `point`."""
    return any(doubt.name == TIMED_OUT for record in point.good for doubt in record.doubts)


def trade_offs(line: Points) -> tuple[TradeOff, ...]:
    """The trade-offs of a line of batches, without points that lack TPOT or throughput, or whose
    throughput is that of a time-out."""
    return tuple(_trade_offs(line))


def _trade_offs(line: Points) -> Iterator[TradeOff]:
    step = knee(line)
    for point in line:
        tpot_s, every = point.value("tpot_s.p50"), point.figure(THROUGHPUT)
        if not tpot_s or every is None or every.value is None or waited_out(point):
            continue
        gpus = gpus_behind(point)
        low, high = (None if end is None else end / gpus for end in (every.low, every.high))
        of_gpu = Figure(every.value / gpus, low, high, every.count)
        yield TradeOff(point, 1 / tpot_s, of_gpu, step is not None and point is step.before)


def frontier(among: Sequence[TradeOff]) -> tuple[TradeOff, ...]:
    """The trade-offs `among` these that none beats in both respects, the slowest user first."""
    best: list[TradeOff] = []
    for one in sorted(among, key=lambda one: (-one.of_one, -(one.of_gpu.value or 0.0))):
        if not best or (one.of_gpu.value or 0.0) > (best[-1].of_gpu.value or 0.0):
            best.append(one)
    return tuple(reversed(best))
