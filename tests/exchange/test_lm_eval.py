"""Results of lm-evaluation-harness: a score for each task, beside the runs of the same model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.compare.bottleneck import bottleneck
from journal.errors import UsageError
from journal.records.run import Record

SCORES = {
    "exact_match,strict-match": 0.31,
    "exact_match_stderr,strict-match": 0.01,
    "exact_match,flexible-extract": 0.33,
    "exact_match_stderr,flexible-extract": "N/A",
}
FILE = {
    "results": {
        "gsm8k": {"alias": "gsm8k", **SCORES},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 12.1},
    },
    "configs": {"gsm8k": {"task": "gsm8k"}},
    "versions": {"gsm8k": 3.0, "wikitext": 2.0},
    "n-shot": {"gsm8k": 5, "wikitext": 0},
    "higher_is_better": {"gsm8k": {"exact_match": True}, "wikitext": {"word_perplexity": False}},
    "n-samples": {"gsm8k": {"original": 1319, "effective": 200}},
    "config": {"model": "local-completions"},
    "date": 1764500000.5,
    "lm_eval_version": "0.4.13",
    "model_name": "org/build",
}


def taken_in(data: dict[str, Any], home: Path, name: str = "results_2025.json") -> Sequence[Record]:
    path = home / name
    path.write_text(json.dumps(data))
    return journal.import_results(path, home / "lab").records


def test_scores_of_a_task_are_runs_with_intervals(tmp_path: Path) -> None:
    runs = {record.cell.workload.name: record for record in taken_in(FILE, tmp_path)}
    strict = runs["gsm8k exact_match (strict-match)"]
    other = runs["gsm8k exact_match (flexible-extract)"]
    assert len(runs) == 2, "a perplexity is no score"
    figure = strict.metrics["task_score"]
    assert (figure.value, figure.count) == (0.31, 200)
    assert (figure.low, figure.high) == pytest.approx((0.31 - 0.0196, 0.31 + 0.0196), abs=1e-5)
    assert other.metrics["task_score"].low is None, "the file has no standard error"
    assert (strict.cell.model, strict.status) == ("org/build", "valid")
    assert strict.environment["tool_version"] == "0.4.13"
    assert f"{strict.started_at:%Y-%m-%d %H:%M}" == "2025-11-30 10:53"
    assert [doubt.name for doubt in strict.doubts] == ["absent"]
    assert bottleneck(strict) is None


def test_the_same_scores_twice_change_nothing(tmp_path: Path) -> None:
    taken_in(FILE, tmp_path)
    assert journal.import_results(tmp_path / "results_2025.json", tmp_path / "lab").new == ()


def test_builds_are_compared_task_by_task(tmp_path: Path) -> None:
    taken_in(FILE, tmp_path)
    worse = {"gsm8k": {**SCORES, "exact_match,strict-match": 0.155}}
    taken_in({**FILE, "results": worse, "model_name": "org/coarse"}, tmp_path, "coarse.json")
    rows = journal.compare("org/build", "org/coarse", tmp_path / "lab").rows
    ratios = sorted(row.figures[0].ratio.value for row in rows if row.figures[0].ratio)
    assert ratios == pytest.approx([0.5, 1.0])
    assert {row.figures[0].metric for row in rows} == {"task_score"}
    gate = journal.check("org/build", "org/coarse", tmp_path / "lab", limits={"task_score": 0.05})
    assert gate.outcome == "INCONCLUSIVE", "one file of each side"


def test_other_examples_or_another_version_are_another_task(tmp_path: Path) -> None:
    contents = {
        record.cell.workload.content
        for number, change in enumerate(
            ({}, {"n-shot": {"gsm8k": 0}}, {"versions": {"gsm8k": 4.0}}, {"n-samples": {}})
        )
        for record in taken_in({**FILE, **change}, tmp_path, f"{number}.json")
    }
    assert len(contents) == 2 * 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"results": {"gsm8k": {"acc,none": -1}}}, "gsm8k: acc,none is -1"),
        ({"results": {"gsm8k": {"acc,none": 1, "acc_stderr,none": [1]}}}, "standard error is [1]"),
        ({"results": {"wikitext": {"word_perplexity,none": 3}}}, "no score of which more is"),
        ({"results": {"gsm8k": 3}}, "no score of which more is"),
        ({"n-samples": {"gsm8k": {"effective": "all"}}}, "n-samples is 'all'"),
        ({"model_name": 7}, "model_name is 7"),
        ({"date": "today"}, "date is 'today'"),
    ],
)
def test_a_value_that_is_none_is_named(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"results_2025\.json cannot be imported") as caught:
        taken_in({**FILE, **change}, tmp_path)
    assert named in str(caught.value)
    assert not (tmp_path / "lab" / "journal.db").exists()


def test_parts_that_older_files_lack_are_not_needed(tmp_path: Path) -> None:
    bare = {name: FILE[name] for name in ("results", "configs", "n-shot")}
    runs = taken_in({**bare, "versions": [1]}, tmp_path)
    assert {record.cell.model for record in runs} == {"unnamed"}
    assert len(runs) == 3, "nothing says that less perplexity is better"
