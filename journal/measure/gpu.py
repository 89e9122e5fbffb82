"""NVIDIA cards, read through NVML: the driver's own library, by way of nvidia-ml-py.

What a card does not tell is None in its readings and a sentence in `absent`; what stops reading
altogether is a MeasureError. Cards of other makers are out of scope.

Sensors have a pace of their own. Memory is counted at the call, but NVML's utilisation is taken
over 1/6 s to 1 s and its power over up to 1 s, depending on the card. So no card is looked at more
often than every SENSOR_PERIOD_S, and nothing finer is claimed.
Source: NVML API Reference, nvmlUtilization_t and nvmlDeviceGetPowerUsage.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import pynvml

from journal.errors import MeasureError
from journal.records.samples import GpuReading

SENSOR_PERIOD_S = 0.1

STOPS = {
    pynvml.NVML_ERROR_NO_PERMISSION: "This user may not talk to the NVIDIA driver: check who may"
    " open /dev/nvidia*.",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "A card lacks external power: check its cables.",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA driver is installed but not loaded: load it"
    " (modprobe nvidia) or reboot.",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "No NVIDIA driver is installed here (libnvidia-ml.so.1"
    " was not found), so VRAM cannot be read; a container needs --gpus all.",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "The NVIDIA driver is too old to be read: update it.",
    pynvml.NVML_ERROR_GPU_IS_LOST: "The driver has lost the card: look for its Xid in dmesg, then"
    " reset the card or reboot.",
    pynvml.NVML_ERROR_RESET_REQUIRED: "The card must be reset before it can be read.",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "The operating system blocks the NVIDIA driver: check the"
    " sandbox or the device cgroup.",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver was updated while the old one"
    " is still loaded: reboot.",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "The NVIDIA driver finds no card: check nvidia-smi.",
}
LOST = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
}
NEVER = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "this card does not know the question",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not supported by this card, its MIG mode or this platform",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not read it",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old to tell",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "this driver speaks another version of NVML",
    pynvml.NVML_ERROR_DEPRECATED: "this driver no longer tells",
}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as NVML names it. `reserved_bytes` is what driver and firmware keep of `total_bytes`;
    where it is known it is no part of a reading's `used_bytes`. `mig`: cut into instances."""

    index: int
    name: str | None
    uuid: str | None
    total_bytes: int | None
    reserved_bytes: int | None
    mig: bool


def visible(setting: str | None) -> list[int | str] | None:
    """The cards named by a value of CUDA_VISIBLE_DEVICES, as indices and UUIDs; None for all.

    As in CUDA, nothing counts from the first entry on that names no card. CUDA sorts its indices
    by speed unless CUDA_DEVICE_ORDER=PCI_BUS_ID, NVML by bus: where cards differ, name UUIDs.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    if setting is None:
        return None
    cards: list[int | str] = []
    for entry in map(str.strip, setting.split(",")):
        if entry.isascii() and entry.isdigit():
            cards.append(int(entry))
        elif entry.startswith(("GPU-", "MIG-")):
            cards.append(entry)
        else:
            break
    return cards


def driver() -> tuple[str, str]:
    """The versions of the driver and of the newest CUDA that it serves, while Cards are open."""
    with _speaking():
        version: str = pynvml.nvmlSystemGetDriverVersion()
        cuda: int = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    return version, f"{cuda // 1000}.{cuda % 1000 // 10}"


class Cards:
    """The cards `which` (NVML indices or UUIDs; None: those in CUDA_VISIBLE_DEVICES, else all),
    open until `close`. Raises MeasureError, with the reason, when one cannot be opened."""

    def __init__(self, which: Sequence[int | str] | None = None) -> None:
        with _speaking():
            pynvml.nvmlInit()
        try:
            with _speaking():
                self._all = [_Device(*found) for found in _find(which)]
        except MeasureError:
            self.close()
            raise
        self._readable = list(self._all)
        self._lost: list[str] = []

    @property
    def cards(self) -> tuple[Card, ...]:
        return tuple(device.card for device in self._all)

    @property
    def absent(self) -> tuple[str, ...]:
        """What the looks so far could not get, in a sentence each."""
        unread = [sentence for device in self._all for sentence in device.absent]
        return (*self._lost, *unread)

    def look(self, at_s: float, pids: frozenset[int] | None = None) -> list[GpuReading]:
        """One reading of each card. `pids` is the server's process tree, None if not known here.
        A card that is lost is read no more; raises MeasureError when none is left."""
        readings = []
        for device in tuple(self._readable):
            try:
                readings.append(device.look(at_s, pids))
            except pynvml.NVMLError as error:
                self._readable.remove(device)
                self._lost.append(
                    f"Card {device.card.index} was read no more after {at_s:.1f} s. "
                    f"{_reason(error)}"
                )
        if not readings:
            raise MeasureError("No card is left to be read.")
        return readings

    def holding(self, pids: frozenset[int]) -> list[int]:
        """The indices of the cards on which NVML lists one of the processes `pids`."""
        with _speaking():
            return [
                device.card.index
                for device in self._readable
                if not pids.isdisjoint(device.processes() or ())
            ]

    def close(self) -> None:
        with contextlib.suppress(pynvml.NVMLError):  # the driver may have gone before us
            pynvml.nvmlShutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Device:
    """One open card. A question that it will never answer is asked once."""

    def __init__(self, handle: Any, index: int) -> None:
        self._handle, self._name = handle, f"Card {index}"
        self._never: set[object] = set()  # questions
        self._unanswered: dict[str, str] = {}
        self._listed: bool | None = None  # has NVML listed one of the server's processes?
        memory = self._memory()
        mode = self._ask("MIG mode", pynvml.nvmlDeviceGetMigMode)
        self.card = Card(
            index=index,
            name=self._ask("name", pynvml.nvmlDeviceGetName),
            uuid=self._ask("UUID", pynvml.nvmlDeviceGetUUID),
            total_bytes=memory.total if memory else None,
            reserved_bytes=getattr(memory, "reserved", None),
            mig=bool(mode and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
        )
        self._unanswered.pop("MIG mode", None)  # cards without MIG do not know the question

    @property
    def absent(self) -> list[str]:
        sentences = list(self._unanswered.values())
        if self.card.mig:
            sentences.append(
                f"{self._name} is cut into MIG instances: memory is the whole card's, other"
                " instances included; name the instance by its UUID in CUDA_VISIBLE_DEVICES."
            )
        if self._listed is False:
            sentences.append(
                f"{self._name}: NVML lists none of the server's processes (containers, WSL and"
                " MIG hide them), so the server's own share of the memory is not known: use the"
                " card's change over its baseline."
            )
        return sentences

    def look(self, at_s: float, pids: frozenset[int] | None) -> GpuReading:
        memory = self._memory()
        ours, others = self._shares(pids)
        rates = self._ask("utilisation", pynvml.nvmlDeviceGetUtilizationRates)
        milliwatts = self._ask("power", pynvml.nvmlDeviceGetPowerUsage)
        millijoules = self._ask("energy", pynvml.nvmlDeviceGetTotalEnergyConsumption)
        sm_mhz = self._ask("SM clock", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM)
        memory_mhz = self._ask("memory clock", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM)
        return GpuReading(
            at_s=at_s,
            device=self.card.index,
            used_bytes=None if memory is None else memory.used,
            total_bytes=None if memory is None else memory.total,
            process_bytes=ours,
            other_processes=others,
            utilisation_fraction=None if rates is None else rates.gpu / 100,
            power_w=None if milliwatts is None else milliwatts / 1e3,
            energy_j=None if millijoules is None else millijoules / 1e3,
            sm_clock_hz=None if sm_mhz is None else sm_mhz * 1e6,
            memory_clock_hz=None if memory_mhz is None else memory_mhz * 1e6,
            temperature_c=self._ask(
                "temperature", pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU
            ),
            throttle_reasons=self._either(
                "throttle reasons",
                pynvml.nvmlDeviceGetCurrentClocksEventReasons,
                pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,  # before driver 535
            ),
        )

    def processes(self) -> dict[int, int | None] | None:
        """Process id -> bytes on the card (None where hidden), as NVML lists them; None where it
        lists none at all."""
        compute = self._either(
            "compute processes",
            pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
            pynvml.nvmlDeviceGetComputeRunningProcesses_v2,  # before driver 510
        )
        if compute is None:
            return None
        graphics = self._either(
            "graphics processes",
            pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
            pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
        )
        return {process.pid: process.usedGpuMemory for process in (graphics or []) + compute}

    def _shares(self, pids: frozenset[int] | None) -> tuple[int | None, int | None]:
        """Bytes of the processes `pids`, and how many other processes are on the card. Both None
        where NVML shows none of `pids`: they may be there under numbers of another namespace."""
        listed = self.processes()
        if listed is None or pids is None:
            return None, None
        ours = [used for pid, used in listed.items() if pid in pids]
        self._listed = self._listed or bool(ours)
        if not ours:
            return None, None
        known = [used for used in ours if used is not None]
        if len(known) < len(ours):
            self._unanswered["share"] = f"{self._name} does not tell the memory of each process."
        return sum(known) if len(known) == len(ours) else None, len(listed) - len(ours)

    def _memory(self) -> Any:
        """NVML's second form of memory keeps what the driver reserves apart; older drivers know
        only the first, in which it counts as used."""
        return self._either("memory", _memory_v2, pynvml.nvmlDeviceGetMemoryInfo)

    def _either(
        self, what: str, new: Callable[..., Value], old: Callable[..., Value]
    ) -> Value | None:
        """The answer of `new` or, once the driver has said that it does not know it, of `old`."""
        if (new,) not in self._never:
            answer = self._ask(what, new)
            if (new,) not in self._never:
                return answer
            self._unanswered.pop(what, None)
        return self._ask(what, old)

    def _ask(self, what: str, question: Callable[..., Value], *details: int) -> Value | None:
        """The card's answer; None and a sentence when it has none. Raises what means the end."""
        asked = (question, *details)
        if asked in self._never:
            return None
        try:
            return question(self._handle, *details)
        except pynvml.NVMLError as error:
            if error.value in LOST:
                raise
            if error.value in NEVER:
                self._never.add(asked)
            reason = NEVER.get(error.value, f"NVML says {error}")
            self._unanswered.setdefault(what, f"{self._name} does not tell its {what}: {reason}.")
            return None


def _memory_v2(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)


def _find(which: Sequence[int | str] | None) -> list[tuple[Any, int]]:
    """Handle and index of each card. An instance of MIG has its card's index."""
    count = pynvml.nvmlDeviceGetCount()
    if which is None:
        which = visible(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if which is None:
        which = range(count)
    if not which:
        raise MeasureError("There is no NVIDIA card here, or CUDA_VISIBLE_DEVICES hides it.")
    found = []
    for name in which:
        handle = _handle(name, count)
        card = handle
        if str(name).startswith("MIG-"):
            card = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        found.append((handle, pynvml.nvmlDeviceGetIndex(card)))
    return found


def _handle(name: int | str, count: int) -> Any:
    try:
        if isinstance(name, int):
            return pynvml.nvmlDeviceGetHandleByIndex(name)
        if name.startswith("GPU-"):  # CUDA lets people shorten it
            for handle in map(pynvml.nvmlDeviceGetHandleByIndex, range(count)):
                if pynvml.nvmlDeviceGetUUID(handle).startswith(name):
                    return handle
        return pynvml.nvmlDeviceGetHandleByUUID(name)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_FOUND):
            raise MeasureError(f"There is no card {name} here: NVML sees {count}.") from error
        raise


@contextlib.contextmanager
def _speaking() -> Iterator[None]:
    """Turns NVML's errors into MeasureErrors."""
    try:
        yield
    except pynvml.NVMLError as error:
        raise MeasureError(_reason(error)) from error


def _reason(error: Any) -> str:
    return STOPS.get(error.value, f"NVML cannot be used: {error}. Check nvidia-smi.")
