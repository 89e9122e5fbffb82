"""Results of other tools, imported as runs that are marked with their tool."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from journal.doubts.rules import doubts, doubts_of_figures, status, worst
from journal.exchange.foreign import Foreign
from journal.exchange.own_figures import contradictions, differences
from journal.exchange.readers import is_known, runs_of
from journal.exchange.result_files import Document, content, documents
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.plan.cells import identified
from journal.records.cell import Cell
from journal.records.doubt import Doubt, Values
from journal.records.engine import EngineFacts
from journal.records.experiment import Experiment, Load
from journal.records.figure import Figure, Metrics
from journal.records.request import ClientHealth
from journal.records.run import ExperimentRecord, Record, Status
from journal.records.samples import IMPORTED, Readings, Samples
from journal.store.store import open_store
from journal.store.taken_in import Taken, store_lacking

GAPS = ("icl_s", "itl_s")  # metrics that need every chunk of an answer, and the doubts about them
ABOUT_CHUNKS = ("several_tokens_per_chunk", "tokens_per_chunk_unknown", "chunks_together")
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class Imported:
    """The runs of a file, and the ids of those that the journal did not have before."""

    records: tuple[Record, ...]
    new: tuple[str, ...]


class _Found(NamedTuple):
    """A run in a file: its id, the id that earlier versions gave it, and what the file says."""

    id: str
    former_id: str
    foreign: Foreign


def import_results(path: str | Path, home: str | Path = "lab") -> Imported:
    """Import the runs of a result file, or of a folder of them, as another tool wrote it
    (docs/exchange.md names the tools), into the journal of `home`. A result that was imported
    before changes nothing, also when two imports run at once. Raises UsageError, with nothing
    stored, for another file or one whose values are not valid."""
    path = Path(path)
    found = _found(path)
    begun = _experiment(path, found)
    taken = [Taken(*_run(each.id, begun, each.foreign), former_id=each.former_id) for each in found]
    with open_store(Path(home)) as store:
        there = store_lacking(store, begun, taken)
        records = tuple(store.run(run_id) for run_id, _ in there)
        return Imported(records, tuple(run_id for run_id, new in there if new))


def _found(path: Path) -> list[_Found]:
    """The runs of a file or a folder, each with an id from what its document says: the same result
    in another file is the same run. Raises UsageError."""
    found: list[_Found] = []
    same: Counter[str] = Counter()
    for number, document in enumerate(documents(path, is_known)):
        written = json.dumps(document.data, sort_keys=True, default=str)
        digest = sha256(written.encode("utf-8", "surrogatepass")).hexdigest()
        copy = same[digest]
        same[digest] += 1
        former = sha256(content(document.path)).hexdigest() if number == 0 else ""
        for part, foreign in enumerate(runs_of(document)):
            run_id = _short(f"{digest} {part}" + (f" {copy}" if copy else ""))
            found.append(_Found(run_id, _short(f"{former} {part}"), _timed(foreign, document)))
    return found


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _timed(foreign: Foreign, document: Document) -> Foreign:
    """`foreign` with the notes on what its file does not say; its time is that of the file where
    the file has none. A length of 0 is not known either: so some tools write it."""
    if foreign.prompt_tokens == 0:
        foreign = replace(foreign, prompt_tokens=None)
    if foreign.output_tokens == 0:
        foreign = replace(foreign, output_tokens=None)
    unsaid = _unsaid(foreign)
    if foreign.started_at is None:
        changed = datetime.fromtimestamp(document.path.stat().st_mtime, UTC)
        foreign = replace(foreign, started_at=changed)
    note: Values = {"variant": "imported_unsaid", "facts": unsaid}
    return replace(foreign, notes=(*foreign.notes, note)) if unsaid else foreign


def _unsaid(foreign: Foreign) -> list[str]:
    """The facts that the file does not tell, by their words in the doubt "absent"."""
    sent = foreign.workload.task is None  # a score has neither load nor lengths nor times
    neither = foreign.prompt_tokens is None and foreign.output_tokens is None
    facts = {
        "model": foreign.model is None,
        "load": sent and foreign.batch is None and foreign.rate is None,
        "lengths": sent and neither,
        "prompt_length": foreign.prompt_tokens is None and not neither,
        "output_length": foreign.output_tokens is None and not neither,
        "duration": sent and foreign.duration_s is None,
        "time": foreign.started_at is None,
    }
    return [fact for fact, missing in facts.items() if missing]


# ---- records of the journal ------------------------------------------------------------------


def _experiment(path: Path, found: list[_Found]) -> ExperimentRecord:
    """The experiment that stands for the file."""
    first = min((each.foreign for each in found), key=_began)
    return ExperimentRecord(
        id=_short(f"{' '.join(each.id for each in found)} experiment"),
        experiment=Experiment(name=f"{first.tool}: {path.stem}"),
        started_at=_began(first),
        status="done",
        ended_at=max(_began(each.foreign) for each in found),
        environment=_environment(first),
    )


def _began(foreign: Foreign) -> datetime:
    assert foreign.started_at is not None, "the file's own time stands in"
    return foreign.started_at


def _environment(foreign: Foreign) -> dict[str, str | int | float | None]:
    return {"tool": foreign.tool, "tool_version": foreign.version}


def _run(run_id: str, begun: ExperimentRecord, foreign: Foreign) -> tuple[Record, Samples | None]:
    """The record of an imported run, and its samples where every chunk is known (else None)."""
    samples = _samples(foreign, _cell(foreign, begun.experiment.name))
    if foreign.traces:
        samples, figures, raised, state = _of_requests(foreign, samples)
    else:
        figures, raised, state = _of_figures(foreign, samples.readings.absent)
    record = Record(
        id=run_id,
        experiment_id=begun.id,
        cell=samples.cell,
        status=state,
        started_at=_began(foreign),
        duration_s=0.0 if foreign.duration_s is None else foreign.duration_s,
        metrics=figures,
        doubts=raised,
        error=next((trace.error for trace in foreign.traces if trace.error), None),
        environment=_environment(foreign),
    )
    return record, samples if foreign.traces and foreign.every_chunk else None


def _samples(foreign: Foreign, cell: Cell) -> Samples:
    absent: list[Values] = [{"variant": IMPORTED, "tool": foreign.tool}, *foreign.notes]
    absent += [{"variant": "tool_cancelled", "tool": foreign.tool}] if foreign.cancelled else []
    return Samples(
        cell=cell,
        facts=EngineFacts(),
        traces=foreign.traces,
        readings=Readings(absent=tuple(absent)),
        client=ClientHealth(event_loop=foreign.tool),
    )


def _of_requests(
    foreign: Foreign, samples: Samples
) -> tuple[Samples, Metrics, tuple[Doubt, ...], Status]:
    """The figures and doubts of a run with requests, and its samples with what differs."""
    view = View(samples)
    figures = metrics(view)
    if not foreign.every_chunk:
        figures |= {n: Figure(None) for n in figures if n.partition(".")[0] in GAPS}
    apart = differences(foreign, figures, view)
    if apart:
        absent = (*samples.readings.absent, apart)
        samples = replace(samples, readings=Readings(absent=absent))
        view = View(samples)
    unknown = () if foreign.every_chunk else ABOUT_CHUNKS
    raised = tuple(doubt for doubt in doubts(view, figures) if doubt.name not in unknown)
    return samples, figures, raised, status(view, raised)


def _of_figures(
    foreign: Foreign, absent: tuple[Values, ...]
) -> tuple[Metrics, tuple[Doubt, ...], Status]:
    """The figures and doubts of a run that has its file's figures alone."""
    figures = dict(foreign.figures)
    apart = differences(foreign, figures, None) or contradictions(foreign, figures)
    errors = figures.get("errors", Figure(None)).value
    raised = doubts_of_figures(
        foreign.requests,
        0 if errors is None else round(errors),
        Load().max_error_rate,
        (*absent, apart) if apart else absent,
    )
    failed = any(doubt.name == "nothing_succeeded" for doubt in raised)
    return figures, raised, "failed" if failed else worst(raised)


def _cell(foreign: Foreign, experiment: str) -> Cell:
    return identified(
        Cell(
            experiment=experiment,
            model=UNNAMED if foreign.model is None else foreign.model,
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
            repeat=foreign.repeat,
            workload=foreign.workload,
        )
    )
