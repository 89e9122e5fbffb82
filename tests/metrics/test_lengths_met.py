"""The lengths of what was sent and answered: told where they vary, and only there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import a_cell, a_trace, samples_of

from journal.metrics.lengths_met import LENGTH_STATISTICS
from journal.metrics.table import metrics
from journal.records.experiment import Load
from journal.records.figure import Figure
from journal.records.samples import Samples
from journal.records.workload import Workload

Run = Callable[..., Any]
TRACES = [a_trace(k, prompt_tokens=10 * k + 10, output_tokens=k * k + 1) for k in range(10)]
VARY = {
    "own prompts": {"workload": Workload(prompts="text:en")},
    "conversations": {"workload": Workload(turns=2)},
    "a trace": {"workload": Workload(trace="trace.jsonl")},
    "natural ends": {"workload": Workload(natural_end=True)},
    "a spread": {"load": Load(requests=24, length_spread=0.5)},
}


def lengths(samples: Samples, name: str) -> list[Figure]:
    figures = metrics(samples)
    return [figures[f"{name}.{statistic}"] for statistic in LENGTH_STATISTICS]


@pytest.mark.parametrize("changes", VARY.values(), ids=VARY)
def test_lengths_that_vary_are_told(changes: dict[str, object]) -> None:
    """The mean, and the quantiles of all that was sent: each the length of a request."""
    samples = samples_of(a_cell(**changes), *TRACES)
    found = lengths(samples, "prompt_length")
    assert [figure.value for figure in found] == [55, 10, 10, 50, 90, 100]
    assert {figure.count for figure in found} == {10}
    assert [figure.value for figure in lengths(samples, "output_length")] == [
        *(29.5, 1, 1, 17, 65, 82)
    ]


def test_equal_lengths_are_those_of_the_cell() -> None:
    samples = samples_of(a_cell(), *TRACES)
    for name in ("prompt_length", "output_length"):
        assert lengths(samples, name) == [Figure(None, count=0)] * 6


def test_a_length_that_is_not_known_leaves_all_unknown() -> None:
    cell = a_cell(**VARY["natural ends"])
    unknown = replace(TRACES[3], prompt_tokens=None, output_tokens=None)
    for traces in ([unknown, *TRACES], []):
        for name in ("prompt_length", "output_length"):
            assert lengths(samples_of(cell, *traces), name) == [Figure(None, count=0)] * 6
