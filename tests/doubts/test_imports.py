"""Doubts about what another tool's file says of itself."""

from dataclasses import replace

import pytest

from journal.doubts.rules import doubts, doubts_of_figures, status, worst
from journal.metrics.table import metrics
from journal.records.doubt import Doubt, Values
from journal.records.samples import Readings, Samples

APART: Values = {"variant": "tool_differs", "tool": "AIPerf", "far": 1, "differences": []}
CANCELLED: Values = {"variant": "tool_cancelled", "tool": "AIPerf"}
LACKS: Values = {"variant": "imported_no_gaps"}


def with_absent(samples: Samples, *absent: Values) -> Samples:
    return replace(samples, readings=Readings(absent=absent))


def names(raised: tuple[Doubt, ...]) -> dict[str, str]:
    return {doubt.name: doubt.severity for doubt in raised}


@pytest.mark.parametrize(
    ("claim", "name", "severity"),
    [
        (APART, "tool_differs", "flag"),
        ({**APART, "far": 0}, "tool_differs", "note"),
        (CANCELLED, "tool_cancelled", "flag"),
    ],
)
def test_what_a_file_says_of_itself_is_found_again_in_the_stored_samples(
    run, claim: Values, name: str, severity: str
) -> None:
    samples = with_absent(run().samples(), claim, LACKS)
    raised = doubts(samples, metrics(samples))
    assert names(raised)[name] == severity
    (doubt,) = (doubt for doubt in raised if doubt.name == name)
    assert not {"variant", "far"} & doubt.values.keys()
    assert [d.values for d in raised if d.name == "absent"] == [LACKS]
    assert (status(samples, raised) == "flagged") == (severity == "flag")


@pytest.mark.parametrize(
    ("failed", "name", "severity", "state"),
    [
        (0, None, None, "valid"),
        (3, "errors", "flag", "flagged"),
        (6, "errors", "invalid", "invalid"),
        (10, "nothing_succeeded", "invalid", "invalid"),
    ],
)
def test_a_run_of_figures_is_doubted_for_its_failures_as_one_with_requests(
    failed: int, name: str | None, severity: str | None, state: str
) -> None:
    raised = doubts_of_figures(10, failed, 0.5, (LACKS,))
    assert names(raised) == ({name: severity} if name else {}) | {"absent": "note"}
    assert worst(raised) == state
