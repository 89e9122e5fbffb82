"""Tells MLflow of experiments and runs, from the store's outbox.

The journal is the truth and MLflow a view of it: an MLflow that is down, slow or broken costs a
few seconds once and never a row. What it could not take stays pending in the store, with the
reason, and `sync` sends it later. Sending twice, also after a crash half-way, changes nothing.
"""

import math
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from journal.errors import TrackingError
from journal.record.entries import Entry, experiment_entry, run_entry
from journal.record.migrate import locked
from journal.record.mlflow_store import make_whole
from journal.record.store import Store
from journal.records import Event, ExperimentRecord, Listener, Record, ignore
from journal.summarise.metric import Section

ID_TAG = "journal.id"
SLOW_S = 10.0  # a tracking server that takes longer for one record is left alone until `sync`
_BATCH = 800  # MLflow takes 1,000 items in a call

# By default a server that is gone blocks each call for minutes. The user's own settings win.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def tracking_uri(home: Path) -> str:
    """Where MLflow's store is: MLFLOW_TRACKING_URI, else `home`/mlflow.db."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.absolute() / 'mlflow.db'}"


class Tracker:
    """Tells MLflow of one experiment while it runs. No method raises for MLflow's sake: `error`
    is None, or the sentence that says why MLflow lacks something. Once MLflow has not answered,
    or, as a server and unless `patient`, has been slow, this tracker does not ask it again.
    Leaving the context tells how the experiment ended."""

    def __init__(self, store: Store, home: Path, *, patient: bool = False) -> None:
        self.error: str | None = None
        self._store, self._home = store, home
        self._patient = patient or not tracking_uri(home).startswith("http")
        self._mlflow: _Mlflow | None = None
        self._gone = False
        self._parents: dict[str, str] = {}
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
        """Ask MLflow no more; what it lacks stays pending."""
        self._gone = True
        self.error = f"MLflow was not told of all ({why}): journal sync tells it the rest."

    def log(self, record: Record) -> bool:
        """Tell of a run that is in the store; whether MLflow took it."""
        self._unfinished = record.experiment_id
        return self._tell(
            record, lambda mlflow: mlflow.put(run_entry(record, self._parent(mlflow, record)))
        )

    def finish(self, experiment: ExperimentRecord, artifacts: Sequence[Path] = ()) -> bool:
        """Tell how an experiment ended, with its curves, a summary and `artifacts` (files);
        whether MLflow took it."""
        self._unfinished = None
        entry = experiment_entry(experiment, self._store.runs(experiment_id=experiment.id))
        return self._tell(experiment, lambda mlflow: mlflow.put(entry, artifacts))

    def _parent(self, mlflow: "_Mlflow", record: Record) -> str:
        known = self._parents.get(record.experiment_id)
        if known is None:
            entry = experiment_entry(self._store.experiment(record.experiment_id), [])
            known = mlflow.find(entry) or mlflow.put(entry)
            self._parents[record.experiment_id] = known
        return known

    def _tell(self, record: ExperimentRecord | Record, send: "Callable[[_Mlflow], str]") -> bool:
        if not self._gone:
            began_s = time.monotonic()
            try:
                with _settings(), locked(self._home / "mlflow.lock"):
                    if self._mlflow is None and not os.environ.get("MLFLOW_TRACKING_URI"):
                        make_whole(self._home)
                    self._mlflow = self._mlflow or _Mlflow(self._home)
                    mlflow_run_id = send(self._mlflow)
            except Exception as error:  # noqa: BLE001 (whatever it is, the record stays pending)
                self.error = _sentence(error, self._home)
                self._gone = not self._answers()
            else:
                self._store.mark_logged(record, mlflow_run_id)
                if (took_s := time.monotonic() - began_s) > SLOW_S and not self._patient:
                    self.give_up(f"it took {took_s:.0f} s for one record")
                return True
        self._store.mark_unlogged(record, self.error or "")
        return False

    def _answers(self) -> bool:
        """Whether only one record was at fault, and not MLflow as a whole."""
        try:
            with _settings():
                return self._mlflow is not None and self._mlflow.answers()
        except Exception:  # noqa: BLE001 (no answer is an answer)
            return False


@dataclass(frozen=True, slots=True)
class SyncReport:
    """How many experiments and runs MLflow was told of, how many it lacks still, and why."""

    logged: int
    failed: int
    reason: str | None = None


def sync(store: Store, home: Path, listener: Listener = ignore) -> SyncReport:
    """Tell MLflow of all that is pending in `store`. What was told before is not told twice."""
    experiments, runs = store.pending()
    parents = {record.id: record for record in experiments}
    for run in runs:
        if run.experiment_id not in parents:
            parents[run.experiment_id] = store.experiment(run.experiment_id)
    tracker = Tracker(store, home, patient=True)
    told: list[bool] = []
    records: list[ExperimentRecord | Record] = [*runs, *parents.values()]
    for record in records:
        listener(Event("record", "telling MLflow", len(told), len(records)))
        if isinstance(record, Record):
            told.append(tracker.log(record))
        else:
            told.append(tracker.finish(record, _logs_of(record, home)))
    return SyncReport(told.count(True), told.count(False), tracker.error)


def _logs_of(record: ExperimentRecord, home: Path) -> list[Path]:
    """The logs of the days, in local time, on which an experiment began and ended."""
    moments = [record.started_at, record.ended_at or record.started_at]
    days = {moment.astimezone().date().isoformat() for moment in moments}
    paths = [home / "log" / f"{day}{suffix}" for day in sorted(days) for suffix in (".md", ".html")]
    return [path for path in paths if path.exists()]


class _Mlflow:
    """An MLflow store, through its client. Every method may raise whatever MLflow raises."""

    def __init__(self, home: Path) -> None:
        from mlflow import MlflowClient

        uri = tracking_uri(home)
        self._client = MlflowClient(tracking_uri=uri)
        # A tracking server decides for itself. Any other store would put artifacts into the
        # working directory of whoever created the experiment.
        local = uri.startswith(("sqlite:", "postgresql", "mysql", "mssql"))
        self._artifacts = (home.absolute() / "mlflow-artifacts").as_uri() if local else None
        self._experiments: dict[str, str] = {}

    def answers(self) -> bool:
        self._client.search_experiments(max_results=1)
        return True

    def find(self, entry: Entry) -> str | None:
        """The id of the MLflow run that has `entry`'s id as its tag."""
        run = self._run(entry)
        return None if run is None else str(run.info.run_id)

    def put(self, entry: Entry, artifacts: Sequence[Path] = ()) -> str:
        """Create the run of `entry`, or send what an existing one lacks; its MLflow id."""
        run = self._run(entry) or self._client.create_run(
            self._experiment(entry.experiment),
            start_time=_ms(entry.started_at),
            tags={ID_TAG: entry.id},
            run_name=entry.name,
        )
        run_id: str = run.info.run_id
        self._send(run_id, entry, run.data)
        for path in artifacts:
            self._client.log_artifact(run_id, str(path))
        if entry.ended_at is None:
            self._client.update_run(run_id, status=entry.status)
        else:
            self._client.set_terminated(run_id, entry.status, _ms(entry.ended_at))
        return run_id

    def _send(self, run_id: str, entry: Entry, there: Any) -> None:
        """Params cannot be changed in MLflow, so only new ones are sent. Of figures the latest
        counts: a changed one is sent as of now, and one that is no more becomes NaN."""
        from mlflow.entities import Metric, Param, RunTag

        now = _ms(datetime.now(UTC))
        metrics = []
        for point in entry.points:
            old = there.metrics.get(point.name) if point.step == 0 else None
            when = _ms(point.at) if old in (None, point.value) else now
            metrics.append(Metric(point.name, point.value, when, point.step))
        ours = {name for name in there.metrics if name.split("/")[0] in get_args(Section)}
        for name in sorted(ours - {point.name for point in entry.points}):
            if not math.isnan(there.metrics[name]):
                metrics += [Metric(name, math.nan, now, 0)]
        new = entry.params.keys() - there.params.keys()
        params = [Param(name, entry.params[name]) for name in sorted(new)]
        tags = [RunTag(name, value) for name, value in entry.tags.items()]
        self._client.log_batch(run_id, metrics[:_BATCH], params, tags)
        for first in range(_BATCH, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics[first : first + _BATCH])

    def _run(self, entry: Entry) -> Any:
        found = self._client.search_runs(
            [self._experiment(entry.experiment)],
            filter_string=f"tags.`{ID_TAG}` = '{entry.id}'",
            max_results=1,
        )
        return found[0] if found else None

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "deleted":
                raise TrackingError(f"its experiment {name!r} was deleted there: restore it")
            self._experiments[name] = (
                self._client.create_experiment(name, artifact_location=self._artifacts)
                if found is None
                else found.experiment_id
            )
        return self._experiments[name]


@contextmanager
def _settings() -> Iterator[None]:
    """MLflow's settings, which it takes from environment variables only, for a while; and no
    warnings, which are about its own code."""
    added = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _sentence(error: BaseException, home: Path) -> str:
    """Why, from the innermost cause that says something (`Connection refused`); no passwords."""
    inner = error.__cause__ or error.__context__
    while inner is not None and not isinstance(inner, KeyError):
        error, inner = inner, inner.__cause__ or inner.__context__
    said = " ".join(str(error).split())[:300] or type(error).__name__
    text = f"MLflow at {tracking_uri(home)} did not take it ({said}): see to it, then journal sync."
    return re.sub(r"//[^@/]*@", "//***@", text)
