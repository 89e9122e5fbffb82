"""Logs that people posted in public, of vLLM 0.6 to 0.32: the figures and causes that they hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.serve.engines.vllm.failure import why
from journal.serve.engines.vllm.start_log import start_facts

PUBLIC = Path(__file__).parents[3] / "data" / "engine" / "public"
STARTS: list[dict[str, Any]] = json.loads((PUBLIC / "start-logs.json").read_text())
FAILURES: list[dict[str, Any]] = json.loads((PUBLIC / "failure-logs.json").read_text())
ROUNDING_BYTES = 1  # of GiB that are no whole number of bytes


def same(value: object, expected: object) -> bool:
    if isinstance(value, int) and isinstance(expected, int):
        return abs(value - expected) <= ROUNDING_BYTES
    return value == expected


@pytest.mark.parametrize("case", STARTS, ids=lambda case: f"{case['id']} {case['version']}")
def test_the_figures_of_a_public_start_are_read(case: dict[str, Any]) -> None:
    known = start_facts(case["lines"])
    for name, expected in case["expect"].items():
        right = expected if isinstance(expected, list) else [expected]
        value = getattr(known, name)
        assert any(same(value, one) for one in right), f"{name} is {value}, not one of {right}"


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: f"{case['id']} {case['seen_in']}")
def test_the_cause_of_a_public_failure_is_found(case: dict[str, Any]) -> None:
    sentence = why(case["log"].splitlines()).sentence
    assert all(words in sentence for words in case["cause_should_hold"]), sentence
    assert not any(words in sentence for words in case["must_not_hold"]), sentence
