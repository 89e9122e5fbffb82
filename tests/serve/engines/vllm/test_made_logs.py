"""Logs made in the wordings of vLLM 0.6 to 0.33, by what carries them: what they hold is found."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.serve.engines.vllm.log_explanation import explanation

MADE = Path(__file__).parents[3] / "data" / "engine" / "made"
STARTS: list[dict[str, Any]] = json.loads((MADE / "start-logs.json").read_text())
FAILURES: list[dict[str, Any]] = json.loads((MADE / "failure-logs.json").read_text())


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case["about"])
def test_the_figures_of_a_start_are_read(case: dict[str, Any]) -> None:
    known = explanation(case["lines"])
    assert known.cause is None
    for name, expected in case["expect"].items():
        value, right = getattr(known, name), expected if isinstance(expected, list) else [expected]
        assert any(_same(value, one) for one in right), f"{name} is {value}, not one of {right}"


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case["about"])
def test_the_cause_of_a_failure_is_found(case: dict[str, Any]) -> None:
    known = explanation(case["log"].splitlines())
    sentence = " :: ".join(words for words in (known.cause, known.remedy) if words)
    assert (known.cause is None) == (not case["cause_holds"]), sentence
    for words in case["cause_holds"]:
        assert words.lower() in sentence.lower(), sentence
    for words in case["must_not_hold"]:
        assert words.lower() not in sentence.lower(), sentence


def _same(value: object, expected: object) -> bool:
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return abs(value - expected) <= (1e-6 if isinstance(expected, float) else 2)
    return value == expected
