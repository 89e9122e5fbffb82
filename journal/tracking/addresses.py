"""Addresses of MLflow's own pages, to which the log and the notes link."""

import json
import os
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from journal.records.run import ExperimentRecord
from journal.tracking.entries import EXPERIMENT_TAG, LEVEL_TAG, compared_engines

CHART_OF_RUNS = {
    "workflowType": "machine_learning",
    "compareRunsMode": "CHART",
    # Sorted by name, the UI lists the matching runs and not their trees.
    "orderByKey": "attributes.run_name",
    "orderByAsc": "true",
}


def asked_uri() -> str | None:
    """The URI of MLflow's store that MLFLOW_TRACKING_URI names; None where it names none."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def ui_address(tracking_uri: str) -> str | None:
    """The address of the UI of a tracking server, without a password; None for a store without
    one."""
    if not re.fullmatch(r"https?://[^\s<>]+", tracking_uri):
        return None
    scheme, _, rest = tracking_uri.partition("://")
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0].rstrip('/')}/"


def charts(mlflow_experiment_id: str, experiment_id: str) -> str:
    """The address of the charts of the engines that an experiment compares, one line for each
    engine."""
    wanted = f"tags.`{LEVEL_TAG}` = 'engine' and tags.`{EXPERIMENT_TAG}` = '{experiment_id}'"
    return _charts(mlflow_experiment_id, wanted)


def newest_charts(experiments: Iterable[ExperimentRecord]) -> str | None:
    """The address of the charts of the last of `experiments` that MLflow has: a line for each
    engine that it compares, else one for each run of an experiment of its name. None where MLflow
    has none."""
    for experiment in reversed(list(experiments)):
        if experiment.mlflow_run_id and experiment.mlflow_experiment_id:
            if compared_engines(experiment.experiment):
                return charts(experiment.mlflow_experiment_id, experiment.id)
            return _charts(experiment.mlflow_experiment_id, f"tags.`{LEVEL_TAG}` = 'experiment'")
    return None


def _charts(mlflow_experiment_id: str, wanted: str) -> str:
    query = urlencode({**CHART_OF_RUNS, "searchFilter": wanted}, quote_via=quote)
    return f"#/experiments/{quote(mlflow_experiment_id, safe='')}/runs?{query}"


def comparison(mlflow_run_ids: Iterable[str], mlflow_experiment_ids: Iterable[str]) -> str:
    """The address of the page on which MLflow compares runs."""
    lists = {"runs": list(mlflow_run_ids), "experiments": sorted(set(mlflow_experiment_ids))}
    parts = {name: json.dumps(ids, separators=(",", ":")) for name, ids in lists.items()}
    return f"#/compare-runs?{urlencode(parts, quote_via=quote)}"
