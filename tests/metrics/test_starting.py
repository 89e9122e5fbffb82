"""The start of the engine as metrics: its phases, cold or warm."""

from typing import Literal

import pytest
from builders import a_cell, samples_of

from journal.metrics.table import metrics
from journal.records.engine import EngineFacts, StartPhases


def started(**phases: object) -> dict[str, float | None]:
    facts = EngineFacts(start_s=90.0, phases=StartPhases(**phases))  # type: ignore[arg-type]
    figures = metrics(samples_of(a_cell(), facts=facts))
    return {name: one.value for name, one in figures.items() if name.startswith("start_")}


@pytest.mark.parametrize(("kind", "other"), [("cold", "warm"), ("warm", "cold")])
def test_cold_and_warm_starts_are_metrics_of_their_own(
    kind: Literal["cold", "warm"], other: str
) -> None:
    told = started(kind=kind, load_s=3.0)
    assert (told["start_s"], told[f"start_{kind}_s"], told["start_load_s"]) == (90.0, 90.0, 3.0)
    assert told[f"start_{other}_s"] is None
    assert told["start_graphs_s"] is None


def test_a_start_of_unknown_kind_is_neither() -> None:
    told = started(init_s=5.0)
    assert (told["start_cold_s"], told["start_warm_s"], told["start_init_s"]) == (None, None, 5.0)


def test_a_server_that_was_there_already_has_no_start() -> None:
    figures = metrics(samples_of(a_cell()))
    assert all(one.value is None for name, one in figures.items() if name.startswith("start_"))
