"""Theory beside measurement, and where the memory went, as tables."""

from typing import TYPE_CHECKING

from journal import units
from journal.records.run import Record

if TYPE_CHECKING:
    from rich.text import Text

LABELS = {
    "weights_bytes": "weights",
    "kv_bytes_per_token": "KV cache per token, by the engine's own count",
    "kv_bytes_per_token_slope": "KV cache per token, as seen under load",
    "ttft_s.p50": "TTFT p50, beside the GPU's floor",
    "tpot_s.p50": "TPOT p50, beside the GPU's floor",
}


def theory_rows(record: Record) -> "dict[tuple[str, str, str], list[str | Text]]":
    """A row of label, prediction, measurement and ratio for each thing that has both, by the
    names of their metrics."""
    from journal.metrics.beside_theory import COMPARED
    from journal.metrics.table import named

    rows: dict[tuple[str, str, str], list[str | Text]] = {}
    for names in COMPARED:
        measured, predicted, ratio = map(record.value, names)
        if ratio is None:
            continue
        shown = named(names[0]).unit
        rows[names] = [
            LABELS[names[0]],
            units.formatted(predicted, shown),
            units.formatted(measured, shown),
            f"{ratio:.3f}" if ratio < 10 else units.number(ratio),
        ]
    return rows


def split_rows(record: Record) -> "list[list[str | Text]]":
    """A row of part, bytes, share and source for each part of the memory that `record` saw, and
    their sum; none where it saw none."""
    from journal.theory.split import NAMES, SOURCES, split

    memory = split([record])
    if memory is None:
        return []
    total = memory.total
    mean = {total.name: f", the mean of {memory.gpu_count}"} if memory.gpu_count > 1 else {}
    return [
        [
            NAMES[part.name] + mean.get(part.name, ""),
            units.data_size(part.bytes),
            units.percent(part.bytes / total.bytes) if total.bytes else units.ABSENT,
            SOURCES[part.source],
        ]
        for part in (*memory.parts, total)
    ]
