"""What the memory of a running engine is made of, each part with where its number comes from."""

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
    """The `parts` of `total`, the unexplained rest among them, so that they sum to it: those of one
    card, as the mean of the `cards` of the host that share the model.

    On cards the total is what NVML saw, on the CPU the resident memory of the server's processes:
    there the rest holds Python and the libraries of each process. A rest below 0 says that more
    was told of than was seen, such as activations whose peak no run reached.
    """

    total: Part
    parts: tuple[Part, ...]
    cards: int = 1


def split(runs: Sequence[Record]) -> Split | None:
    """The memory of the engine that served `runs`, at the most that any of them saw; of one card
    where several share the model. None where no memory was read, or nothing is known of what it
    holds."""
    seen = [(size, number) for number, run in enumerate(runs) if (size := _seen(run)) is not None]
    if not seen:
        return None
    run = runs[max(seen)[1]]
    total, known = _total(run), tuple(_parts(run))
    if not known:
        return None
    rest = total.bytes - sum(part.bytes for part in known)
    return Split(total, (*known, Part("rest", rest, "difference")), _cards_here(run))


def _seen(run: Record) -> float | None:
    used = run.value("vram_peak_bytes")
    return run.value("rss_peak_bytes") if used is None else used


def _total(run: Record) -> Part:
    used, resident = run.value("vram_peak_bytes"), run.value("rss_peak_bytes")
    if used is not None:
        return Part("used", round(used / _cards_here(run)), "nvml")
    assert resident is not None
    return Part("resident", round(resident), "kernel")


def _cards_here(run: Record) -> int:
    """The cards of which NVML told: others that share the model may be in other hosts."""
    if run.value("vram_peak_bytes") is None:
        return 1
    return _cards(run) if run.facts.cards is None else run.facts.cards


def _cards(run: Record) -> int:
    """All that share the model."""
    if run.cell.engine is not None:
        return run.cell.engine.cards
    return 1 if run.facts.cards is None else run.facts.cards


def _parts(run: Record) -> Iterator[Part]:
    """What is known of the parts of `run`'s memory, in the order in which an engine takes it."""
    facts, used = run.facts, run.value("vram_peak_bytes")
    # A log tells of one card. On a CPU all processes are looked at together.
    shares, processes = (1, _cards(run)) if used is None else (_cards(run), 1)
    measured, predicted, pool = (
        run.value(name) for name in ("weights_bytes", "weights_bytes_predicted", "kv_pool_bytes")
    )
    if measured is not None:
        by: Source = "checkpoint" if facts.weights_bytes is None else "log"
        yield Part("weights", round(measured / shares), by)
    elif predicted is not None:
        yield Part("weights", round(predicted / shares), "config")
    if pool is not None:
        yield Part("kv_pool", round(pool / shares), "pool")
    logged: tuple[tuple[PartName, int | None], ...] = (
        ("activations", _activations(facts)),
        ("graphs", facts.graph_bytes),
        ("context", facts.context_bytes),
    )
    for name, size in logged:
        if size is not None:
            yield Part(name, size * processes, "log")
    ours = run.value("vram_process_peak_bytes")
    # NVML may hide which processes are the server's, or give no more than their memory.
    if used is not None and ours is not None and used != ours:
        yield Part("others", max(0, round((used - ours) / _cards_here(run))), "others")


def _activations(facts: EngineFacts) -> int | None:
    """Their peak without the estimate of the CUDA graphs that vLLM counts into it since 0.21: the
    graphs are a part of their own."""
    peak, estimate = facts.activation_bytes, facts.graph_estimate_bytes
    if peak is None or estimate is None or facts.graph_bytes is None or estimate > peak:
        return peak
    return peak - estimate
