"""The check before a measurement: conditions of this machine that would disturb it."""

from collections.abc import Sequence

from journal.errors import Unfit
from journal.measure import host
from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.progress import Event, Listener


class Around:
    """A look at this machine that begins now. It takes a moment, in which other work can be
    done."""

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self._endpoint = endpoint
        self._host = host.HostWatch(endpoint.pid if endpoint else None)

    def tell(self, planned: Sequence[Cell], strict: bool, listener: Listener) -> None:
        """Report each condition that would disturb a measurement that began now to `listener`.
        Raises Unfit with all of them if `strict`."""
        sentences = self._host.disturbances() + self._on_gpus(planned)
        if sentences and strict:
            raise Unfit(f"this machine is not fit for a strict measurement: {'; '.join(sentences)}")
        for sentence in sentences:
            listener(Event("warning", f"doubts are to be expected, because {sentence}"))

    def _on_gpus(self, planned: Sequence[Cell]) -> list[str]:
        from journal.measure.process import ProcessTree
        from journal.serve import gpu_memory
        from journal.serve.start import gpus_of

        endpoint = self._endpoint
        if endpoint is None:
            engines = [engine for engine, _ in by_engine(planned) if engine]
            used = dict.fromkeys(gpu for engine in engines for gpu in gpus_of(engine))
            return gpu_memory.gpu_disturbances(sorted(used, key=str))
        if endpoint.pid is None:
            return []
        ours = ProcessTree(endpoint.pid).pids
        return gpu_memory.gpu_disturbances(endpoint.gpus or gpu_memory.held_by(ours), ours)
