"""The steps of the two weeks, ticked from the runs, checkups and answers that the journal holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from journal import units
from journal.records.load_shape import load_shape
from journal.report.document import Box, Column, Section, Table, Text, say
from journal.report.phrases import words
from journal.report.quiz import earned
from journal.store.evidence import (
    GoodRun,
    environment_of,
    first_answer,
    first_checkup,
    good_runs,
)

if TYPE_CHECKING:
    from journal.store.rows import Journal

SHORT_ID = 8
Kind = Literal["run", "checkup", "ask", "chat", "note"]
Key: TypeAlias = tuple[object, ...]

STRUCTURE = ("weights", "token", "kv_cache")  # its parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the two weeks. `id` is that of the run, checkup, answer or note of `kind` that
    proves it, begun at `at`; `evidence` describes it, also where that is not enough (`done` is
    False)."""

    name: str
    done: bool
    evidence: Text = ""
    kind: Kind | None = None
    id: str | None = None
    at: datetime | None = None

    def as_json(self, lang: str = "en") -> dict[str, Any]:
        """The step as plain JSON values, with its title and evidence in `lang` (en or zh)."""
        speak = words(lang)
        return {
            "step": self.name,
            "title": speak.phrases[f"checklist.{self.name}"],
            "done": self.done,
            "run_id": self.id if self.kind == "run" else None,
            "kind": self.kind,
            "id": self.id,
            "at": self.at.isoformat() if self.at else None,
            "evidence": speak.say(self.evidence, str),
        }


def checklist(home: str | Path = "lab") -> tuple[Step, ...]:
    """The steps of the two weeks, in order, ticked from the journal in the directory `home`."""
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        return steps(store)


def steps(store: "Journal", before: datetime | None = None) -> tuple[Step, ...]:
    """The steps of the two weeks, in order, from all recorded before `before` (None: until now)."""
    runs = good_runs(store, before)
    return (
        _host(store, before, runs),
        _api(store, before, runs),
        _memory(runs),
        _latency(runs),
        _models(runs),
        _structure(store, before),
        _answered("chat", "chat", store, before),
    )


def checklist_section(steps: Sequence[Step]) -> Section:
    """The checklist as a section of a log: a row for each step."""
    titles = ("state", "step", "found", "id")
    columns = tuple(Column(say(f"checklist.{title}"), numeric=False) for title in titles)
    return Section(2, say("checklist.heading"), (Table(columns, tuple(map(_row, steps))),))


def _row(step: Step) -> tuple[Box, ...]:
    state = say("checklist.done" if step.done else "checklist.open")
    shown = step.id[:SHORT_ID] if step.id else units.ABSENT
    return (
        Box(state),
        Box(say(f"checklist.{step.name}")),
        Box(step.evidence or units.ABSENT),
        Box(shown),
    )


# ---- the steps -------------------------------------------------------------------------------


def _host(store: "Journal", before: datetime | None, runs: Sequence[GoodRun]) -> Step:
    checked = first_checkup(store, before)
    environments = ((run, environment_of(store, run.id)) for run in runs)
    seen = next((pair for pair in environments if pair[1].get("host")), None)  # imports have none
    if checked is not None and not (seen and seen[0].started_at <= checked[1]):
        id_, at, host = checked
        evidence = say("checklist.host_checked", host=host)
        return Step(name="host", done=True, evidence=evidence, kind="checkup", id=id_, at=at)
    if seen is None:
        return Step(name="host", done=False)
    run, here = seen
    gpu = here.get("gpu_0_name")
    name: Text = str(gpu) if gpu else say("checklist.no_gpu")
    return _proved("host", run, say("checklist.host_seen", host=str(here["host"]), gpu=name))


def _api(store: "Journal", before: datetime | None, runs: Sequence[GoodRun]) -> Step:
    """The step that a run at a real server proves, else `journal ask`, else any run."""
    run = min(runs, key=lambda run: run.simulated, default=None)
    if run is None or run.simulated:
        answered = _answered("api", "ask", store, before)
        if answered.done:
            return answered
    if run is None:
        return Step(name="api", done=False)
    return _proved("api", run, say("checklist.answered", model=_model(run)))


def _memory(runs: Sequence[GoodRun]) -> Step:
    def group(run: GoodRun) -> Key:
        return run.model, run.quantisation, run.batch, run.rate, run.output_tokens

    for name, done in (("vram_peak_bytes", True), ("rss_peak_bytes", False)):
        runs_read = [r for r in runs if None not in (getattr(r, name), r.prompt_tokens)]
        pair = _pair(runs_read, group, lambda run: run.prompt_tokens)
        if pair:
            evidence = say(
                f"checklist.{name}",
                model=_model(pair[1]),
                lengths=tuple(f"{run.prompt_tokens:,}" for run in pair),
                sizes=tuple(units.data_size(getattr(run, name)) for run in pair),
            )
            return replace(_proved("memory", pair[1], evidence), done=done)
    return Step(name="memory", done=False)


def _latency(runs: Sequence[GoodRun]) -> Step:
    pair = _pair(
        [run for run in runs if not _open(run) and run.e2e_s is not None],
        lambda run: (run.model, run.quantisation, run.prompt_tokens, run.output_tokens),
        lambda run: run.batch,
    )
    if pair is None:
        return Step(name="latency", done=False)
    evidence = say(
        "checklist.latencies",
        model=_model(pair[1]),
        batches=tuple(f"{run.batch:,}" for run in pair),
        times=tuple(units.seconds(run.e2e_s) for run in pair),
    )
    return _proved("latency", pair[1], evidence)


def _open(run: GoodRun) -> bool:
    return load_shape(run.batch, run.rate).is_open


def _models(runs: Sequence[GoodRun]) -> Step:
    pair = _pair(
        [run for run in runs if run.output_tokens_per_s is not None],
        lambda run: (run.batch, run.rate, run.prompt_tokens, run.output_tokens),
        lambda run: run.model,
    )
    if pair is None:
        return Step(name="models", done=False)
    evidence = say("checklist.compared", a=_model(pair[0]), b=_model(pair[1]))
    return _proved("models", pair[1], evidence)


def _structure(store: "Journal", before: datetime | None) -> Step:
    """The step that is done when a quiz question about each part of the structure was answered
    rightly."""
    held = earned(store, before)
    if not held:
        return Step(name="structure", done=False)
    parts = tuple(
        say("checklist.part", part=say(f"checklist.{part}"), name=held[part][0])
        for part in STRUCTURE
        if part in held
    )
    missing = tuple(say(f"checklist.{part}") for part in STRUCTURE if part not in held)
    note = max((note for _, note in held.values()), key=lambda note: note.written_at)
    return Step(
        name="structure",
        done=not missing,
        evidence=say("checklist.partly", held=parts, missing=missing)
        if missing
        else say("checklist.understood", held=parts),
        kind="note",
        id=note.id,
        at=note.written_at,
    )


def _answered(
    name: str, source: Literal["ask", "chat"], store: "Journal", before: datetime | None
) -> Step:
    """A step that the first answer to a question from `source` proves."""
    first = first_answer(store, source, before)
    if first is None:
        return Step(name=name, done=False)
    id_, at, model = first
    evidence = say("checklist.answered", model=model)
    return Step(name=name, done=True, evidence=evidence, kind=source, id=id_, at=at)


def _proved(name: str, run: GoodRun, evidence: Text) -> Step:
    return Step(name=name, done=True, evidence=evidence, kind="run", id=run.id, at=run.started_at)


def _model(run: GoodRun) -> Text:
    name = " ".join(part for part in (run.model, run.quantisation) if part)
    return say("setup.simulated", name=name) if run.simulated else name


def _pair(
    runs: Sequence[GoodRun], group: Callable[[GoodRun], Key], axis: Callable[[GoodRun], object]
) -> tuple[GoodRun, GoodRun] | None:
    """The first two runs of one group that differ in `axis`, of a real server where it has such;
    None where no two differ."""
    for chosen in ([run for run in runs if not run.simulated], runs):
        firsts: dict[Key, GoodRun] = {}
        for run in chosen:
            first = firsts.setdefault(group(run), run)
            if axis(first) != axis(run):
                return first, run
    return None
