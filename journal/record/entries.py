"""What MLflow is told of a record, by MLflow's conventions; nothing here talks to MLflow.

A run's figures are metrics at step 0, which the UI draws as bars; an experiment's curves are
metrics of the parent run whose step is the batch or the prompt length, which it draws as lines.
The part of a metric's name before its "/" is the section of the UI's charts. Every run has the
same params, as bare numbers, because the UI's parallel coordinates drop a run that lacks one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean

from journal import units
from journal.records import Cell, ExperimentRecord, Record
from journal.summarise.metrics import section

NONE = "none"
CURVES = (
    "ttft_s.p50",
    "tpot_s.p50",
    "e2e_s.p50",
    "output_tokens_per_s",
    "requests_per_s",
    "kv_cache_peak_fraction",
    "vram_peak_bytes",
    "rss_peak_bytes",
)
AXES = ("batch", "prompt_tokens")

_ENGINE_PLACE = (
    "dtype",
    "tensor_parallel",
    "max_model_len",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "prefix_caching",
)
_PLACE = ("model", "quantisation", *_ENGINE_PLACE, "flags", *AXES, "output_tokens")

_RUN_STATUS = {"failed": "FAILED", "invalid": "FAILED", "interrupted": "KILLED"}
_EXPERIMENT_STATUS = {**_RUN_STATUS, "running": "RUNNING"}


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric. `at` is when it was measured: a value that is sent twice with the
    same time is kept once."""

    name: str
    value: float
    at: datetime
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run as MLflow is to know it. `id` is ours, and finds the run again."""

    id: str
    experiment: str
    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]


def run_entry(record: Record, parent_id: str) -> Entry:
    """The entry of one run, under the MLflow run `parent_id` of its experiment."""
    ended_at = record.started_at + timedelta(seconds=record.duration_s)
    cell = record.cell
    notes = [*([record.error] if record.error else []), *(d.sentence for d in record.doubts)]
    tags = {
        "mlflow.parentRunId": parent_id,
        "mlflow.note.content": "\n".join(f"- {note}" for note in notes),
        "journal.experiment_id": record.experiment_id,
        "journal.identity": cell.identity,
        "model": cell.model,
        "quantisation": cell.quantisation or NONE,
        "status": record.status,
        "doubts": str(len(record.doubts)),
        "engine_version": record.facts.version or NONE,
        **_origin(record.environment),
    }
    return Entry(
        id=record.id,
        experiment=cell.experiment,
        name=run_name(cell),
        status=_RUN_STATUS.get(record.status, "FINISHED"),
        started_at=record.started_at,
        ended_at=ended_at,
        tags=tags,
        params=params(cell),
        points=tuple(
            Point(metric_name(name), figure.value, ended_at)
            for name, figure in record.metrics.items()
            if figure.value is not None
        ),
    )


def experiment_entry(record: ExperimentRecord, runs: Sequence[Record]) -> Entry:
    """The entry of an experiment: the parent of its `runs`, with their curves and a summary."""
    started = record.started_at.astimezone(UTC)
    return Entry(
        id=record.id,
        experiment=record.experiment.name,
        name=f"{record.experiment.name} {started:%Y-%m-%d %H:%M}",
        status=_EXPERIMENT_STATUS.get(record.status, "FINISHED"),
        started_at=record.started_at,
        ended_at=record.ended_at,
        tags={
            "mlflow.note.content": note(record, runs),
            "status": record.status,
            "runs": str(len(runs)),
            **_origin(record.environment),
        },
        params={},
        points=curves(runs),
    )


def metric_name(name: str) -> str:
    """`ttft_s.p50` as `latency/ttft_s_p50`: the section of the table of metrics goes before."""
    try:
        where: str = section(name)
    except KeyError:
        where = "other"
    return f"{where}/{name.replace('.', '_')}"


def run_name(cell: Cell) -> str:
    """A cell in one short line, such as `Mistral-7B awq b8 p512 o64`."""
    parts = [_short(cell.model), cell.quantisation, _load(cell)]
    parts += [f"p{cell.prompt_tokens}", f"o{cell.output_tokens}"]
    parts += [f"#{cell.repeat + 1}"] if cell.load.repeats > 1 else []
    return " ".join(part for part in parts if part)


def params(cell: Cell) -> dict[str, str]:
    """The same names for every cell; what a cell has not is "none"."""
    engine = cell.engine
    values: dict[str, object] = {
        "model": cell.model,
        "quantisation": cell.quantisation,
        "dtype": engine.dtype if engine else None,
        "tensor_parallel": engine.tensor_parallel if engine else None,
        "max_model_len": engine.max_model_len if engine else None,
        "batch": cell.batch,
        "rate": cell.rate,
        "prompt_tokens": cell.prompt_tokens,
        "output_tokens": cell.output_tokens,
        "requests": cell.load.requests,
        "repeat": cell.repeat,
        "seed": cell.seed,
    }
    return {name: NONE if value is None else str(value) for name, value in values.items()}


def note(record: ExperimentRecord, runs: Sequence[Record]) -> str:
    """A summary in Markdown: what was asked, and a line for each run."""
    experiment = record.experiment
    words = {"Question": experiment.question, "Hypothesis": experiment.hypothesis}
    asked = [f"**{title}:** {said}" for title, said in words.items() if said]
    if not runs:
        return "\n\n".join(asked)
    rows = ["| run | status | TTFT p50 | output | VRAM peak |", "| --- | --- | --- | --- | --- |"]
    for run in runs[:50]:
        ttft, rate, vram = (
            run.metrics[name].value if name in run.metrics else None
            for name in ("ttft_s.p50", "output_tokens_per_s", "vram_peak_bytes")
        )
        shown = (units.seconds(ttft), units.rate(rate), units.data_size(vram))
        rows.append(f"| {' | '.join((run_name(run.cell), run.status, *shown))} |")
    return "\n\n".join([*asked, "\n".join(rows)])


def curves(runs: Sequence[Record]) -> tuple[Point, ...]:
    """Headline figures over each axis of which a group of otherwise equal cells has at least two
    values; repeats are averaged. Names tell the groups apart by what differs between them."""
    believed = [run for run in runs if run.status in ("valid", "flagged")]
    places = [_place(run.cell) for run in believed]
    varying = [name for name in _PLACE if len({place[name] for place in places}) > 1]
    points: list[Point] = []
    for axis in AXES:
        groups: dict[str, list[Record]] = defaultdict(list)
        for run, place in zip(believed, places, strict=True):
            label = " ".join(filter(None, (place[name] for name in varying if name != axis)))
            groups[re.sub(r"[^\w.: -]", "_", label)[:200]].append(run)
        for label, group in groups.items():
            if len({getattr(run.cell, axis) for run in group} - {None}) > 1:
                points += _curve(axis, label, group)
    return tuple(points)


def _curve(axis: str, label: str, group: Sequence[Record]) -> list[Point]:
    at = max(run.started_at for run in group)
    points = []
    for metric in CURVES:
        found: dict[int, list[float]] = defaultdict(list)
        for run in group:
            step = getattr(run.cell, axis)
            value = run.metrics[metric].value if metric in run.metrics else None
            if step is not None and value is not None:
                found[step].append(value)
        name = f"by_{axis}/{metric.replace('.', '_')} {label}".strip()
        points += [Point(name, fmean(found[step]), at, step) for step in sorted(found)]
    return points


def _place(cell: Cell) -> dict[str, str]:
    """What may set a cell apart from others, each in a short word."""
    words = {
        "model": _short(cell.model),
        "quantisation": cell.quantisation or "",
        "batch": _load(cell),
        "prompt_tokens": f"p{cell.prompt_tokens}",
        "output_tokens": f"o{cell.output_tokens}",
    }
    for name in _ENGINE_PLACE:
        value = getattr(cell.engine, name, None)
        words[name] = "" if value is None else f"{name} {value}"
    words["flags"] = " ".join(cell.engine.flags) if cell.engine else ""
    return words


def _load(cell: Cell) -> str:
    return f"b{cell.batch}" if cell.rate is None else f"{cell.rate:g} per s"


def _short(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def _origin(environment: Mapping[str, str | int | float | None]) -> dict[str, str]:
    named = {
        "mlflow.source.git.commit": environment.get("git_commit"),
        "gpu": environment.get("gpu_0_name"),
        "host": environment.get("host"),
    }
    return {"mlflow.source.name": "journal", "mlflow.source.type": "LOCAL"} | {
        tag: str(value) for tag, value in named.items() if value is not None
    }
