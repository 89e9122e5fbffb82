"""Figures that stand beside their predictions, and those that an engine gave when it started."""

from journal.records.run import Record

COMPARED = (
    ("weights_bytes", "weights_bytes_predicted", "weights_bytes_ratio"),
    ("kv_bytes_per_token", "kv_bytes_per_token_predicted", "kv_bytes_per_token_ratio"),
    ("kv_bytes_per_token_slope", "kv_bytes_per_token_predicted", "kv_bytes_per_token_slope_ratio"),
    ("ttft_s.p50", "ttft_floor_s", "ttft_floor_ratio"),
    ("tpot_s.p50", "tpot_floor_s", "tpot_floor_ratio"),
)


def of_engine(record: Record, name: str) -> float | None:
    """The metric called `name`, where the engine gave it when it started; None where it did not.
    Of a run without figures, such as one whose engine failed later, it is computed from the
    engine's facts."""
    fact: float | None = getattr(record.facts, name, None)
    if fact is None or (value := record.value(name)) is not None:
        return None if fact is None else value
    gpu_count = 1 if record.cell.engine is None else record.cell.engine.gpu_count
    return fact if name == "kv_pool_tokens" else fact * gpu_count
