"""The runs of one MLflow store, through its client: each entry is stored once and kept up to
date."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from journal.errors import TrackingError
from journal.metrics.row import Section
from journal.redaction import hidden, remember
from journal.tracking.entries import CURVES_TAG, PARENT_TAG, RunEntry
from journal.tracking.mlflow_curves import HEADLINES

ID_TAG = "journal.id"
# Of what the UI can be for, the one whose pages show runs and their charts.
KIND = {"mlflow.experimentKind": "custom_model_development"}
BATCH = 800  # MLflow takes 1,000 items in a call
MOST_RUNS = 50_000  # that MLflow gives in one answer
FIGURES = {*get_args(Section), "other", *HEADLINES}  # the sections of figures, which have no steps


def _remember_kept(uri: str) -> None:
    """Leave out of every text the passwords for a tracking server that stand in files, not in the
    environment: in ~/.mlflow/credentials and ~/.netrc."""
    from mlflow.utils.credentials import read_mlflow_creds
    from requests.utils import get_netrc_auth

    login = get_netrc_auth(uri) if uri.startswith(("http://", "https://")) else None
    remember(read_mlflow_creds().password, *(login or ()))


class MlflowRuns:
    """The runs of MLflow's store at `uri`. Artifacts go to `home`, unless a tracking server decides
    that itself. Every method raises what MLflow raises."""

    def __init__(self, uri: str, home: Path) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        _remember_kept(uri)
        # Any store but a server would put them into the working directory of the first process.
        local = uri.startswith(("sqlite:", "postgresql", "mysql", "mssql"))
        self._artifacts = (home.absolute() / "mlflow-artifacts").as_uri() if local else None
        self._experiments: dict[str, str] = {}

    def answers(self) -> bool:
        """True where the store answers; raises what MLflow raises where it does not."""
        self._client.search_experiments(max_results=1)
        return True

    def find(self, entry: RunEntry) -> str | None:
        """The id of the MLflow run that has the id of `entry` as its tag; None where the store
        lacks it."""
        run = self._run(entry)
        return None if run is None else str(run.info.run_id)

    def put(self, entry: RunEntry, artifacts: Sequence[Path] = ()) -> str:
        """Create the run of `entry`, or send the parts that an existing one lacks; return its
        MLflow id. `artifacts` are files; a figure (.svg) keeps its folder, by which a log refers to
        it."""
        run = self._run(entry)
        if run is None:
            run = self._create(entry)
        elif run.data.tags.get(CURVES_TAG, "") not in ("", entry.tags.get(CURVES_TAG)):
            run = self._renewed(entry, run.info.run_id)
        run_id: str = run.info.run_id
        self._send(run_id, entry, run.data)
        for path in artifacts:
            self._client.log_artifact(
                run_id, str(path), path.parent.name if path.suffix == ".svg" else None
            )
        if entry.ended_at is None:
            self._client.update_run(run_id, status=entry.status)
        else:
            self._client.set_terminated(run_id, entry.status, _ms(entry.ended_at))
        return run_id

    def experiment(self, name: str) -> str:
        """The id of MLflow's experiment called `name`, created where the store lacks it. Raises
        TrackingError for an experiment that was deleted."""
        name = hidden(name)
        if name not in self._experiments:
            theirs = self._client.get_experiment_by_name(name) or self._made(name)
            if theirs.lifecycle_stage == "deleted":
                raise TrackingError(f"its experiment {name!r} was deleted there: restore it")
            self._experiments[name] = theirs.experiment_id
        return self._experiments[name]

    def _made(self, name: str) -> Any:
        """A new experiment in MLflow, or the one that another host has created just now."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_experiment(name, artifact_location=self._artifacts, tags=KIND)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.get_experiment_by_name(name)

    def _create(self, entry: RunEntry) -> Any:
        return self._client.create_run(
            self.experiment(entry.experiment),
            start_time=_ms(entry.started_at),
            tags={ID_TAG: entry.id},
            run_name=hidden(entry.name),
        )

    def _renewed(self, entry: RunEntry, old_id: str) -> Any:
        """A new run in place of one whose curves are out of date: MLflow can add points to a curve,
        but never remove one. The runs under it move to the new one."""
        new = self._create(entry)
        for child in self._search(entry, f"tags.`{PARENT_TAG}` = '{old_id}'"):
            self._client.set_tag(child.info.run_id, PARENT_TAG, new.info.run_id)
        self._client.delete_run(old_id)
        return new

    def _send(self, run_id: str, entry: RunEntry, there: Any) -> None:
        """Send the parts of `entry` that the run lacks. Params cannot be changed in MLflow, so only
        new ones are sent. Of figures the latest counts: a changed one is sent with the present
        time, and one that no longer exists becomes NaN."""
        from mlflow.entities import Metric, Param, RunTag

        now = _ms(datetime.now(UTC))
        metrics = []
        for point in entry.points:
            old = there.metrics.get(point.name) if point.step == 0 else None
            when = _ms(point.at) if old in (None, point.value) else now
            metrics.append(Metric(point.name, point.value, when, point.step))
        ours = {name for name in there.metrics if name.split("/")[0] in FIGURES}
        for name in sorted(ours - {point.name for point in entry.points}):
            if not math.isnan(there.metrics[name]):
                metrics += [Metric(name, math.nan, now, 0)]
        new = entry.params.keys() - there.params.keys()
        params = [Param(name, hidden(str(entry.params[name]))) for name in sorted(new)]
        tags = [RunTag(name, hidden(value)) for name, value in entry.tags.items()]
        self._client.log_batch(run_id, metrics[:BATCH], params, tags)
        for first in range(BATCH, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics[first : first + BATCH])

    def _run(self, entry: RunEntry) -> Any:
        runs = self._search(entry, f"tags.`{ID_TAG}` = '{entry.id}'", most=1)
        return runs[0] if runs else None

    def _search(self, entry: RunEntry, wanted: str, most: int = MOST_RUNS) -> Any:
        where = [self.experiment(entry.experiment)]
        return self._client.search_runs(where, filter_string=wanted, max_results=most)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
