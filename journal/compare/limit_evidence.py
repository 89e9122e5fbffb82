"""The evidence on what limits a cell: shares of a request's time, and what other cells of its
experiment show."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from journal.records.cell import Cell
from journal.records.doubt import Values
from journal.records.load_shape import Closed
from journal.records.run import Record
from journal.records.sameness import workload_key
from journal.theory.predictions import ServedModel, served_model

LIMIT_FLAG = "--max-num-seqs"
NEAR_FLOOR = 3.0  # times the floor of the roofline

Key: TypeAlias = Callable[[Cell], Hashable]


class Among:
    """The good runs of an experiment, among which each is compared, grouped once for all of them by
    what is the same."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._good = tuple(record for record in records if record.good)
        self._groups: dict[Key, dict[Hashable, list[Record]]] = {}

    def alike(self, cell: Cell, key: Key) -> Sequence[Record]:
        """The runs whose cell has the same `key` as `cell`."""
        if key not in self._groups:
            groups = self._groups[key] = {}
            for record in self._good:
                groups.setdefault(key(record.cell), []).append(record)
        return self._groups[key].get(key(cell), ())


@dataclass(frozen=True, slots=True)
class Subject:
    """A run, and the runs of its experiment, among which it is compared."""

    record: Record
    among: Among = field(default_factory=Among)

    def value(self, name: str) -> float | None:
        return self.record.value(name)

    def flagged(self, *names: str) -> str | None:
        """The first of the doubts called `names` that is more than a note."""
        flags = {doubt.name for doubt in self.record.doubts if doubt.severity != "note"}
        return next((name for name in names if name in flags), None)

    def usual(self, latency: str) -> float | None:
        """The mean of a latency in s, or its median where a run has no other."""
        mean_s = self.value(f"{latency}.mean")
        return self.value(f"{latency}.p50") if mean_s is None else mean_s

    @property
    def served_s(self) -> float | None:
        """The mean time of a request in s from when it was sent."""
        e2e_s, late_s = self.value("e2e_s.mean"), self.value("send_delay_s.mean")
        return None if e2e_s is None else e2e_s - (0.0 if late_s is None else late_s)

    def share(self, name: str) -> float | None:
        """The mean of a time that the server tells, as a share of the time of a request."""
        part_s, whole_s = self.value(name), self.served_s
        return part_s / whole_s if part_s is not None and whole_s else None

    @property
    def waits(self) -> float | None:
        """The share of its time for which a request waits in the server; None where not known."""
        share = self.share("queue_s.mean")
        if share is not None:
            return share
        waiting, flight = self.value("server_waiting_mean"), self.value("concurrency_mean")
        return waiting / flight if waiting is not None and flight else None

    @property
    def step_s(self) -> float | None:
        """The usual time between two tokens in s, which prompts in between change little."""
        gap_s = self.value("itl_s.p50")
        return self.value("tpot_s.p50") if gap_s is None else gap_s

    @property
    def limit(self) -> int | None:
        """The most requests that run at once by the command line; None where it names none."""
        engine = self.record.cell.engine
        return named_limit(self.record.facts.argv or (() if engine is None else engine.flags))


def named_limit(argv: Sequence[str]) -> int | None:
    """The value of LIMIT_FLAG in a command line; None without one."""
    for place, word in enumerate(argv):
        name, joined, value = word.partition("=")
        text = value if joined else "".join(argv[place + 1 : place + 2])
        if name == LIMIT_FLAG and text.isdecimal():
            return int(text)
    return None


def prefill_share(case: Subject) -> float | None:
    """The share of a request's time that prompts take: its own until the first token, and those of
    others that delay its next tokens. The delay is what lies above the usual gap, or above the pace
    of a request that is alone, and no more than the prompts that were read explain. None where it
    is not known."""
    ttft_s, e2e_s = case.usual("ttft_s"), case.usual("e2e_s")
    if ttft_s is None or not e2e_s:
        return None
    before = min(1.0, ttft_s / e2e_s)
    tpot_s, usual_s = case.usual("tpot_s"), case.value("itl_s.p50")
    read_s, per_s = case.value("ttft_alone_s"), case.value("requests_per_s")
    if not tpot_s or read_s is None or per_s is None:
        return before
    paces = [s for s in (usual_s, case.value("tpot_alone_s")) if s is not None]
    lost = max(0.0, 1 - min(paces) / tpot_s) if paces else 0.0
    return before + min(lost, read_s * per_s) * (1 - before)


def model_of_run(case: Subject) -> ServedModel | None:
    cell, facts = case.record.cell, case.record.facts
    attached = 1 if facts.cards is None else facts.cards
    return served_model(facts, cell.engine, cell.engine.gpu_count if cell.engine else attached)


def near_floor(case: Subject) -> tuple[str, float] | None:
    """The side of the roofline that bounds a step, and the measured time over the floor; None where
    either is not known, or where the step is not near the floor."""
    model, cell, step_s = model_of_run(case), case.record.cell, case.step_s
    floor_s, shape = case.value("tpot_floor_s"), cell.shape
    if model is None or not isinstance(shape, Closed) or step_s is None or not floor_s:
        return None
    if cell.prompt_tokens is None:
        return None
    bound = model.decode_bound(shape.batch, cell.prompt_tokens)
    ratio = step_s / floor_s
    return (bound, ratio) if bound is not None and ratio <= NEAR_FLOOR else None


def weights_rate(case: Subject) -> float | None:
    """Bytes/s at which a step would read the weights of one GPU if it did nothing else; None where
    they are not known."""
    model, step_s = model_of_run(case), case.step_s
    if model is None or not model.weights_bytes or not step_s:
        return None
    return model.weights_bytes / model.gpu_count / step_s


def kv_beside_weights(case: Subject) -> float | None:
    """The bytes of KV cache that a step reads, over those of the weights; None where not known."""
    model, shape, cell = model_of_run(case), case.record.cell.shape, case.record.cell
    if model is None or not isinstance(shape, Closed):
        return None
    token, weights = model.kv_bytes_per_token, model.weights_bytes
    if token is None or not weights or cell.whole_tokens is None:
        return None
    return shape.batch * cell.whole_tokens * token / weights


@dataclass(frozen=True, slots=True)
class StepGrowth:
    exponent: float
    values: Values


def growth_over_batch(case: Subject) -> StepGrowth | None:
    """How a step grows from the nearest batch of at most half to this one, or where there is none
    from this one to the nearest of at least twice; None without another batch."""
    shape, own_s = case.record.cell.shape, case.step_s
    steps = {
        other.cell.shape.value: step_s
        for other in others_alike(case, but_for_batch)
        if isinstance(other.cell.shape, Closed) and (step_s := Subject(other).step_s)
    }
    if not own_s or not isinstance(shape, Closed):  # no growth from 0 s
        return None
    below = max((batch for batch in steps if batch <= shape.batch / 2), default=None)
    above = min((batch for batch in steps if batch >= shape.batch * 2), default=None)
    at = above if below is None else below
    if at is None:
        return None
    (few, few_s), (many, many_s) = sorted([(at, steps[at]), (shape.value, own_s)])
    exponent = math.log(many_s / few_s) / math.log(many / few)
    values = {"few": few, "many": many, "few_s": few_s, "many_s": many_s}
    return StepGrowth(exponent, values)


def but_for_batch(cell: Cell) -> Hashable:
    engine = cell.engine and (repr(replace(cell.engine, env={})), *sorted(cell.engine.env.items()))
    return (
        cell.model,
        engine,  # `env` has no hash
        cell.prompt_tokens,
        cell.output_tokens,
        workload_key(cell.workload),
    )


def but_for_gpus(cell: Cell) -> Hashable:
    engine = cell.engine and replace(cell.engine, tensor_parallel=1, pipeline_parallel=1)
    return (*but_for_batch(replace(cell, engine=engine)), cell.shape)  # type: ignore[misc]


def others_alike(case: Subject, key: Key) -> list[Record]:
    """The other good runs of the experiment that are alike but for one thing."""
    own = case.record
    return [record for record in case.among.alike(own.cell, key) if record.id != own.id]
