"""The JSON of a run: the fixed contract of `journal runs --json` and `journal show --json`."""

from dataclasses import asdict
from datetime import UTC
from typing import cast

from journal.doubts.words import sentence
from journal.metrics.beside_theory import of_engine
from journal.metrics.statistics import STATISTICS
from journal.records.as_json import (
    DoubtJson,
    FixedRunJson,
    MemorySplitJson,
    MixPartJson,
    RunJson,
    SpreadJson,
    WorkloadJson,
)
from journal.records.doubt import Doubt
from journal.records.run import Record
from journal.records.sameness import workload_key
from journal.theory.split import SOURCES, split


def run_json(record: Record) -> RunJson:
    """`record` as plain JSON values, in SI units and bytes. A key is never missing: a figure that
    was not measured is null. `metrics` repeats every metric of the run under its own name, and
    `intervals` gives the 95% interval [low, high] of those that have one."""
    cell, facts = record.cell, record.facts
    return {
        **_fixed(record),
        "status": record.status,
        "error": record.error,
        "rate": cell.rate,
        "repeat": cell.repeat,
        "requests_asked": cell.load.requests,
        "convoy": cell.convoy,
        "length_spread": cell.load.length_spread,
        "workload": workload_json(record),
        "identity": cell.identity,
        "experiment_id": record.experiment_id,
        "tool": _text(record, "tool"),
        "host": _text(record, "host"),
        "user": _text(record, "user"),
        "engine_version": facts.version,
        "engine_start_s": facts.start_s,
        "weights_bytes": _whole(of_engine(record, "weights_bytes")),
        "kv_pool_bytes": _whole(of_engine(record, "kv_pool_bytes")),
        "kv_pool_tokens": _whole(of_engine(record, "kv_pool_tokens")),
        "memory_split": _memory_split(record),
        "icl_s": _spread(record, "icl_s"),
        "doubt_rules": [_doubt(doubt) for doubt in record.doubts],
        "metrics": {name: record.value(name) for name in record.metrics},
        "intervals": {
            name: [figure.low, figure.high]
            for name, figure in record.metrics.items()
            if figure.low is not None and figure.high is not None
        },
        "environment": dict(record.environment),
    }


def _fixed(record: Record) -> FixedRunJson:
    cell = record.cell
    return {
        "id": record.id,
        "experiment": cell.experiment,
        "model": cell.model,
        "quantisation": cell.quantisation,
        "concurrency": cell.batch,
        "prompt_tokens": cell.prompt_tokens,
        "output_tokens": cell.output_tokens,
        "requests": _count(record, "requests"),
        "errors": _count(record, "errors"),
        "started_at": record.started_at.astimezone(UTC).isoformat(),
        "duration_s": record.duration_s,
        "ttft_s": _spread(record, "ttft_s"),
        "itl_s": _spread(record, "itl_s"),
        "tpot_s": _spread(record, "tpot_s"),
        "e2e_s": _spread(record, "e2e_s"),
        "output_tokens_per_s": record.value("output_tokens_per_s"),
        "total_tokens_per_s": record.value("total_tokens_per_s"),
        "requests_per_s": record.value("requests_per_s"),
        "vram_peak_bytes": _count(record, "vram_peak_bytes"),
        "kv_cache_peak_fraction": record.value("kv_cache_peak_fraction"),
        "mlflow_run_id": record.mlflow_run_id,
        "doubts": [sentence(doubt) for doubt in record.doubts],
    }


def workload_json(record: Record) -> WorkloadJson:
    """The workload of a run: its name, its key (null for random tokens), its fields, and the hash
    of what was sent."""
    workload = record.cell.workload
    return {
        "name": workload.name,
        "key": workload_key(workload),
        "sent_sha256": _text(record, "sent_sha256"),
        "api": workload.api,
        "natural_end": workload.natural_end,
        "mix": [cast(MixPartJson, asdict(part)) for part in workload.mix],
        "turns": workload.turns,
        "think_s": workload.think_s,
    }


def _doubt(doubt: Doubt) -> DoubtJson:
    return {
        "name": doubt.name,
        "severity": doubt.severity,
        "values": dict(doubt.values),
        "sentence": sentence(doubt),
    }


def _memory_split(record: Record) -> MemorySplitJson | None:
    """The parts of the memory of the run's engine, in bytes; None where none was read."""
    parts = split([record])
    if parts is None:
        return None
    return {
        "total_bytes": parts.total.bytes,
        "total_by": SOURCES[parts.total.source],
        "parts": [
            {"name": part.name, "bytes": part.bytes, "by": SOURCES[part.source]}
            for part in parts.parts
        ],
    }


def _count(record: Record, name: str) -> int | None:
    return _whole(record.value(name))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _text(record: Record, name: str) -> str | None:
    """A text of the environment; other programs may have written something else there."""
    value = record.environment.get(name)
    return None if value is None else str(value)


def _spread(record: Record, name: str) -> SpreadJson:
    spread = {statistic: record.value(f"{name}.{statistic}") for statistic in STATISTICS}
    return cast(SpreadJson, spread)
