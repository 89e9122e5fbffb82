"""The parts of the memory of a running engine, each with the source of its number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from journal.records.engine import EngineFacts
from journal.records.run import Record

PartName = Literal[
    "weights", "kv_pool", "activations", "graphs", "context", "others", "rest", "used", "resident"
]
Source = Literal["log", "pool", "checkpoint", "config", "nvml", "others", "kernel", "difference"]
NAMES: dict[PartName, str] = {
    "weights": "weights",
    "kv_pool": "KV-cache pool",
    "activations": "activations, at their peak",
    "graphs": "CUDA graphs",
    "context": "driver's context and libraries",
    "others": "what others hold on the GPUs",
    "rest": "the rest, which nothing explains",
    "used": "used on the GPUs",
    "resident": "resident in the server's processes",
}
SOURCES: dict[Source, str] = {
    "log": "the engine's log",
    "pool": "the engine's log or /metrics",
    "checkpoint": "the checkpoint's safetensors headers",
    "config": "counted from config.json",
    "nvml": "NVML, the most that was seen",
    "others": "NVML: used less the server's own processes",
    "kernel": "the kernel, the most that was seen",
    "difference": "what was seen less the parts above",
}


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the memory, in bytes, and the source of the number."""

    name: PartName
    bytes: int
    source: Source


@dataclass(frozen=True, slots=True)
class Split:
    """The `parts` of `total`, which sum to it, the unexplained rest included: those of one GPU, as
    the mean over the `gpu_count` GPUs of the host that share the model.

    On GPUs the total is the memory in use by NVML; on the CPU it is the resident memory of the
    server's processes, and the rest holds Python and the libraries of each process. A rest below
    0 means that the parts exceed the total, such as activations whose peak no run reached.
    """

    total: MemoryPart
    parts: tuple[MemoryPart, ...]
    gpu_count: int = 1


def split(runs: Sequence[Record]) -> Split | None:
    """The memory of the engine that served `runs`, at the highest peak of any of them; that of one
    GPU where several share the model. None where no memory was read, or no part of it is
    known."""
    peaks = [(size, number) for number, run in enumerate(runs) if (size := _peak(run)) is not None]
    if not peaks:
        return None
    run = runs[max(peaks)[1]]
    total, known = _total(run), tuple(_parts(run))
    if not known:
        return None
    rest = total.bytes - sum(part.bytes for part in known)
    return Split(total, (*known, MemoryPart("rest", rest, "difference")), _gpus_here(run))


def _peak(run: Record) -> float | None:
    used = run.value("vram_peak_bytes")
    return run.value("rss_peak_bytes") if used is None else used


def _total(run: Record) -> MemoryPart:
    used, resident = run.value("vram_peak_bytes"), run.value("rss_peak_bytes")
    if used is not None:
        return MemoryPart("used", round(used / _gpus_here(run)), "nvml")
    assert resident is not None
    return MemoryPart("resident", round(resident), "kernel")


def _gpus_here(run: Record) -> int:
    """The number of GPUs that NVML read: others that share the model may be in other hosts."""
    if run.value("vram_peak_bytes") is None:
        return 1
    return _gpus(run) if run.facts.cards is None else run.facts.cards


def _gpus(run: Record) -> int:
    """The number of GPUs that share the model."""
    if run.cell.engine is not None:
        return run.cell.engine.gpu_count
    return 1 if run.facts.cards is None else run.facts.cards


def _parts(run: Record) -> Iterator[MemoryPart]:
    """The known parts of the memory of `run`, in the order in which an engine takes it."""
    facts, used = run.facts, run.value("vram_peak_bytes")
    # A log gives the sizes of one GPU. On a CPU the total is that of all processes together.
    shares, processes = (1, _gpus(run)) if used is None else (_gpus(run), 1)
    measured, predicted, pool = (
        run.value(name) for name in ("weights_bytes", "weights_bytes_predicted", "kv_pool_bytes")
    )
    if measured is not None:
        by: Source = "checkpoint" if facts.weights_bytes is None else "log"
        yield MemoryPart("weights", round(measured / shares), by)
    elif predicted is not None:
        yield MemoryPart("weights", round(predicted / shares), "config")
    if pool is not None:
        yield MemoryPart("kv_pool", round(pool / shares), "pool")
    logged: tuple[tuple[PartName, int | None], ...] = (
        ("activations", _activations(facts)),
        ("graphs", facts.graph_bytes),
        ("context", facts.context_bytes),
    )
    for name, size in logged:
        if size is not None:
            yield MemoryPart(name, size * processes, "log")
    ours = run.value("vram_process_peak_bytes")
    # NVML may hide which processes are the server's, or give no more than their memory.
    if used is not None and ours is not None and used != ours:
        yield MemoryPart("others", max(0, round((used - ours) / _gpus_here(run))), "others")


def _activations(facts: EngineFacts) -> int | None:
    """Bytes of the activations at their peak, without the estimate of the CUDA graphs that vLLM
    counts into it since 0.21: the graphs are a part of their own."""
    peak, estimate = facts.activation_bytes, facts.graph_estimate_bytes
    if peak is None or estimate is None or facts.graph_bytes is None or estimate > peak:
        return peak
    return peak - estimate
