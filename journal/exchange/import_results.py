"""Results of other tools, imported as runs that are marked with their tool."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from journal.doubts.rules import doubts, status, unread
from journal.errors import NotFound, UsageError
from journal.exchange import from_aiperf, from_guidellm, from_vllm
from journal.exchange.foreign import Foreign
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.plan.cells import identified
from journal.records.cell import Cell
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment, Load
from journal.records.figure import Figure
from journal.records.request import ClientHealth
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Readings, Samples
from journal.store.codec import experiment_row, table
from journal.store.store import Store, open_store
from journal.store.tables import ExperimentRow

MOST_BYTES = 256 * 2**20
KNOWN = "vllm bench serve (--save-detailed), GuideLLM and AIPerf (JSON)"
GAPS = ("icl_s", "itl_s")  # metrics that need every chunk of an answer, and the doubts about them
ABOUT_CHUNKS = ("several_tokens_per_chunk", "tokens_per_chunk_unknown", "chunks_together")


@dataclass(frozen=True, slots=True)
class Imported:
    """The runs of a file, and the ids of those that the journal did not have before."""

    records: tuple[Record, ...]
    new: tuple[str, ...]


def import_results(path: str | Path, home: str | Path = "lab") -> Imported:
    """Import the runs of a result file, as vllm bench serve, GuideLLM or AIPerf wrote it, into the
    journal of `home`. A file that was imported before changes nothing. Raises UsageError for
    another file, or one whose values are not valid."""
    path = Path(path)
    content = _content(path)
    runs = _read(path, content)
    digest = sha256(content).hexdigest()
    with open_store(Path(home)) as store:
        records, new = [], []
        begun = _begun(store, path, runs, digest)
        for number, foreign in enumerate(runs):
            run_id = sha256(f"{digest} {number}".encode()).hexdigest()[:16]
            try:
                records.append(store.run(run_id))
            except NotFound:
                record, samples = _run(run_id, begun, foreign)
                store.add_run(record, samples)
                records.append(record)
                new.append(run_id)
        return Imported(tuple(records), tuple(new))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"there is no file {path}: name a result file")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES >> 20} MiB: import a smaller one")
    return content


def _read(path: Path, content: bytes) -> tuple[Foreign, ...]:
    """The runs in `content`, read by the reader of the tool that wrote it. Raises UsageError."""
    from pydantic import ValidationError
    from pydantic_core import from_json

    try:
        data: Any = from_json(content)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}): {KNOWN} can be imported") from error
    try:
        runs = _by_tool(path, data) if isinstance(data, dict) else ()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].lower()
        raise UsageError(f"{path} cannot be imported: {where[:200]}: {reason[:200]}") from error
    if not runs:
        raise UsageError(f"{path} is not a result file that is known here: {KNOWN} are")
    return runs


def _by_tool(path: Path, data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    if from_vllm.is_from_vllm(data):
        return from_vllm.vllm_runs(data)
    if from_guidellm.is_from_guidellm(data):
        return from_guidellm.guidellm_runs(data)
    if from_aiperf.is_from_aiperf(data):
        requests = path.with_name(from_aiperf.REQUESTS)
        return from_aiperf.aiperf_runs(
            data, _content(requests).splitlines() if requests.is_file() else None
        )
    return ()


# ---- records of the journal ------------------------------------------------------------------


def _begun(store: Store, path: Path, runs: tuple[Foreign, ...], digest: str) -> ExperimentRecord:
    """The experiment that stands for the file; it is stored where the journal lacks it."""
    experiment_id = sha256(f"{digest} experiment".encode()).hexdigest()[:16]
    try:
        return store.experiment(experiment_id)
    except NotFound:
        first = min(runs, key=lambda run: run.started_at)
        record = ExperimentRecord(
            id=experiment_id,
            experiment=Experiment(name=f"{first.tool}: {path.stem}"),
            started_at=first.started_at,
            status="done",
            ended_at=max(run.started_at for run in runs),
            environment=_environment(first),
        )
        with store.transaction(writing=True) as connection:
            connection.execute(insert(table(ExperimentRow)), experiment_row(record))
        return record


def _environment(foreign: Foreign) -> dict[str, str | int | float | None]:
    return {"tool": foreign.tool, "tool_version": foreign.version}


def _run(run_id: str, begun: ExperimentRecord, foreign: Foreign) -> tuple[Record, Samples | None]:
    """The record of an imported run, and its samples where every chunk is known (else None)."""
    absent = {"variant": "imported", "tool": foreign.tool}
    samples = Samples(
        cell=_cell(foreign, begun.experiment.name),
        facts=EngineFacts(),
        traces=foreign.traces,
        readings=Readings(absent=(absent, *foreign.notes)),
        client=ClientHealth(event_loop=foreign.tool),
    )
    if foreign.traces:
        view = View(samples)
        figures = metrics(view)
        if not foreign.every_chunk:
            figures |= {n: Figure(None) for n in figures if n.partition(".")[0] in GAPS}
        unknown = () if foreign.every_chunk else ABOUT_CHUNKS
        raised = tuple(doubt for doubt in doubts(view, figures) if doubt.name not in unknown)
        state = status(view, raised)
    else:
        figures = dict(foreign.figures)
        raised = tuple(map(unread, samples.readings.absent))
        state = "valid" if foreign.figures["requests"] != foreign.figures["errors"] else "failed"
    record = Record(
        id=run_id,
        experiment_id=begun.id,
        cell=samples.cell,
        status=state,
        started_at=foreign.started_at,
        duration_s=foreign.duration_s,
        metrics=figures,
        doubts=raised,
        error=next((trace.error for trace in foreign.traces if trace.error), None),
        environment=_environment(foreign),
    )
    return record, samples if foreign.traces and foreign.every_chunk else None


def _cell(foreign: Foreign, experiment: str) -> Cell:
    return identified(
        Cell(
            experiment=experiment,
            model=foreign.model,
            quantisation=None,
            engine=None,
            batch=foreign.batch,
            rate=foreign.rate,
            prompt_tokens=foreign.prompt_tokens,
            output_tokens=foreign.output_tokens,
            load=Load(
                requests=max(1, foreign.requests),
                warmup=0,
                burstiness=foreign.burstiness,
                convoy=True,  # other tools begin their streams together
            ),
        )
    )
