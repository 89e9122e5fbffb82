"""The JSON of a run: the fixed contract of `journal runs --json` and `journal show --json`."""

from dataclasses import asdict
from datetime import UTC
from typing import Any

from journal.doubts.words import sentence
from journal.metrics.predicted import of_engine
from journal.metrics.statistics import STATISTICS
from journal.records.doubt import Doubt
from journal.records.run import Record
from journal.records.sameness import workload_key
from journal.theory.split import SOURCES, split

OF_ENGINE = ("weights_bytes", "kv_pool_bytes", "kv_pool_tokens")
LATENCIES = ("ttft_s", "itl_s", "tpot_s", "e2e_s")


def run_json(record: Record) -> dict[str, Any]:
    """`record` as plain JSON values, in SI units and bytes. A key is never missing: a figure that
    was not measured is null. `metrics` repeats every metric of the run under its own name, and
    `intervals` gives the 95% interval [low, high] of those that have one."""
    cell = record.cell
    prompt_tokens, output_tokens = cell.known_lengths
    return {
        "id": record.id,
        "experiment": cell.experiment,
        "model": cell.model,
        "quantisation": cell.quantisation,
        "concurrency": cell.batch,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "requests": _count(record, "requests"),
        "errors": _count(record, "errors"),
        "started_at": record.started_at.astimezone(UTC).isoformat(),
        "duration_s": record.duration_s,
        **{name: _spread(record, name) for name in LATENCIES},
        "output_tokens_per_s": record.value("output_tokens_per_s"),
        "total_tokens_per_s": record.value("total_tokens_per_s"),
        "requests_per_s": record.value("requests_per_s"),
        "vram_peak_bytes": _count(record, "vram_peak_bytes"),
        "kv_cache_peak_fraction": record.value("kv_cache_peak_fraction"),
        "mlflow_run_id": record.mlflow_run_id,
        "doubts": [sentence(doubt) for doubt in record.doubts],
        **_further(record),
    }


def _further(record: Record) -> dict[str, Any]:
    """The keys beyond the fixed ones."""
    cell, facts = record.cell, record.facts
    return {
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
        "tool": record.environment.get("tool"),
        "host": record.environment.get("host"),
        "user": record.environment.get("user"),
        "engine_version": facts.version,
        "engine_start_s": facts.start_s,
        **{name: _whole(of_engine(record, name)) for name in OF_ENGINE},
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


def workload_json(record: Record) -> dict[str, Any]:
    """The workload of a run: its name, its key (null for random tokens), its fields, and the hash
    of what was sent."""
    workload = record.cell.workload
    return {
        "name": workload.name,
        "key": workload_key(workload),
        "sent_sha256": record.environment.get("sent_sha256"),
        "api": workload.api,
        "natural_end": workload.natural_end,
        "mix": [asdict(part) for part in workload.mix],
        "turns": workload.turns,
        "think_s": workload.think_s,
    }


def _doubt(doubt: Doubt) -> dict[str, Any]:
    return {
        "name": doubt.name,
        "severity": doubt.severity,
        "values": dict(doubt.values),
        "sentence": sentence(doubt),
    }


def _memory_split(record: Record) -> dict[str, Any] | None:
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


def _spread(record: Record, name: str) -> dict[str, float | None]:
    return {statistic: record.value(f"{name}.{statistic}") for statistic in STATISTICS}
