"""NVIDIA GPUs, read through NVML (the driver's own library) with nvidia-ml-py.

A GPU counts by its handle. A figure that NVML does not give is None in its readings, and `absent`
says why; an error that ends all reading is a MeasureError. GPUs of other makers are out of scope.

Sensors have a pace of their own. Memory is counted at the call, but NVML averages utilisation over
1/6 s to 1 s and power over up to 1 s, depending on the GPU. So no GPU is read more often than
every SENSOR_PERIOD_S, and no figure claims a finer resolution.
Source: NVML API Reference, nvmlUtilization_t and nvmlDeviceGetPowerUsage.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import psutil
import pynvml

from journal.errors import MeasureError, SpecError
from journal.measure.absence import unreadable
from journal.measure.nvml import LOST, NEVER, absence_values, asking, shut
from journal.measure.visible_gpus import find_gpus, opened, resolve
from journal.records.doubt import Value, Values
from journal.records.engine import VISIBLE_GPUS, GpuName
from journal.records.samples import GpuReading

SENSOR_PERIOD_S = 0.1

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as NVML names it. `reserved_bytes` is the part of `total_bytes` that driver and
    firmware keep; where it is known, a reading's `used_bytes` leaves it out. `mig`: the GPU is
    divided into instances. `unified`: it shares the host's memory, and NVML gives neither size
    nor use of that. Absent figures are None."""

    index: int
    name: str | None
    uuid: str | None
    total_bytes: int | None
    reserved_bytes: int | None
    mig: bool
    unified: bool = False

    @property
    def memory_bytes(self) -> int | None:
        """The memory that the GPU may fill: its own, or the host's where it is unified."""
        return host_bytes() if self.unified else self.total_bytes


def host_bytes() -> int:
    """The memory of this host in bytes."""
    return int(psutil.virtual_memory().total)


def driver() -> tuple[str | None, str | None]:
    """The versions of the driver and of the newest CUDA that it supports, while Gpus are open;
    None where the driver is too old to give them. Raises MeasureError."""
    with asking():
        version: str | None = _of_driver(pynvml.nvmlSystemGetDriverVersion)
        cuda = _of_driver(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        if cuda is None:  # before driver 410
            cuda = _of_driver(pynvml.nvmlSystemGetCudaDriverVersion)
    return version, None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}"


def _of_driver(question: Callable[[], Answer]) -> Answer | None:
    try:
        return question()
    except pynvml.NVMLError as error:
        if error.value in NEVER:
            return None
        raise


class Gpus:
    """The GPUs `which` (NVML indices, or UUIDs or their beginnings; None: those that
    CUDA_VISIBLE_DEVICES shows), open until `close`. A GPU that the driver has lost appears only
    in `absent`. Raises MeasureError, with the reason, when no GPU can be opened."""

    def __init__(self, which: Sequence[GpuName] | None = None) -> None:
        with asking():
            pynvml.nvmlInit()
        self._all: list[_Device] = []
        self._lost: list[Values] = []
        try:
            with asking():
                self._open(which)
        except SpecError as error:
            shut()
            sentence = str(error)
            raise MeasureError(f"{sentence[0].upper()}{sentence[1:]}.") from error
        except MeasureError:
            shut()
            raise
        self._readable = list(self._all)

    def _open(self, which: Sequence[GpuName] | None) -> None:
        if which is None:
            visible = resolve(os.environ.get(VISIBLE_GPUS))
            names = visible.gpus
            self._lost += [_unusable(index, why) for index, why in visible.unusable.items()]
        else:
            names = find_gpus(which)
        if not names:
            raise unreadable("no_gpu_here", variable=VISIBLE_GPUS)
        first: pynvml.NVMLError | None = None
        for name in names:
            try:
                self._all.append(_Device(name, *opened(name)))
            except pynvml.NVMLError as error:
                first = first or error
                self._lost.append(_unusable(name, absence_values(error)))
        if first is not None and not self._all:
            raise first

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(device.gpu for device in self._all)

    @property
    def memory_bytes(self) -> list[int | None]:
        """The memory in bytes of each GPU that can still be read: the host's where it is unified;
        None where it is not known."""
        return [device.gpu.memory_bytes for device in self._readable]

    @property
    def absent(self) -> tuple[Values, ...]:
        """The figures that the looks so far lack, each as the values of a doubt "absent"."""
        unread = [values for device in self._all for values in device.absent]
        return (*self._lost, *unread)

    def look(self, at_s: float, pids: frozenset[int] | None = None) -> list[GpuReading]:
        """One reading of each GPU. `pids` is the server's process tree (None: not known here). A
        lost GPU is not read again. Raises MeasureError when all GPUs are lost."""
        readings = []
        for device in tuple(self._readable):
            try:
                readings.append(device.look(at_s, pids))
            except pynvml.NVMLError as error:
                self._readable.remove(device)
                gone: Values = {"variant": "gpu_gone", "gpu": device.gpu.index, "at_s": at_s}
                self._lost.append({**gone, "why": absence_values(error)})
        if not readings:
            raise unreadable("no_gpu_left")
        return readings

    def holding(self, pids: frozenset[int]) -> list[GpuName]:
        """The names of the GPUs on which NVML lists one of the processes `pids`."""
        with asking():
            return [
                device.name
                for device in self._readable
                if not pids.isdisjoint(device.processes() or ())
            ]

    def held_bytes(self) -> list[int | None]:
        """The memory in use on each GPU in bytes: by its own count, else the sum over the
        processes that NVML lists; None where NVML gives neither."""
        with asking():
            return [device.held_bytes() for device in self._readable]

    def computing(self) -> tuple[int, ...]:
        """The ids of the processes that compute on these GPUs, where NVML lists them."""
        with asking():
            lists = [device.computing() or () for device in self._readable]
        return tuple(sorted({process.pid for listed in lists for process in listed}))

    def close(self) -> None:
        shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Device:
    """One open GPU. A question that it can never answer is asked once only."""

    def __init__(self, name: GpuName, handle: Any, index: int) -> None:
        self.name = name
        self._handle, self._index = handle, index
        self._never: set[object] = set()  # questions
        self._unanswered: dict[str, Values] = {}
        self._codes: dict[str, int] = {}  # NVML's last error, by figure
        self._listed: bool | None = None  # whether NVML has listed one of the server's processes
        memory = self._memory()
        mode = self._ask("MIG mode", pynvml.nvmlDeviceGetMigMode)
        self._unanswered.pop("MIG mode", None)  # GPUs without MIG do not know the question
        mig = bool(mode and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
        whole = isinstance(name, int) and not mig
        unsupported = self._codes.get("memory") == pynvml.NVML_ERROR_NOT_SUPPORTED
        self.gpu = Gpu(
            index=index,
            name=self._ask("name", pynvml.nvmlDeviceGetName),
            uuid=self._ask("UUID", pynvml.nvmlDeviceGetUUID),
            total_bytes=memory.total if memory else None,
            reserved_bytes=getattr(memory, "reserved", None),
            mig=mig,
            unified=memory is None and unsupported and whole,
        )
        if self.gpu.unified:
            self._unanswered["memory"] = self._absence("gpu_unified", host_bytes=host_bytes())

    @property
    def absent(self) -> list[Values]:
        every = list(self._unanswered.values())
        if self.gpu.mig:
            every.append(self._absence("gpu_cut", variable=VISIBLE_GPUS))
        if self._listed is False:
            every.append(self._absence("gpu_unlisted"))
        return every

    def _absence(self, variant: str, **values: Value) -> Values:
        return {"variant": variant, "gpu": self._index, **values}

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
            device=self.gpu.index,
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
        """The bytes on the GPU (None: hidden) by process id, as NVML lists them; None where NVML
        has no such list."""
        compute = self.computing()
        if compute is None:
            return None
        graphics = self._either(
            "graphics processes",
            pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
            pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
        )
        return {process.pid: process.usedGpuMemory for process in (graphics or []) + compute}

    def computing(self) -> list[Any] | None:
        """The processes that compute, as NVML lists them; None where NVML has no such list."""
        return self._either(
            "compute processes",
            pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
            pynvml.nvmlDeviceGetComputeRunningProcesses_v2,  # before driver 510
        )

    def held_bytes(self) -> int | None:
        memory = self._memory()
        if memory is not None:
            return int(memory.used)
        listed = self.processes()
        if listed is None:
            return None
        known = [size for size in listed.values() if size is not None]
        return sum(known) if len(known) == len(listed) else None

    def _shares(self, pids: frozenset[int] | None) -> tuple[int | None, int | None]:
        """The bytes of the processes `pids`, and the number of other processes on the GPU. Both
        None where NVML lists no process of `pids`: it may list them by the process ids of another
        namespace."""
        listed = self.processes()
        if listed is None or pids is None:
            return None, None
        ours = [used for pid, used in listed.items() if pid in pids]
        self._listed = self._listed or bool(ours)
        if not ours:
            return None, None
        known = [used for used in ours if used is not None]
        if len(known) < len(ours):
            self._unanswered["share"] = self._absence("gpu_unshared")
        return sum(known) if len(known) == len(ours) else None, len(listed) - len(ours)

    def _memory(self) -> Any:
        """The memory of the GPU. NVML's second form counts the driver's reserve apart; older
        drivers know only the first form, in which the reserve counts as used."""
        return self._either("memory", _memory_v2, pynvml.nvmlDeviceGetMemoryInfo)

    def _either(
        self, what: str, new: Callable[..., Answer], old: Callable[..., Answer]
    ) -> Answer | None:
        """The answer to `new`, or to `old` once the driver has answered that it does not know
        `new`."""
        if (new,) not in self._never:
            answer = self._ask(what, new)
            if (new,) not in self._never:
                return answer
            self._unanswered.pop(what, None)
        return self._ask(what, old)

    def _ask(self, what: str, question: Callable[..., Answer], *details: int) -> Answer | None:
        """The GPU's answer; without one None, and the reason goes to `absent`. Raises NVMLError
        where the GPU is lost."""
        key = (question, *details)
        if key in self._never:
            return None
        try:
            return question(self._handle, *details)
        except pynvml.NVMLError as error:
            if error.value in LOST:
                raise
            if error.value in NEVER:
                self._never.add(key)
            self._codes[what] = error.value
            why = NEVER.get(error.value, "other")
            values = self._absence("gpu_unanswered", figure=what, reason=why, error=str(error))
            self._unanswered.setdefault(what, values)
            return None


def _unusable(gpu: GpuName, why: Values) -> Values:
    return {"variant": "gpu_unusable", "gpu": gpu, "why": why}


def _memory_v2(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
