"""Where MLflow's own pages are: what the log and the notes link to."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from journal.records.run import ExperimentRecord
from journal.tracking.entries import EXPERIMENT_TAG, LEVEL_TAG, compared_engines

CHART_OF_RUNS = {
    "workflowType": "machine_learning",
    "compareRunsMode": "CHART",
    # Sorted by name, the UI shows the runs that were found and not the trees that they are in.
    "orderByKey": "attributes.run_name",
    "orderByAsc": "true",
}


def ui_address(tracking_uri: str) -> str | None:
    """The address of the UI of a tracking server, without a password; None of any other store."""
    if not re.fullmatch(r"https?://[^\s<>]+", tracking_uri):
        return None
    return re.sub(r"//[^@/]*@", "//", tracking_uri).rstrip("/") + "/"


def charts(mlflow_experiment_id: str, experiment_id: str) -> str:
    """The charts of the engines that an experiment compares, one line for each, from `address`."""
    wanted = f"tags.`{LEVEL_TAG}` = 'engine' and tags.`{EXPERIMENT_TAG}` = '{experiment_id}'"
    return _charts(mlflow_experiment_id, wanted)


def newest_charts(experiments: Iterable[ExperimentRecord]) -> str | None:
    """The charts of the last of `experiments` that MLflow knows: a line for each engine that it
    compares, else one for each time that an experiment of its name was run."""
    for each in reversed(list(experiments)):
        if each.mlflow_run_id and each.mlflow_experiment_id:
            if compared_engines(each.experiment):
                return charts(each.mlflow_experiment_id, each.id)
            return _charts(each.mlflow_experiment_id, f"tags.`{LEVEL_TAG}` = 'experiment'")
    return None


def _charts(mlflow_experiment_id: str, wanted: str) -> str:
    query = urlencode({**CHART_OF_RUNS, "searchFilter": wanted}, quote_via=quote)
    return f"#/experiments/{mlflow_experiment_id}/runs?{query}"


def comparison(mlflow_run_ids: Iterable[str], mlflow_experiment_ids: Iterable[str]) -> str:
    """The page on which MLflow compares runs, from `address`."""
    lists = {"runs": list(mlflow_run_ids), "experiments": sorted(set(mlflow_experiment_ids))}
    parts = {name: json.dumps(ids, separators=(",", ":")) for name, ids in lists.items()}
    return f"#/compare-runs?{urlencode(parts, quote_via=quote)}"
