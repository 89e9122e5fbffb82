"""The collector of messages from engines that are measured in other processes or on other hosts: it
reports events and keeps each run once, with its neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from journal.doubts.rule import listed
from journal.records.engine import EngineFacts, GpuName, Neighbour
from journal.records.progress import Event, Listener
from journal.records.run import Record
from journal.records.samples import Samples
from journal.run.measure_engine import Keep, unmeasured
from journal.run.parallel.messages import Arrived, Ended, Made, Message, Task
from journal.serve.describe import undescribed

Place = Callable[[int, Arrived], str]


def task_place(number: int, news: Arrived) -> str:
    """The place of a task on its host in a few words: its GPUs, or the number of the engine."""
    if not news.gpus:
        return f"engine {number + 1}"
    return f"GPU{'s' * (len(news.gpus) > 1)} {listed([str(gpu) for gpu in news.gpus])}"


@dataclass(slots=True)
class _Stay:
    """The stay of an engine on a host. All times are in s by that host's clock; a span of `busy`
    has no end while it lasts."""

    model: str
    host: str
    gpus: tuple[GpuName, ...]
    where: str
    since_s: float
    heard_s: float = 0.0
    left: bool = False
    busy: list[tuple[float, float | None]] = field(default_factory=list)

    def begin(self, at_s: float) -> None:
        self.heard_s = at_s
        if not self.busy or self.busy[-1][1] is not None:
            self.busy.append((at_s, None))

    def rest(self, at_s: float) -> None:
        self.heard_s = at_s
        if self.busy and self.busy[-1][1] is None:
            self.busy[-1] = (self.busy[-1][0], at_s)

    def leave(self) -> None:
        self.rest(self.heard_s)
        self.left = True

    def seen_from(self, start_s: float, end_s: float) -> Neighbour | None:
        """This engine as the neighbour of a run from `start_s` to `end_s`; None where it was not
        there."""
        if self.since_s >= end_s or (self.left and self.heard_s <= start_s):
            return None
        spans = [(max(a, start_s), end_s if b is None else min(b, end_s)) for a, b in self.busy]
        busy_s = tuple((a - start_s, b - start_s) for a, b in spans if a < b)
        return Neighbour(model=self.model, gpus=self.gpus, busy_s=busy_s)


class Collector:
    """The receiver of messages of several tasks, which are known by their places in `tasks`.
    `records` has the record of each cell that arrived, by its identity: the same cell is never kept
    twice. `place` gives the place of a task in a few words."""

    def __init__(
        self,
        tasks: Sequence[Task],
        keep: Keep,
        listener: Listener,
        place: Place,
    ) -> None:
        self.tasks = tasks
        self.records = dict(tasks[0].known)
        self._keep, self._listener, self._place = keep, listener, place
        self._now: dict[int, _Stay] = {}
        self._stays: list[_Stay] = []
        self._ended: set[int] = set()

    def take(self, number: int, message: Message, answer: Callable[[Record], None]) -> None:
        """Act on a message; pass the record that its sender waits for to `answer`, whatever
        happens."""
        match message.news:
            case Arrived() as news:
                model, where = self.tasks[number].engine.model, self._place(number, news)
                self._move(number, where)
                stay = _Stay(model, news.host, news.gpus, where, message.at_s)
                self._now[number] = stay
                self._stays.append(stay)
            case Event() as event:
                self._now[number].begin(message.at_s)
                self._listener(replace(event, where=self._now[number].where))
            case Made(record, samples):
                stored = record
                try:
                    stored = self._made(self._now[number], message.at_s, record, samples)
                finally:
                    answer(stored)
            case Ended():
                self._ended.add(number)

    def _move(self, number: int, where: str) -> None:
        """End the stay of a task that begins again: its host was lost."""
        stay = self._now.get(number)
        if stay is not None:
            stay.leave()
            message = f"lost: what it had not measured yet is measured by {where}"
            self._listener(Event("engine", message, 1, 1, stay.where))

    def leave(self, number: int, why: str | None) -> None:
        """End a task. Its cells that have not arrived fail with the reason `why`; None leaves them
        as they are."""
        task, stay = self.tasks[number], self._now.pop(number, None)
        if stay is not None:
            stay.leave()
            self._listener(Event("engine", "done", 1, 1, stay.where))
        if why is None or number in self._ended:
            return
        facts = undescribed(task.engine, EngineFacts())
        for cell in task.group:
            if cell.identity not in self.records:
                record = self._keep(unmeasured(cell, task.begun, why, facts), None)
                self.records[cell.identity] = record

    def _made(self, stay: _Stay, at_s: float, record: Record, samples: Samples | None) -> Record:
        stay.rest(at_s)
        there = self.records.get(record.cell.identity)
        if there is not None:
            return there
        if samples is not None:
            facts = replace(
                record.facts, neighbours=self._beside(stay, at_s - record.duration_s, at_s)
            )
            record, samples = replace(record, facts=facts), replace(samples, facts=facts)
        stored = self._keep(record, samples)
        if stored.status != "interrupted":
            self.records[stored.cell.identity] = stored
        return stored

    def _beside(self, stay: _Stay, start_s: float, end_s: float) -> tuple[Neighbour, ...]:
        others = [other for other in self._stays if other is not stay and other.host == stay.host]
        seen = (other.seen_from(start_s, end_s) for other in others)
        return tuple(neighbour for neighbour in seen if neighbour is not None)
