"""Sends experiments and runs to MLflow, from the store's outbox.

The journal is the truth and MLflow a view of it: an MLflow that is down, slow or broken costs a few
seconds once and never a row. Records that it did not take stay pending in the store, with the
reason, and `sync` sends them later. Sending twice, also after a crash half-way, changes nothing.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from journal.compare.starts import reason_of
from journal.errors import DamagedRow, StoreError
from journal.language import translated
from journal.records.progress import Event, Listener, ignore
from journal.records.run import ExperimentRecord, Record
from journal.redaction import hidden, shown_url
from journal.store.lock_files import locked
from journal.store.store import Store
from journal.tracking.addresses import asked_uri, charts
from journal.tracking.entries import (
    RunEntry,
    compared_engines,
    engine_entry,
    experiment_entry,
    experiment_note,
    key_of,
    run_entry,
)
from journal.tracking.mlflow_runs import MlflowRuns
from journal.tracking.mlflow_store import check_reachable, database_url, make_whole

Describe = Callable[[ExperimentRecord, Sequence[Record]], str]

LONGEST = 4096  # characters of MLflow's own words that are looked at
SLOW_S = 10.0  # a tracking server that takes longer for one record is left alone until `sync`

# By default a server that is gone blocks each call for minutes. The user's own settings win.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def tracking_uri(home: Path) -> str:
    """The URI of MLflow's store: MLFLOW_TRACKING_URI, else `home`/mlflow.db."""
    return asked_uri() or database_url(home)


class Tracker:
    """The sender of one experiment to MLflow while it runs. No method raises because of MLflow:
    `error` is None, or the sentence that says why MLflow lacks something. After MLflow did not
    answer, or was slow as a server (unless `patient`), this tracker sends nothing more. Leaving the
    context sends how the experiment ended."""

    def __init__(self, store: Store, home: Path, *, patient: bool = False) -> None:
        self.error: str | None = None
        self._store, self._home = store, home
        self._patient = patient or tracking_uri(home).startswith(("sqlite:", "file:"))
        self._mlflow: MlflowRuns | None = None
        self._gone = False
        self._known: dict[str, str] = {}  # MLflow's ids, by those of entries
        self._failed: dict[Hashable, str] = {}  # and by engine starts that failed
        self._begun: dict[str, ExperimentRecord] = {}
        self._unfinished: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._unfinished is not None:
            self.finish(self._store.experiment(self._unfinished))

    def give_up(self, why: str) -> None:
        """Send nothing more to MLflow; the records that it lacks stay pending."""
        self._gone = True
        self.error = f"MLflow lacks some records ({why}): journal sync sends them"

    def prepare(self) -> None:
        """Open MLflow's store, which takes a while, before there is anything to tell."""
        with suppress(Exception), _settings(), locked(self._home / "mlflow.lock"):
            self._opened().answers()  # what is wrong with it, the first record will tell

    def log(self, record: Record) -> bool:
        """Send a run that is in the store; return whether MLflow took it. The runs of one engine
        that did not start are one run there."""
        self._unfinished = record.experiment_id
        start = reason_of(record) if record.start_failed else None

        def send(mlflow: MlflowRuns) -> str:
            if start in self._failed:
                return self._failed[start]
            there = mlflow.put(run_entry(record, self._above(mlflow, record)))
            if start is not None:
                self._failed[start] = there
            return there

        return self._tell(record, send)

    def finish(
        self,
        experiment: ExperimentRecord,
        artifacts: Sequence[Path] = (),
        summary: str | None = None,
        read: Sequence[Record] | None = None,
    ) -> bool:
        """Send how an experiment ended, with its curves, `summary` (Markdown; None: a plain one)
        and `artifacts` (files); return whether MLflow took it. `read` are all its runs, where the
        caller has read them already."""
        self._unfinished = None
        runs = self._store.runs(experiment_id=experiment.id) if read is None else read

        def send(mlflow: MlflowRuns) -> str:
            text = experiment_note(experiment, runs) if summary is None else summary
            engines = compared_engines(experiment.experiment)
            parent = self._parent(mlflow, experiment)
            for engine in engines:
                mlflow.put(engine_entry(experiment, engine, runs, parent))
            if engines:
                page = charts(mlflow.experiment(experiment.experiment.name), experiment.id)
                text = f"[{translated('The engines side by side, as charts')}]({page})\n\n{text}"
            return mlflow.put(experiment_entry(experiment, runs, text), artifacts)

        return self._tell(experiment, send)

    def _opened(self) -> MlflowRuns:
        if self._mlflow is None:
            if not os.environ.get("MLFLOW_TRACKING_URI"):
                make_whole(self._home)
            check_reachable(tracking_uri(self._home))
            self._mlflow = MlflowRuns(tracking_uri(self._home), self._home)
        return self._mlflow

    def _above(self, mlflow: MlflowRuns, record: Record) -> str:
        """The id of the MLflow run above that of a cell: its engine's where its experiment compares
        several engines, else its experiment's."""
        begun = self._begun.get(record.experiment_id)
        if begun is None:
            begun = self._begun[record.experiment_id] = self._store.experiment(record.experiment_id)
        parent = self._parent(mlflow, begun)
        for engine in compared_engines(begun.experiment):
            if key_of(engine) == key_of(record.cell.engine):
                entry = engine_entry(begun, engine, [], parent)
                return self._there(mlflow, replace(entry, started_at=record.started_at))
        return parent

    def _parent(self, mlflow: MlflowRuns, begun: ExperimentRecord) -> str:
        if begun.id not in self._known:
            place = mlflow.experiment(begun.experiment.name)
            self._store.place_in_mlflow(begun.id, place)
        return self._there(mlflow, experiment_entry(begun, []))

    def _there(self, mlflow: MlflowRuns, entry: RunEntry) -> str:
        if entry.id not in self._known:
            self._known[entry.id] = mlflow.find(entry) or mlflow.put(entry)
        return self._known[entry.id]

    def _tell(self, record: ExperimentRecord | Record, send: Callable[[MlflowRuns], str]) -> bool:
        if not self._gone:
            began_s = time.monotonic()
            try:
                with _settings(), locked(self._home / "mlflow.lock"):
                    mlflow_run_id = send(self._opened())
            except Exception as error:  # noqa: BLE001 (after any error the record stays pending)
                self.error = not_taken(error, self._home)
                self._gone = not self._answers()
            else:
                self._store.mark_logged(record, mlflow_run_id)
                if (took_s := time.monotonic() - began_s) > SLOW_S and not self._patient:
                    self.give_up(f"it took {took_s:.0f} s for one record")
                return True
        self._store.mark_unlogged(record, self.error or "")
        return False

    def _answers(self) -> bool:
        """Whether MLflow still answers, so that only this record was at fault."""
        try:
            with _settings():
                return self._mlflow is not None and self._mlflow.answers()
        except Exception:  # noqa: BLE001 (no answer is an answer)
            return False


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of a sync: the numbers of experiments and runs that MLflow took and did not take,
    and the reason for the last failure (None: no failure). `imported` are those of the runs it took
    that came from files of other tools."""

    logged: int
    failed: int
    reason: str | None = None
    imported: int = 0


def sync(
    store: Store, home: Path, listener: Listener = ignore, describe: Describe | None = None
) -> SyncReport:
    """Send everything that is pending in `store` to MLflow; records that it has already are not
    sent again. `describe` gives the summary of an experiment in Markdown."""
    experiments, runs = store.pending()
    parents = {record.id: record for record in experiments}
    for experiment_id in dict.fromkeys(run.experiment_id for run in runs):
        if experiment_id not in parents:
            try:
                parents[experiment_id] = store.experiment(experiment_id)
            except StoreError as error:
                warnings.warn(DamagedRow(f"{error}; its runs stay pending"), stacklevel=2)
    runs = [run for run in runs if run.experiment_id in parents]
    tracker = Tracker(store, home, patient=True)
    taken: list[bool] = []
    records: list[ExperimentRecord | Record] = [*runs, *parents.values()]
    for record in records:
        listener(Event("record", "sending to MLflow", len(taken), len(records)))
        if isinstance(record, Record):
            taken.append(tracker.log(record))
        else:
            own = store.runs(experiment_id=record.id)
            summary = describe(record, own) if describe else None
            taken.append(tracker.finish(record, _logs_of(record, home), summary, own))
    left = [run for run, sent in zip(runs, taken, strict=False) if sent and _imported(run)]
    return SyncReport(taken.count(True), taken.count(False), tracker.error, len(left))


def _imported(run: Record) -> bool:
    return run.environment.get("tool") is not None


def _logs_of(record: ExperimentRecord, home: Path) -> list[Path]:
    """The files of the logs of the days, in local time, on which an experiment began and ended,
    with their figures."""
    moments = [record.started_at, record.ended_at or record.started_at]
    days = {moment.astimezone().date().isoformat() for moment in moments}
    log = home / "log"
    return [
        path
        for day in sorted(days)
        for path in (log / f"{day}.md", log / f"{day}.html", *sorted((log / day).glob("*.svg")))
        if path.exists()
    ]


@contextmanager
def _settings() -> Iterator[None]:
    """Set MLflow's settings, which it takes from environment variables only, and suppress its
    warnings, which are about its own code, and its log, which has a server's words as they came,
    inside the block."""
    log = logging.getLogger("mlflow")
    handlers, propagate = log.handlers, log.propagate
    log.handlers, log.propagate = [logging.NullHandler()], False
    added = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.handlers, log.propagate = handlers, propagate
        for name in added:
            os.environ.pop(name, None)


def not_taken(error: BaseException, home: Path) -> str:
    """The sentence that says why MLflow failed, from the innermost cause that has a message
    (`Connection refused`), without passwords."""
    inner = error.__cause__ or error.__context__
    while inner is not None and not isinstance(inner, KeyError):
        error, inner = inner, inner.__cause__ or inner.__context__
    reason = " ".join(hidden(str(error)[:LONGEST]).split())[:300] or type(error).__name__
    place = shown_url(tracking_uri(home))
    return f"MLflow at {place} did not take it ({reason}): repair that, then run journal sync"
