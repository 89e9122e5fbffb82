"""What the memory of a running engine is made of, each part with where its number comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from journal.records import Record

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
    "others": "what others hold on the cards",
    "rest": "the rest, which nothing explains",
    "used": "used on the cards",
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
class Part:
    """A part of the memory, and who said so."""

    name: PartName
    bytes: int
    source: Source


@dataclass(frozen=True, slots=True)
class Split:
    """The `parts` of `total`, the unexplained rest among them, so that they sum to it.

    On cards the total is what NVML saw, on the CPU the resident memory of the server's processes:
    there the rest holds Python and the libraries of each process. A rest below 0 says that more
    was told of than was seen, such as activations whose peak no run reached.
    """

    total: Part
    parts: tuple[Part, ...]


def split(runs: Sequence[Record]) -> Split | None:
    """The memory of the engine that served `runs`, all its cards together, at the most that any
    of them saw. None where no memory was read, or nothing is known of what it holds."""
    seen = [(total.bytes, number) for number, run in enumerate(runs) if (total := _total(run))]
    if not seen:
        return None
    run = runs[max(seen)[1]]
    total, known = _total(run), tuple(_parts(run))
    if total is None or not known:
        return None
    rest = total.bytes - sum(part.bytes for part in known)
    return Split(total, (*known, Part("rest", rest, "difference")))


def _total(run: Record) -> Part | None:
    used, resident = _value(run, "vram_peak_bytes"), _value(run, "rss_peak_bytes")
    if used is not None:
        return Part("used", used, "nvml")
    return None if resident is None else Part("resident", resident, "kernel")


def _parts(run: Record) -> Iterator[Part]:
    """What is known of the parts of `run`'s memory, in the order in which an engine takes it."""
    facts, engine = run.facts, run.cell.engine
    cards = 1 if engine is None else engine.tensor_parallel
    yield from _weights(run)
    pool = _value(run, "kv_pool_bytes")
    if pool is not None:
        yield Part("kv_pool", pool, "pool")
    logged: tuple[tuple[PartName, int | None], ...] = (
        ("activations", facts.activation_bytes),
        ("graphs", facts.graph_bytes),
        ("context", facts.context_bytes),
    )
    for name, size in logged:
        if size is not None:
            yield Part(name, size * cards, "log")
    used, ours = _value(run, "vram_peak_bytes"), _value(run, "vram_process_peak_bytes")
    if used is not None and ours is not None:  # NVML may hide which processes are the server's
        yield Part("others", max(0, used - ours), "others")


def _weights(run: Record) -> Iterator[Part]:
    measured = _value(run, "weights_bytes")
    predicted = _value(run, "weights_bytes_predicted")
    if measured is not None:
        yield Part("weights", measured, "checkpoint" if run.facts.weights_bytes is None else "log")
    elif predicted is not None:
        yield Part("weights", predicted, "config")


def _value(run: Record, name: str) -> int | None:
    figure = run.metrics.get(name)
    return None if figure is None or figure.value is None else round(figure.value)
