"""A look around before anything is measured: what would disturb it."""

from collections.abc import Sequence

from journal.errors import Unfit
from journal.measure import host
from journal.measure.process import ProcessTree
from journal.plan.cells import by_engine
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.progress import Event, Listener
from journal.serve import gpu_memory as cards
from journal.serve.start import cards_of


def look_around(
    planned: Sequence[Cell], endpoint: Endpoint | None, strict: bool, listener: Listener
) -> None:
    """Tell what would disturb a measurement that began now. Raises Unfit for it if `strict`."""
    pid = endpoint.pid if endpoint else None
    found = host.disturbances(pid)
    if endpoint is None:
        used = {card for engine, _ in by_engine(planned) if engine for card in cards_of(engine)}
        found += cards.disturbances(sorted(used))
    elif pid is not None:
        ours = ProcessTree(pid).pids
        found += cards.disturbances(endpoint.gpus or cards.held_by(ours), ours)
    if found and strict:
        raise Unfit(f"this machine is not fit for a strict measurement: {'; '.join(found)}.")
    for sentence in found:
        listener(Event("prepare", f"doubts are to be expected, because {sentence}"))
