"""Entries for MLflow from records, by MLflow's conventions; this module sends nothing.

An experiment is a run, and each of its cells is a run under it. Where an experiment compares
several engines, each engine is a run between the two, so that two of them give two lines in one
chart. Every run has the same params, because the UI's parallel coordinates drop a run that lacks
one. The part of a metric's name before its "/" is the section of the UI's charts.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from journal import units
from journal.doubts.words import sentence
from journal.metrics.table import section
from journal.records.cell import Cell
from journal.records.experiment import Engine, Experiment, Slo
from journal.records.load_shape import AXIS_NAMES
from journal.records.run import ExperimentRecord, Record
from journal.records.sameness import workload_key
from journal.records.workload import Workload
from journal.store.plain import secret_of, to_json
from journal.tracking.mlflow_curves import CurvePoint, curves, headlines, headlines_of, searched

Level = Literal["experiment", "engine", "cell"]

NONE = "none"
COURSE = ("ramp", "duration_s", "abandon_after_s")  # how a load goes on, beyond its axes
LEVEL_TAG = "journal.level"
EXPERIMENT_TAG = "journal.experiment_id"
CURVES_TAG = "journal.curves"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
ROWS_OF_NOTE = 50

_TELLING = (
    *("dtype", "tensor_parallel", "pipeline_parallel", "executor"),
    *("max_model_len", "gpu_memory_utilization"),
    *("kv_cache_memory_bytes", "prefix_caching", "revision"),
)
_RUN_STATUS = {"invalid": "FAILED", "failed": "FAILED", "interrupted": "KILLED"}
_EXPERIMENT_STATUS = {**_RUN_STATUS, "running": "RUNNING"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run as MLflow stores it. `id` is the journal's, by which the run is found again."""

    id: str
    experiment: str
    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[CurvePoint, ...]


# ---- one entry for each level ------------------------------------------------------------------


def run_entry(record: Record, parent_id: str) -> RunEntry:
    """The entry of one run, under the MLflow run `parent_id` of its engine or experiment."""
    ended_at = _ended(record)
    cell = record.cell
    notes = [*([record.error] if record.error else []), *map(sentence, record.doubts)]
    return RunEntry(
        id=record.id,
        experiment=cell.experiment,
        name="failed start" if record.start_failed else run_name(cell),
        status=_RUN_STATUS.get(record.status, "FINISHED"),
        started_at=record.started_at,
        ended_at=ended_at,
        tags={
            PARENT_TAG: parent_id,
            NOTE_TAG: "\n".join(f"- {note}" for note in notes),
            EXPERIMENT_TAG: record.experiment_id,
            "journal.identity": cell.identity,
            "workload": cell.workload.name,
            **_sent(record),
            "status": record.status,
            "doubts": str(len(record.doubts)),
            **_served(cell.engine, [record]),
            **_tags("cell", record.environment),
        },
        params=params(cell),
        points=tuple(
            CurvePoint(mlflow_name(name), figure.value, ended_at)
            for name, figure in record.metrics.items()
            if figure.value is not None
        ),
    )


def _workload(workload: Workload) -> str:
    """The name of a workload, and the key by which runs of it are told apart."""
    key = workload_key(workload)
    return workload.name if key is None else f"{workload.name}: {key}"


def _sent(record: Record) -> dict[str, str]:
    """The tag with the hash of what was sent; none where it is not known."""
    sent = record.environment.get("sent_sha256")
    return {} if sent is None else {"sent_sha256": str(sent)}


def engine_entry(
    begun: ExperimentRecord, engine: Engine, runs: Sequence[Record], parent_id: str
) -> RunEntry:
    """The entry of one of the engines that an experiment compares, with the curves of its `runs`,
    under the MLflow run `parent_id` of the experiment."""
    own = [run for run in runs if key_of(run.cell.engine) == key_of(engine)]
    over = None if begun.status == "running" else begun.ended_at
    good = any(run.good for run in own)
    points = _points(begun, own)
    return RunEntry(
        id=f"{begun.id}-{key_of(engine)}",
        experiment=begun.experiment.name,
        name=engine_names(begun.experiment)[key_of(engine)],
        status="RUNNING" if over is None else "FINISHED" if good else "FAILED",
        started_at=min((run.started_at for run in own), default=begun.started_at),
        ended_at=over and max(map(_ended, own), default=over),
        tags={
            PARENT_TAG: parent_id,
            EXPERIMENT_TAG: begun.id,
            "runs": str(len(own)),
            **_served(engine, own),
            **_tags("engine", begun.environment),
            **_curves_tag(points),
        },
        params=shared_params(begun.experiment, [engine], own),
        points=points,
    )


def experiment_entry(
    begun: ExperimentRecord, runs: Sequence[Record], summary: str | None = None
) -> RunEntry:
    """The entry of an experiment, with `summary` (Markdown; None: a plain one) as its note, and
    with the curves of its `runs`; where it compares engines, whose runs have these, with the
    headline figures of each."""
    experiment = begun.experiment
    started = begun.started_at.astimezone(UTC)
    points = _of_each(experiment, runs) if compared_engines(experiment) else _points(begun, runs)
    engines = engines_of(experiment)
    return RunEntry(
        id=begun.id,
        experiment=experiment.name,
        name=f"{experiment.name} {started:%Y-%m-%d %H:%M}",
        status=_EXPERIMENT_STATUS.get(begun.status, "FINISHED"),
        started_at=begun.started_at,
        ended_at=begun.ended_at,
        tags={
            NOTE_TAG: experiment_note(begun, runs) if summary is None else summary,
            EXPERIMENT_TAG: begun.id,
            "status": begun.status,
            "runs": str(len(runs)),
            **_served(engines[0] if len(engines) == 1 else None, runs),
            **_tags("experiment", begun.environment),
            **_curves_tag(points),
        },
        params=shared_params(experiment, engines, runs),
        points=points,
    )


# ---- the engines of an experiment --------------------------------------------------------------


def key_of(engine: Engine | None) -> str:
    """The key of engines that serve alike: the same for any interpreter and any time to start, and
    whether or not secrets are starred out. Empty without an engine."""
    if engine is None:
        return ""
    alike = replace(engine, python=None, start_timeout_s=1.0)
    return hashlib.sha256(to_json(alike, secret_of([engine])).encode()).hexdigest()[:8]


def engines_of(experiment: Experiment) -> list[Engine]:
    """The engines of an experiment that differ."""
    return list({key_of(engine): engine for engine in experiment.engines}.values())


def compared_engines(experiment: Experiment) -> list[Engine]:
    """The engines that an experiment compares: empty where it has only one."""
    engines = engines_of(experiment)
    return engines if len(engines) > 1 else []


def engine_names(experiment: Experiment) -> dict[str, str]:
    """A name for each engine, by its key: its model, its quantisation, and the fields in which it
    differs from the experiment's other engines."""
    engines = engines_of(experiment)
    telling = [n for n in _TELLING if len({getattr(engine, n) for engine in engines}) > 1]
    if len({engine.flags for engine in engines}) > 1:
        telling.append("flags")
    names = {}
    for engine in engines:
        parts = [_short(engine.model), engine.quantisation or ""]
        for name in telling:
            value = getattr(engine, name)
            parts.append(" ".join(value) if name == "flags" else f"{name} {value}")
        names[key_of(engine)] = " ".join(part for part in parts if part)
    return names


# ---- names, params and tags --------------------------------------------------------------------


def mlflow_name(name: str) -> str:
    """The name of a metric in MLflow: `ttft_s.p50` as `latency/ttft_s_p50`, after its section in
    the table of metrics."""
    try:
        where: str = section(name)
    except KeyError:
        where = "other"
    return f"{where}/{name.replace('.', '_')}"


def run_name(cell: Cell) -> str:
    """A cell in one short line, such as `Mistral-7B awq b8 p512 o64`."""
    parts = [_short(cell.model), cell.quantisation, cell.shape.short]
    lengths = {"p": cell.prompt_tokens, "o": cell.output_tokens}
    parts += [f"{letter}{'?' if n is None else n}" for letter, n in lengths.items()]
    parts += [f"#{cell.repeat + 1}"] if cell.load.repeats > 1 else []
    return " ".join(part for part in parts if part)


def params(cell: Cell) -> dict[str, str]:
    """The params of a cell, by the same names for every cell; a value that the cell lacks is
    "none"."""
    engine = cell.engine
    values: dict[str, object] = {
        "model": cell.model,
        "quantisation": cell.quantisation,
        "dtype": engine.dtype if engine else None,
        "tensor_parallel": engine.tensor_parallel if engine else None,
        "pipeline_parallel": engine.pipeline_parallel if engine else None,
        "max_model_len": engine.max_model_len if engine else None,
        **{name: getattr(cell, name) for name in AXIS_NAMES},
        "requests": cell.load.requests,
        "convoy": cell.convoy,
        "length_spread": cell.load.length_spread,
        **{name: getattr(cell.load, name) for name in COURSE},
        "workload": _workload(cell.workload),
        "repeat": cell.repeat,
        "seed": cell.seed,
        **_limits(cell.slo),
    }
    return {name: NONE if value is None else str(value) for name, value in values.items()}


def _limits(slo: Slo | None) -> dict[str, float]:
    """The limits of an SLO as bare numbers, with their units in the names."""
    if slo is None:
        return {}
    named = {f"slo_{name}": getattr(slo, name) for name in Slo.__slots__}
    return {name: value for name, value in named.items() if value is not None}


def shared_params(
    experiment: Experiment, engines: Sequence[Engine], runs: Sequence[Record]
) -> dict[str, str]:
    """The params of a run that stands for many cells, by the names of a cell's params: all their
    values, such as "1, 8, 32". The model at an endpoint comes from its `runs`."""
    grid, searched = experiment.grid, experiment.find_capacity
    batches = () if grid.rate else grid.batch
    values: dict[str, Sequence[object]] = {
        "model": [engine.model for engine in engines] or [run.cell.model for run in runs],
        "quantisation": [engine.quantisation or NONE for engine in engines],
        "dtype": [engine.dtype for engine in engines],
        "tensor_parallel": [engine.tensor_parallel for engine in engines],
        "pipeline_parallel": [engine.pipeline_parallel for engine in engines],
        "max_model_len": [engine.max_model_len or NONE for engine in engines],
        "batch": ["searched"] if searched == "concurrency" else batches,
        "rate": ["searched"] if searched == "rate" else grid.rate,
        "prompt_tokens": grid.prompt_tokens,
        "output_tokens": grid.output_tokens,
        "requests": [experiment.load.requests],
        "convoy": [experiment.load.convoy],
        "length_spread": [experiment.load.length_spread],
        **{name: [getattr(experiment.load, name) or NONE] for name in COURSE},
        "workload": [_workload(experiment.workload)],
        "repeat": range(experiment.load.repeats),
        "seed": [experiment.load.seed],
        **{name: [value] for name, value in _limits(experiment.slo).items()},
    }
    if not values["model"]:
        del values["model"]
    return {name: ", ".join(dict.fromkeys(map(str, v))) or NONE for name, v in values.items()}


def experiment_note(begun: ExperimentRecord, runs: Sequence[Record]) -> str:
    """A summary in Markdown: the question and the hypothesis, and a line for each run."""
    experiment = begun.experiment
    words = {"Question": experiment.question, "Hypothesis": experiment.hypothesis}
    lines = [f"**{title}:** {text}" for title, text in words.items() if text]
    if not runs:
        return "\n\n".join(lines)
    rows = ["| run | status | TTFT p50 | output | VRAM peak |", "| --- | --- | --- | --- | --- |"]
    for run in runs[:ROWS_OF_NOTE]:
        ttft, rate, vram = (
            run.value(name) for name in ("ttft_s.p50", "output_tokens_per_s", "vram_peak_bytes")
        )
        shown = (units.seconds(ttft), units.rate(rate), units.data_size(vram))
        rows.append(f"| {' | '.join((run_name(run.cell), run.status, *shown))} |")
    return "\n\n".join([*lines, "\n".join(rows)])


def _points(begun: ExperimentRecord, runs: Sequence[Record]) -> tuple[CurvePoint, ...]:
    return (
        *headlines(runs),
        *searched(begun.experiment, runs),
        *curves(runs, several_outputs=len(begun.experiment.grid.output_tokens) > 1),
    )


def _of_each(experiment: Experiment, runs: Sequence[Record]) -> tuple[CurvePoint, ...]:
    own: dict[str, list[Record]] = defaultdict(list)
    for run in runs:
        own[key_of(run.cell.engine)].append(run)
    return tuple(headlines_of((name, own[key]) for key, name in engine_names(experiment).items()))


def _curves_tag(points: Sequence[CurvePoint]) -> dict[str, str]:
    """The tag by which changed curves are recognised: MLflow can add points to a curve, but never
    remove one."""
    lines = [f"{point.name} {point.step} {point.value!r}" for point in points if point.step]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return {CURVES_TAG: digest} if lines else {}


def _served(engine: Engine | None, runs: Sequence[Record]) -> dict[str, str]:
    """The tags of the server of the runs: all values that they have."""
    models = [engine.model] if engine else [run.cell.model for run in runs]
    kinds = [engine.quantisation] if engine else [run.cell.quantisation for run in runs]
    versions = [run.facts.version for run in runs if run.facts.version is not None]
    named = {
        "model": models,
        "quantisation": [kind or NONE for kind in kinds],
        "engine_version": versions or [NONE],
    }
    return {name: ", ".join(dict.fromkeys(values)) for name, values in named.items() if values}


def _tags(level: Level, environment: Mapping[str, str | int | float | None]) -> dict[str, str]:
    named = {
        "mlflow.source.git.commit": environment.get("git_commit"),
        "git_commit": environment.get("git_commit"),
        "gpu": environment.get("gpu_0_name") or NONE,
        "host": environment.get("host"),
        "mlflow.user": environment.get("user"),
        "tool": environment.get("tool"),
    }
    return {
        LEVEL_TAG: level,
        "mlflow.source.name": "journal",
        "mlflow.source.type": "LOCAL",
        **{tag: str(value) for tag, value in named.items() if value is not None},
    }


def _ended(record: Record) -> datetime:
    return record.started_at + timedelta(seconds=record.duration_s)


def _short(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]
