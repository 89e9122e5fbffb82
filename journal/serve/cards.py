"""The NVIDIA cards of this host, as far as starting and stopping an engine needs to know them."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from journal.records import Event, Listener
from journal.units import data_size

RELEASE_S = 30.0
SLACK_BYTES = 256 * 2**20  # a desktop's own coming and going


@contextmanager
def _nvml() -> Iterator[bool]:
    """NVML, opened; False where this host has no NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def total_bytes() -> tuple[int, ...]:
    """The memory of each card, by NVML index; empty where there is no card."""
    import pynvml

    with _nvml() as there:
        count = pynvml.nvmlDeviceGetCount() if there else 0
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return tuple(pynvml.nvmlDeviceGetMemoryInfo(handle).total for handle in handles)


def visible(count: int, env: Mapping[str, str]) -> tuple[int, ...]:
    """The NVML indices, of `count` cards, that CUDA_VISIBLE_DEVICES lets an engine see. Cards
    named there by anything but their number are not told apart: then all are meant."""
    said = env.get("CUDA_VISIBLE_DEVICES")
    every = tuple(range(count))
    if said is None:
        return every
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        return every
    return tuple(int(part) for part in parts if int(part) < count)


def used_bytes(cards: Sequence[int]) -> int:
    """The memory now used on `cards` together."""
    import pynvml

    with _nvml() as there:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(card) for card in cards] if there else []
        return sum(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles)


def holders(cards: Sequence[int]) -> tuple[int, ...]:
    """The process ids that hold memory on `cards`, where the driver tells them."""
    import pynvml

    found: set[int] = set()
    with _nvml() as there:
        for card in cards if there else ():
            handle = pynvml.nvmlDeviceGetHandleByIndex(card)
            found |= {one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    return tuple(sorted(found))


def wait_for_release(cards: Sequence[int], baseline_bytes: int, listener: Listener) -> None:
    """Waits until a stopped engine's memory is back, so that the next one finds it; after
    `RELEASE_S` says who holds it and goes on."""
    deadline = time.monotonic() + RELEASE_S
    while (held := used_bytes(cards) - baseline_bytes) > SLACK_BYTES:
        if time.monotonic() > deadline:
            pids = ", ".join(map(str, holders(cards))) or "unknown to the driver"
            told = f"{data_size(held)} of VRAM are still held (processes: {pids})"
            listener(Event("engine", told))
            return
        listener(Event("engine", f"waiting for {data_size(held)} of VRAM to be freed"))
        time.sleep(0.5)


def environment_cards(env: Mapping[str, str] | None = None) -> tuple[int, ...]:
    """The cards that a process with these variables sees; empty where there is none."""
    return visible(len(total_bytes()), os.environ if env is None else env)
