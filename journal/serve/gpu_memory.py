"""The NVIDIA cards of this host, as far as starting and stopping an engine needs to know them."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from journal.records.progress import Event, Listener
from journal.units import data_size

RELEASE_S = 30.0
SLACK_BYTES = 256 * 2**20  # what a desktop takes and gives back meanwhile


def _each(question: Callable[[Any], Any], cards: Sequence[int] | None = None) -> list[Any]:
    """NVML's answer to `question`, given a card's handle, for each of `cards` (by default all);
    none where there is no driver, or one that fails: then the meters say why."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        chosen = range(pynvml.nvmlDeviceGetCount()) if cards is None else cards
        return [question(pynvml.nvmlDeviceGetHandleByIndex(card)) for card in chosen]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def total_bytes() -> tuple[int, ...]:
    """The memory of each card, by NVML index; empty where there is no card."""
    import pynvml

    return tuple(_each(lambda card: int(pynvml.nvmlDeviceGetMemoryInfo(card).total)))


def used_bytes(cards: Sequence[int]) -> int:
    """The memory now used on `cards` together."""
    import pynvml

    return sum(_each(lambda card: int(pynvml.nvmlDeviceGetMemoryInfo(card).used), cards))


def holders(cards: Sequence[int]) -> tuple[int, ...]:
    """The ids of the processes that hold memory on `cards`, where the driver tells them."""
    import pynvml

    lists = _each(pynvml.nvmlDeviceGetComputeRunningProcesses, cards)
    return tuple(sorted({process.pid for processes in lists for process in processes}))


def disturbances(cards: Sequence[int], ours: Collection[int] = ()) -> list[str]:
    """What would disturb a measurement on `cards` that began now, in a sentence each. `ours` are
    the processes that belong there."""
    import pynvml

    from journal.doubts.rule import listed
    from journal.doubts.serving import THROTTLE_REASONS

    found = []
    for card in cards:
        others = sorted(set(holders([card])) - set(ours))
        if others:
            pids = listed([str(pid) for pid in others])
            found.append(f"other processes ({pids}) are on card {card}: end them")
        slowed = sum(_each(pynvml.nvmlDeviceGetCurrentClocksEventReasons, [card]))
        causes = [name for bit, name in THROTTLE_REASONS.items() if slowed & bit]
        if causes:
            found.append(f"card {card} is slowed down by {listed(causes)}: cool it, or wait")
    return found


def names(cards: Sequence[int]) -> tuple[str, ...]:
    """The names of `cards`, as the driver gives them."""
    import pynvml

    return tuple(str(name) for name in _each(pynvml.nvmlDeviceGetName, cards))


def held_by(pids: Collection[int]) -> tuple[int, ...]:
    """The cards on which one of the processes `pids` holds memory, where the driver tells."""
    every = range(len(total_bytes()))
    return tuple(card for card in every if not set(pids).isdisjoint(holders([card])))


def seen(env: Mapping[str, str]) -> tuple[int, ...]:
    """The NVML indices of the cards that CUDA shows to a process with these variables, its
    CUDA_DEVICE_ORDER being PCI_BUS_ID. Where they name cards other than by number, all."""
    every = tuple(range(len(total_bytes())))
    named = env.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return every
    parts = [part.strip() for part in named.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        return every
    return tuple(int(part) for part in parts if int(part) in every)


def wait_for_release(
    cards: Sequence[int],
    baseline_bytes: int,
    listener: Listener,
    patience_s: float = RELEASE_S,
) -> None:
    """Waits until a stopped engine's memory is back, so that the next one finds it; after
    `patience_s` says who holds it, and goes on."""
    deadline = time.monotonic() + patience_s
    while (held_bytes := used_bytes(cards) - baseline_bytes) > SLACK_BYTES:
        if time.monotonic() > deadline:
            pids = ", ".join(map(str, holders(cards))) or "unknown to the driver"
            told = f"{data_size(held_bytes)} of VRAM are still held (processes: {pids})"
            listener(Event("engine", told))
            return
        listener(Event("engine", f"waiting for {data_size(held_bytes)} of VRAM to be freed"))
        time.sleep(0.5)
