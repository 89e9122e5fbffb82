"""Results of lm-evaluation-harness (results_DATE.json): a score for each task, as a figure alone.
Measures of which less is better, such as perplexities, are left out."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from statistics import NormalDist
from typing import Any

from journal.errors import UsageError
from journal.exchange.fields import AGAIN, checked_number, epoch_time, shown
from journal.exchange.foreign import Foreign
from journal.metrics.statistics import CONFIDENCE
from journal.records.figure import Figure
from journal.records.workload import TASK, Workload

TOOL = "lm-evaluation-harness"
SCORE = "task_score"
ERROR = "_stderr"  # what the name of a standard error has after that of its score


def is_from_lm_eval(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a file of results of lm-evaluation-harness."""
    return isinstance(data.get("results"), dict) and "n-shot" in data and "configs" in data


def lm_eval_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """A run for each score of each task. Raises UsageError for values that are not valid, and for
    a file without a score."""
    runs = tuple(run for task in data["results"] for run in _of_task(data, task))
    if not runs:
        raise UsageError(f"its results have no score of which more is better: {AGAIN}")
    return runs


def _of_task(data: Mapping[str, Any], task: str) -> Iterator[Foreign]:
    scores = _part(data["results"], task)
    better = _part(data.get("higher_is_better"), task)
    samples = checked_number(_part(data.get("n-samples"), task).get("effective"), "n-samples")
    version = data.get("lm_eval_version")
    for key, value in scores.items():
        measure, comma, chosen = key.partition(",")
        is_score = comma and not measure.endswith(ERROR) and better.get(measure) is not False
        if not is_score or isinstance(value, str):
            continue
        score = checked_number(value, f"{task}: {key}")
        if score is None:
            continue
        yield Foreign(
            tool=TOOL,
            version=None if version is None else str(version)[:100],
            model=_model(data),
            batch=None,
            rate=None,
            started_at=epoch_time(data.get("date"), "date"),
            duration_s=None,
            requests=1 if samples is None else max(1, round(samples)),
            prompt_tokens=None,
            output_tokens=None,
            figures={SCORE: _figure(score, scores.get(f"{measure}{ERROR},{chosen}"), samples, key)},
            workload=_workload(data, task, measure, chosen),
        )


def _part(data: Any, name: str) -> Mapping[str, Any]:
    """The object called `name` of an object; {} where either is none."""
    part = data.get(name) if isinstance(data, dict) else None
    return part if isinstance(part, dict) else {}


def _figure(score: float, error: object, samples: float | None, key: str) -> Figure:
    """A score with the 95% interval of its standard error; without one where the file has none
    ("N/A")."""
    count = None if samples is None else round(samples)
    half = None if isinstance(error, str) else checked_number(error, f"{key}: its standard error")
    if half is None:
        return Figure(score, count=count)
    half *= NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return Figure(score, score - half, score + half, count)


def _workload(data: Mapping[str, Any], task: str, measure: str, chosen: str) -> Workload:
    """What was asked, by all that makes a score another: the task, its version and examples, and
    how an answer is read and judged."""
    name = f"{task} {measure}" + ("" if chosen == "none" else f" ({chosen})")
    made = [task, measure, chosen]
    made += [str(_part(data, part).get(task)) for part in ("versions", "n-shot")]
    return Workload(prompts=TASK + name[:200], content=sha256("\n".join(made).encode()).hexdigest())


def _model(data: Mapping[str, Any]) -> str | None:
    name = data.get("model_name")
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise UsageError(f"its model_name is {shown(name)}, not a text: {AGAIN}")
    return name[:500]
