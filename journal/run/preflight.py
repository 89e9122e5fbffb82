"""A look around before anything is measured: what would disturb it."""

from collections.abc import Sequence

from journal.errors import Unfit
from journal.measure import host
from journal.measure.process import ProcessTree
from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.progress import Event, Listener
from journal.serve import gpu_memory
from journal.serve.start import gpus_of


class Around:
    """A look around that begins now: it takes a moment, in which other things can be done."""

    def __init__(self, planned: Sequence[Cell], endpoint: Endpoint | None) -> None:
        self._planned, self._endpoint = planned, endpoint
        self._host = host.Watch(endpoint.pid if endpoint else None)

    def tell(self, strict: bool, listener: Listener) -> None:
        """Tell what would disturb a measurement that began now. Raises Unfit for it if
        `strict`."""
        found = self._host.disturbances() + self._on_gpus()
        if found and strict:
            raise Unfit(f"this machine is not fit for a strict measurement: {'; '.join(found)}.")
        for sentence in found:
            listener(Event("prepare", f"doubts are to be expected, because {sentence}"))

    def _on_gpus(self) -> list[str]:
        endpoint = self._endpoint
        if endpoint is None:
            engines = [engine for engine, _ in by_engine(self._planned) if engine]
            used = dict.fromkeys(gpu for engine in engines for gpu in gpus_of(engine))
            return gpu_memory.disturbances(sorted(used, key=str))
        if endpoint.pid is None:
            return []
        ours = ProcessTree(endpoint.pid).pids
        return gpu_memory.disturbances(endpoint.gpus or gpu_memory.held_by(ours), ours)


def look_around(
    planned: Sequence[Cell], endpoint: Endpoint | None, strict: bool, listener: Listener
) -> None:
    """What an Around that begins now tells."""
    Around(planned, endpoint).tell(strict, listener)
