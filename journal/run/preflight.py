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


def look_around(
    planned: Sequence[Cell], endpoint: Endpoint | None, strict: bool, listener: Listener
) -> None:
    """Tell what would disturb a measurement that began now. Raises Unfit for it if `strict`."""
    pid = endpoint.pid if endpoint else None
    found = host.disturbances(pid)
    if endpoint is None:
        engines = [engine for engine, _ in by_engine(planned) if engine]
        used = dict.fromkeys(gpu for engine in engines for gpu in gpus_of(engine))
        found += gpu_memory.disturbances(sorted(used, key=str))
    elif pid is not None:
        ours = ProcessTree(pid).pids
        found += gpu_memory.disturbances(endpoint.gpus or gpu_memory.held_by(ours), ours)
    if found and strict:
        raise Unfit(f"this machine is not fit for a strict measurement: {'; '.join(found)}.")
    for sentence in found:
        listener(Event("prepare", f"doubts are to be expected, because {sentence}"))
