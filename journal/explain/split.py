"""What the memory of a running engine is made of, each part with where its number comes from."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from journal.errors import SpecError
from journal.explain.architecture import Architecture
from journal.explain.memory import kv_bytes_per_token, weight_bytes
from journal.records import EngineFacts, GpuReading, Readings


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the memory. `bytes` None where nobody told; `source` says who did."""

    name: str
    bytes: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of `total`. `rest_bytes` is what the known parts leave of it: activations, the
    driver's context, the allocator's reserve. It is negative where a part is reserved but not yet
    touched, as the KV pool is on the CPU; None where the total is not known."""

    total: Part
    parts: tuple[Part, ...]

    @property
    def rest_bytes(self) -> int | None:
        if self.total.bytes is None:
            return None
        return self.total.bytes - sum(part.bytes for part in self.parts if part.bytes is not None)


def split(
    facts: EngineFacts,
    readings: Readings,
    *,
    model: Architecture | None = None,
    checkpoint_bytes: int | None = None,
    precision: str = "fp16",
    kv_element_bytes: float = 2,
) -> Split:
    """The memory of one engine: weights, KV pool, CUDA graphs, other processes on its cards, of
    the most that was seen in `readings`. What the engine did not log is taken from the checkpoint
    (`checkpoint_bytes`) or reckoned for `model`."""
    total, others = _seen(readings)
    parts = [
        _weights(facts, model, checkpoint_bytes, precision),
        _pool(facts, model, kv_element_bytes),
    ]
    if readings.gpu:
        parts.append(Part("CUDA graphs", facts.graph_bytes, "the engine's log"))
    if others is not None:
        parts.append(Part("other processes", others, "NVML: the cards' used less the server's"))
    return Split(total, tuple(parts))


def _seen(readings: Readings) -> tuple[Part, int | None]:
    """The most memory that was seen at once, and what of it belongs to others; None where that
    cannot be told or is no part of the total."""
    looks: dict[float, list[GpuReading]] = defaultdict(list)
    for reading in readings.gpu:
        looks[reading.at_s].append(reading)
    used = [(_sum([one.used_bytes for one in look]), look) for look in looks.values()]
    known = [(total, look) for total, look in used if total is not None]
    if known:
        most, look = max(known, key=lambda one: one[0])
        ours = _sum([one.process_bytes for one in look])
        return Part("used", most, "NVML: used on the cards"), None if ours is None else most - ours
    if readings.process:
        most = max(reading.rss_bytes for reading in readings.process)
        return Part("resident", most, "the kernel: resident in the server's processes"), None
    return Part("used", None, "nothing was read"), None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _weights(
    facts: EngineFacts, model: Architecture | None, checkpoint_bytes: int | None, precision: str
) -> Part:
    if facts.weights_bytes is not None:
        return Part("weights", facts.weights_bytes, "the engine's log")
    if checkpoint_bytes is not None:
        return Part("weights", checkpoint_bytes, "the checkpoint's safetensors headers")
    if model is not None:
        try:
            return Part("weights", weight_bytes(model, precision), "counted from config.json")
        except SpecError as error:
            return Part("weights", None, str(error))
    return Part("weights", None, "nobody told")


def _pool(facts: EngineFacts, model: Architecture | None, element_bytes: float) -> Part:
    if facts.kv_pool_bytes is not None:
        return Part("KV pool", facts.kv_pool_bytes, "the engine's log or /metrics")
    if facts.kv_pool_tokens is not None and model is not None:
        size = facts.kv_pool_tokens * kv_bytes_per_token(model, element_bytes)
        return Part("KV pool", size, "the engine's tokens times the formula's bytes")
    return Part("KV pool", None, "nobody told")
