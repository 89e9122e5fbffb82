"""What goes between the process that stores measurements and those that make them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from journal.records.cell import Cell
from journal.records.engine import Endpoint, GpuName
from journal.records.experiment import Engine
from journal.records.progress import Event, Listener
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples

Serve = Callable[[Engine, Path, Listener], AbstractContextManager[Endpoint]]


@dataclass(frozen=True, slots=True)
class Task:
    """The cells of one engine, to be measured but for those whose record is `known` by their
    identity. `afar`: perhaps not on the host that stores them."""

    group: tuple[Cell, ...]
    begun: ExperimentRecord
    known: Mapping[str, Record]
    log_path: Path
    serve: Serve
    strict: bool = False
    afar: bool = False

    @property
    def engine(self) -> Engine:
        engine = self.group[0].engine
        assert engine is not None
        return engine


@dataclass(frozen=True, slots=True)
class Arrived:
    """A process begins on a task, on this host and these GPUs."""

    host: str
    gpus: tuple[GpuName, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A run, not summed up yet. Its sender waits for the record as it was kept."""

    record: Record
    samples: Samples | None


@dataclass(frozen=True, slots=True)
class Ended:
    """All cells of a task came to their end."""


@dataclass(frozen=True, slots=True)
class Message:
    """News, and when it was, on the monotonic clock of the sender's host."""

    at_s: float
    news: Arrived | Event | Made | Ended
