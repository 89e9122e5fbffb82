"""Traces of NVML's own answers, call by call, which a stand-in for the driver can replay.

The form is that of tests/data/nvml/nvml_stub.c: a line for each answer that differs from the one
before it, with the look from which on it counts. Nothing is computed or left out: a figure that a
GPU cannot give is kept as NVML's error.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pynvml

from journal.measure.gpu import SENSOR_PERIOD_S, Gpus

Answer = tuple[int, str]  # NVML's result and its values
OK = 0


def record_nvml(
    seconds: float,
    which: Sequence[int | str] | None = None,
    on_look: Callable[[float], None] | None = None,
) -> str:
    """Record the GPUs `which` (NVML indices, or UUIDs or their beginnings; None: the visible ones)
    for `seconds`, one look every SENSOR_PERIOD_S; return the text of the trace. `on_look` receives
    the seconds that have passed. Raises MeasureError, with the reason, where no GPU can be
    read."""
    with Gpus(which) as opened:
        indices = [gpu.index for gpu in opened.gpus]
        handles = {index: pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices}
        names = sorted({str(gpu.name) for gpu in opened.gpus})
        # `cards` is the keyword of the trace's form for the number of GPUs.
        lines = [f"cards {max(indices) + 1}", *_driver_lines()]
        known: dict[tuple[int, str], Answer] = {}
        began_s, look = time.monotonic(), 0
        while True:
            for index, handle in handles.items():
                lines += _changes(look, index, handle, known)
            passed_s = time.monotonic() - began_s
            if on_look is not None:
                on_look(passed_s)
            if passed_s >= seconds:
                break
            look += 1
            time.sleep(max(0.0, look * SENSOR_PERIOD_S - passed_s))
    return "\n".join([*_head(names, look + 1, seconds), *lines]) + "\n"


def _head(names: Sequence[str], looks: int, seconds: float) -> list[str]:
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return [
        f"# Recorded on {when} by `journal trace record` on {', '.join(names)}"
        f" ({platform.system()} {platform.release()}, {platform.machine()}).",
        f"# {looks} looks in {seconds:g} s, one every {SENSOR_PERIOD_S:g} s.",
    ]


def _driver_lines() -> Iterator[str]:
    for name in ("nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2"):
        result, values = _answer(lambda name=name: str(getattr(pynvml, name)()))  # type: ignore[misc]
        yield f"0 - {name} {result} {values}".rstrip()


def _changes(
    look: int, index: int, handle: Any, known: dict[tuple[int, str], Answer]
) -> Iterator[str]:
    """The lines for the answers of one GPU that differ from its last ones. The first question of a
    look is for memory: a stand-in counts the looks by it."""
    for name, question in QUESTIONS.items():
        answer = _answer(lambda question=question: question(handle))  # type: ignore[misc]
        if known.get((index, name)) != answer:
            known[index, name] = answer
            result, values = answer
            yield f"{look} {index} {name} {result} {values}".rstrip()


def _answer(question: Callable[[], str]) -> Answer:
    try:
        return OK, question()
    except pynvml.NVMLError as error:
        return int(error.value), ""


def _numbers(*values: object) -> str:
    return " ".join(str(value) for value in values)


def _memory_v2(handle: Any) -> str:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
    return _numbers(memory.total, memory.reserved, memory.free, memory.used)


def _memory(handle: Any) -> str:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return _numbers(memory.total, memory.free, memory.used)


def _clocks(handle: Any) -> str:
    kinds = (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    return _numbers(*(pynvml.nvmlDeviceGetClockInfo(handle, kind) for kind in kinds))


def _processes(name: str) -> Callable[[Any], str]:
    def listed(handle: Any) -> str:
        processes = getattr(pynvml, name)(handle)
        sizes = (("-" if p.usedGpuMemory is None else p.usedGpuMemory, p.pid) for p in processes)
        return _numbers(*(f"{pid}:{used}" for used, pid in sizes))

    return listed


def _plain(name: str) -> Callable[[Any], str]:
    return lambda handle: str(getattr(pynvml, name)(handle))


QUESTIONS: dict[str, Callable[[Any], str]] = {
    "nvmlDeviceGetMemoryInfo_v2": _memory_v2,
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetName": _plain("nvmlDeviceGetName"),
    "nvmlDeviceGetUUID": _plain("nvmlDeviceGetUUID"),
    "nvmlDeviceGetMigMode": lambda handle: str(pynvml.nvmlDeviceGetMigMode(handle)[0]),
    "nvmlDeviceGetUtilizationRates": lambda handle: str(
        pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
    ),
    "nvmlDeviceGetPowerUsage": _plain("nvmlDeviceGetPowerUsage"),
    "nvmlDeviceGetTotalEnergyConsumption": _plain("nvmlDeviceGetTotalEnergyConsumption"),
    "nvmlDeviceGetClockInfo": _clocks,
    "nvmlDeviceGetTemperature": lambda handle: str(
        pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    ),
    **{
        name: _plain(name)
        for name in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        )
    },
    **{
        name: _processes(name)
        for name in (
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetComputeRunningProcesses_v2",
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
            "nvmlDeviceGetGraphicsRunningProcesses_v2",
        )
    },
}
