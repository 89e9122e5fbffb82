"""The memory of an engine's GPUs before its start and after its end, and what disturbs there. Where
the driver does not answer nothing is known, and the meters say why."""

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
SLACK_BYTES = 256 * 2**20  # what a desktop takes and gives back meanwhile


def _open(which: Sequence[GpuName] | None = None) -> "Gpus":
    from journal.measure.gpu import Gpus

    return Gpus(which)


def seen(env: Mapping[str, str]) -> "Visible":
    """The GPUs that CUDA shows to a process with the variables `env`, its CUDA_DEVICE_ORDER being
    PCI_BUS_ID; none where this host has none. Raises MeasureError where the driver does not
    answer, SpecError where CUDA_VISIBLE_DEVICES names what is not here."""
    from journal.measure.nvml import has_none
    from journal.measure.visible_gpus import Visible, visible

    try:
        return visible(env)
    except MeasureError as error:
        if has_none(error):
            return Visible()
        raise


def here() -> "tuple[Gpu, ...]":
    """The GPUs that this process sees; none where there is no driver, or one that fails."""
    with suppress(MeasureError), _open() as opened:
        return opened.gpus
    return ()


def held_bytes(gpus: Sequence[GpuName]) -> int | None:
    """The memory now in use on `gpus` together; None where that is not known of each."""
    with suppress(MeasureError), _open(gpus) as opened:
        sizes = opened.held_bytes()
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(gpus) else None
    return None


def holders(gpus: Sequence[GpuName]) -> tuple[int, ...]:
    """The ids of the processes that compute on `gpus`, where the driver lists them."""
    with suppress(MeasureError), _open(gpus) as opened:
        return opened.computing()
    return ()


def names(gpus: Sequence[GpuName]) -> tuple[str, ...]:
    """The names of `gpus`, where the driver gives them."""
    with suppress(MeasureError), _open(gpus) as opened:
        return tuple(gpu.name for gpu in opened.gpus if gpu.name is not None)
    return ()


def held_by(pids: Collection[int]) -> tuple[GpuName, ...]:
    """The GPUs on which one of the processes `pids` holds memory, where the driver lists them."""
    with suppress(MeasureError), _open() as opened:
        return tuple(opened.holding(frozenset(pids)))
    return ()


def disturbances(gpus: Sequence[GpuName], ours: Collection[int] = ()) -> list[str]:
    """What would disturb a measurement on `gpus` that began now, in a sentence each. `ours` are
    the processes that belong there."""
    from journal.doubts.rule import listed

    found = []
    for gpu in gpus:
        others = sorted(set(holders([gpu])) - set(ours))
        if others:
            pids = listed([str(pid) for pid in others])
            found.append(f"other processes ({pids}) are on GPU {gpu}: end them")
        causes = _slowed_by(gpu)
        if causes:
            found.append(f"GPU {gpu} is slowed down by {listed(causes)}: cool it, or wait")
    return found


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
    """Waits until a stopped engine's memory is back, so that the next one finds it; after
    `patience_s` says who holds it, and goes on."""
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
