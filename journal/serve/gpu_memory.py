"""The memory of an engine's GPUs before its start and after its end, and disturbances there. Where
the driver does not answer, nothing is known, and the meters report why."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from journal.errors import MeasureError
from journal.records.engine import GpuName
from journal.records.progress import Event, Listener
from journal.units import data_size

if TYPE_CHECKING:
    from journal.measure.gpu import Gpu, Gpus
    from journal.measure.visible_gpus import Visible

RELEASE_S = 30.0
SLACK_BYTES = 256 * 2**20  # a desktop's use changes by as much meanwhile


def _open(which: Sequence[GpuName] | None = None) -> "Gpus":
    from journal.measure.gpu import Gpus

    return Gpus(which)


def visible_to(env: Mapping[str, str]) -> "Visible":
    """The GPUs that CUDA shows to a process with the variables `env`, with CUDA_DEVICE_ORDER set to
    PCI_BUS_ID; none where this host has none. Raises MeasureError where the driver does not answer,
    SpecError where CUDA_VISIBLE_DEVICES names a GPU that is not here."""
    from journal.measure.nvml import has_none
    from journal.measure.visible_gpus import Visible, visible_gpus

    try:
        return visible_gpus(env)
    except MeasureError as error:
        if has_none(error):
            return Visible()
        raise


def here() -> "tuple[Gpu, ...]":
    """The GPUs that this process sees; empty without a driver, or where the driver fails."""
    with suppress(MeasureError), _open() as opened:
        return opened.gpus
    return ()


def held_bytes(gpus: Sequence[GpuName]) -> int | None:
    """The memory in use on `gpus` together in bytes; None where it is not known for each."""
    with suppress(MeasureError), _open(gpus) as opened:
        sizes = opened.held_bytes()
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(gpus) else None
    return None


def holders(gpus: Sequence[GpuName]) -> tuple[int, ...]:
    """The ids of the processes that compute on `gpus`; empty where the driver does not list
    them."""
    with suppress(MeasureError), _open(gpus) as opened:
        return opened.computing()
    return ()


def names(gpus: Sequence[GpuName]) -> tuple[str, ...]:
    """The names of `gpus`, as far as the driver gives them."""
    with suppress(MeasureError), _open(gpus) as opened:
        return tuple(gpu.name for gpu in opened.gpus if gpu.name is not None)
    return ()


def held_by(pids: Collection[int]) -> tuple[GpuName, ...]:
    """The GPUs on which one of the processes `pids` holds memory; empty where the driver does not
    list processes."""
    with suppress(MeasureError), _open() as opened:
        return tuple(opened.holding(frozenset(pids)))
    return ()


def gpu_disturbances(gpus: Sequence[GpuName], ours: Collection[int] = ()) -> list[str]:
    """The conditions that would disturb a measurement on `gpus` that began now, a sentence each.
    `ours` are the processes that belong there."""
    from journal.doubts.rule import listed

    sentences = []
    for gpu in gpus:
        others = sorted(set(holders([gpu])) - set(ours))
        if others:
            pids = listed([str(pid) for pid in others])
            sentences.append(f"other processes ({pids}) are on GPU {gpu}: end them")
        causes = _slowed_by(gpu)
        if causes:
            sentences.append(f"GPU {gpu} is slowed down by {listed(causes)}: cool it, or wait")
    return sentences


def _slowed_by(gpu: GpuName) -> list[str]:
    from journal.doubts.serving import THROTTLE_REASONS
    from journal.doubts.words import part

    with suppress(MeasureError), _open([gpu]) as opened:
        (reading,) = opened.look(0.0)
        bits = reading.throttle_reasons or 0
        slowed = [cause for bit, cause in THROTTLE_REASONS.items() if bits & bit]
        return [part("throttled", "causes", cause) for cause in slowed]
    return []


def wait_for_release(
    gpus: Sequence[GpuName],
    baseline_bytes: int,
    listener: Listener,
    patience_s: float = RELEASE_S,
) -> None:
    """Wait until a stopped engine's memory is free, so that the next engine can use it. After
    `patience_s` report the processes that hold it to `listener`, and return."""
    deadline = time.monotonic() + patience_s
    while (now_bytes := held_bytes(gpus)) is not None:
        left_bytes = now_bytes - baseline_bytes
        if left_bytes <= SLACK_BYTES:
            return
        if time.monotonic() > deadline:
            pids = ", ".join(map(str, holders(gpus))) or "unknown to the driver"
            held = f"{data_size(left_bytes)} of VRAM are still held (processes: {pids})"
            listener(Event("engine", held))
            return
        listener(Event("engine", f"waiting for {data_size(left_bytes)} of VRAM to be freed"))
        time.sleep(0.5)
