"""Runs as llm-d's Benchmark Report v0.2, a form that other benchmarks and dashboards read.

Its schema has no place for intervals and doubts: they stand in the native part of the load, which
holds whatever the tool wants to say. What was not measured is left out.
"""

import json
from collections.abc import Mapping
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from journal.doubts.words import sentence
from journal.errors import UsageError
from journal.metrics.statistics import STATISTICS
from journal.private import make_folder, write_private
from journal.records.load_shape import Open
from journal.records.run import Record
from journal.records.workload import Workload
from journal.redaction import hidden_in
from journal.store.store import open_store

Part: TypeAlias = dict[str, Any]

VERSION = "0.2"
TOOL = "serving-journal"
UNKNOWN = "unknown"
LATENCIES = {
    "time_to_first_token": ("ttft_s", "s"),
    "time_per_output_token": ("tpot_s", "s/token"),
    "inter_token_latency": ("itl_s", "s/token"),
    "request_latency": ("e2e_s", "s"),
}
RATES = {
    "output_token_rate": ("output_tokens_per_s", "tokens/s"),
    "total_token_rate": ("total_tokens_per_s", "tokens/s"),
    "request_rate": ("requests_per_s", "queries/s"),
}
LENGTHS = {"input_length": "prompt_tokens", "output_length": "output_tokens"}


def export_reports(folder: Path, home: str | Path = "lab", run: str | None = None) -> int:
    """Write a Benchmark Report (JSON, which is YAML too) into `folder` for each run of the journal
    in `home` whose figures count, or for `run` alone (an id, its beginning, or "last"), and return
    their number. A file is named by the id of its run. Raises NotFound, and UsageError for a
    folder that cannot be written."""
    with open_store(Path(home)) as store:
        records = [store.run(run)] if run else [one for one in store.runs() if one.good]
    try:
        make_folder(folder)
        for record in records:
            report = hidden_in(benchmark_report(record))
            text = json.dumps(report, indent=2, ensure_ascii=False)
            write_private(folder / f"{record.id}.json", f"{text}\n")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}): name another") from error
    return len(records)


def benchmark_report(record: Record) -> Part:
    """One run as a Benchmark Report v0.2 of plain JSON values, in s and tokens."""
    return _without_none(
        {
            "version": VERSION,
            "run": _run(record),
            "scenario": {"stack": [_server(record)], "load": _load(record)},
            "results": {
                "request_performance": {
                    "aggregate": {
                        "requests": _requests(record),
                        "latency": _latency(record),
                        "throughput": _throughput(record),
                    }
                }
            },
        }
    )


def _without_none(part: Part) -> Part:
    """`part` without what is None or an empty object, at any depth; the native parts stay, which
    the schema asks for."""
    kept = {}
    for name, value in part.items():
        inner = _without_none(value) if isinstance(value, dict) else value
        if inner is not None and (inner != {} or name == "native"):
            kept[name] = inner
    return kept


def _run(record: Record) -> Part:
    start = record.started_at.astimezone(UTC)
    simulated = record.cell.model.startswith("simulated") or "simulated" in _version(record)
    return {
        "uid": record.id,
        "eid": record.experiment_id,
        "time": {
            "start": start.isoformat(),
            "end": (start + timedelta(seconds=record.duration_s)).isoformat(),
            "duration": f"PT{record.duration_s}S",
        },
        "description": f"{record.cell.experiment} ({record.status})",
        "keywords": [record.status, *(["simulated"] if simulated else [])],
    }


def _version(record: Record) -> str:
    return UNKNOWN if record.facts.version is None else record.facts.version


def _server(record: Record) -> Part:
    """The server as a component: an engine where its GPU is known, else one of no kind."""
    cell, facts = record.cell, record.facts
    engine = cell.engine
    standardized: Part = {
        "kind": "generic",
        "tool": "vllm" if engine else UNKNOWN,
        "tool_version": _version(record),
        "model": {"name": cell.model},
    }
    if engine and facts.card is not None:
        tensor, pipeline = engine.tensor_parallel, engine.pipeline_parallel
        standardized |= {
            "kind": "inference_engine",
            "role": "replica",
            "replicas": 1,
            "accelerator": {
                "model": facts.card,
                "count": engine.gpu_count,
                "parallelism": {"tp": tensor, "pp": pipeline},
            },
        }
    return {
        "metadata": {"label": "server-0", "cfg_id": cell.identity},
        "standardized": standardized,
        "native": {"args": {"argv": list(facts.argv)}} if facts.argv else {},
    }


def _load(record: Record) -> Part | None:
    """The load; None where the length of prompts is not known, which the schema asks for."""
    cell = record.cell
    prompt, output = cell.prompt_tokens, cell.output_tokens
    if prompt is None:
        return None
    shape, work, tool = cell.shape, cell.workload, record.environment.get("tool")
    spread = cell.load.length_spread
    version = record.environment.get("tool_version" if tool else "journal")
    return {
        "metadata": {"cfg_id": cell.identity},
        "standardized": {
            "tool": str(tool or TOOL),
            "tool_version": UNKNOWN if version is None else str(version),
            "source": UNKNOWN if tool else "sampled" if work.is_own else "random",
            "input_seq_len": _length(prompt, spread, varies=work.is_own or work.varies),
            "output_seq_len": None
            if output is None or work.natural_end
            else _length(output, spread, varies=work.varies),
            "prefix": _prefix(work),
            "multi_turn": {"max_turns": _length(work.turns)} if work.is_conversation else None,
            "rate_qps": shape.rate if isinstance(shape, Open) else None,
            "concurrency": None if isinstance(shape, Open) else shape.batch,
        },
        "native": {"config": _native(record)},
    }


def _length(value: int, spread: float = 0.0, *, varies: bool = False) -> Part:
    if not spread:
        return {"distribution": "other" if varies else "fixed", "value": value}
    return {"distribution": "other", "value": value, "std_dev": value * spread}


def _prefix(work: Workload) -> Part | None:
    """The beginnings that prompts share; None where they share none."""
    if not work.shared_prefix:
        return None
    alone = {"num_users_per_group": 1, "num_prefixes": 1}
    return {"prefix_len": _length(work.shared_prefix), "num_groups": work.prefixes, **alone}


def _native(record: Record) -> Part:
    """What the schema has no place for: the doubts, in words, and the intervals."""
    known = {name: figure for name, figure in record.metrics.items() if figure.low is not None}
    return {
        "status": record.status,
        "repeat": record.cell.repeat,
        "doubts": [
            {"name": doubt.name, "severity": doubt.severity, "text": sentence(doubt)}
            for doubt in record.doubts
        ],
        "intervals_95": {name: [figure.low, figure.high] for name, figure in known.items()},
    }


# ---- results ---------------------------------------------------------------------------------


def _requests(record: Record) -> Part:
    total, errors = record.value("requests"), record.value("errors")
    part: Part = {
        "total": record.cell.load.requests if total is None else round(total),
        "failures": None if errors is None else round(errors),
    }
    done = part["total"] - (0 if errors is None else round(errors))
    for theirs, name in LENGTHS.items():
        tokens = record.value(name)
        if tokens is not None and done > 0:
            part[theirs] = {"units": "count", "mean": tokens / done}
    return part


def _latency(record: Record) -> Part:
    return {
        theirs: _statistics(record, family, units) for theirs, (family, units) in LATENCIES.items()
    }


def _statistics(record: Record, family: str, units: str) -> Part | None:
    """A latency by its statistics; None without a mean, which the schema asks for."""
    values: Mapping[str, float | None] = {
        name: record.value(f"{family}.{name}") for name in STATISTICS
    }
    return None if values["mean"] is None else {"units": units, **values}


def _throughput(record: Record) -> Part:
    rates = ((theirs, record.value(name), unit) for theirs, (name, unit) in RATES.items())
    return {
        theirs: {"units": unit, "mean": value} for theirs, value, unit in rates if value is not None
    }
