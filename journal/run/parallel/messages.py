"""Messages between the process that stores measurements and those that make them."""

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
    """The cells of one engine to be measured, except those whose record is `known`, by identity.
    `remote`: perhaps on another host than the one that stores them."""

    group: tuple[Cell, ...]
    begun: ExperimentRecord
    known: Mapping[str, Record]
    log_path: Path
    serve: Serve
    strict: bool = False
    remote: bool = False

    @property
    def engine(self) -> Engine:
        """The engine that all cells of the task share."""
        engine = self.group[0].engine
        assert engine is not None
        return engine


@dataclass(frozen=True, slots=True)
class Arrived:
    """The message that a process begins a task on this host and these GPUs."""

    host: str
    gpus: tuple[GpuName, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """The message with a run that is not summed up yet. Its sender waits for the stored record."""

    record: Record
    samples: Samples | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The message that all cells of a task have ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message and the time at which it was sent, in s on the monotonic clock of the sender's
    host."""

    at_s: float
    news: Arrived | Event | Made | Ended
