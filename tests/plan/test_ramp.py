"""Rates that change: requests are due when the area under the rate says."""

import math
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.experiment_file import load_experiment
from journal.plan.prompts import arrivals
from journal.plan.ramp import mean_rate, ramped, stretches
from journal.records.cell import Cell
from journal.records.experiment import Experiment, Grid, Load
from journal.records.load_shape import Open
from journal.records.workload import Workload


def asked(profile: str, **load: Any) -> Cell:
    given = Load(ramp=profile, burstiness=load.pop("burstiness", 0.0), **load)
    grid = Grid(rate=(mean_rate(profile),))
    (cell,) = cells(Experiment(name="r", grid=grid, load=given), model="m")
    return cell


def test_a_ramp_rises_evenly() -> None:
    cell = asked("10..100 in 60s")
    assert isinstance(cell.shape, Open) and cell.shape.profile == "10..100 in 60s"
    assert (cell.rate, cell.load.requests) == (55.0, 3300)
    due_s = arrivals(cell)
    assert due_s[0] == 0 and due_s[-1] == pytest.approx(60.0)
    for at_s in (10, 30, 50):
        came = bisect_left(due_s, at_s + 1) - bisect_left(due_s, at_s)
        assert came == pytest.approx(10 + 90 * (at_s + 0.5) / 60, abs=1.5)


def test_steps_have_their_rates() -> None:
    due_s = arrivals(asked("10,40,20 each 30s"))
    counts = [sum(30 * n <= at_s < 30 * (n + 1) for at_s in due_s) for n in range(3)]
    assert counts == pytest.approx([300, 1200, 600], abs=2)
    assert mean_rate("10,40,20 each 30s") == pytest.approx(70 / 3)


@given(
    st.floats(0, 500), st.floats(0, 500), st.floats(1, 100), st.lists(st.floats(0, 1), min_size=1)
)
def test_the_area_under_the_rate_is_what_has_come(
    begins: float, ends: float, lasts_s: float, drawn: list[float]
) -> None:
    profile, shares = f"{begins:.3f}..{ends:.3f} in {lasts_s:.3f}s", sorted(drawn)
    try:
        (one,) = stretches(profile)
    except SpecError:
        assert (begins + ends) / 2 * lasts_s < 2
        return
    times = ramped(profile, shares)
    assert times == sorted(times)
    slope = (one.ends_per_s - one.begins_per_s) / one.lasts_s
    for share, at_s in zip(shares, times, strict=True):
        came = one.begins_per_s * at_s + slope * at_s**2 / 2
        assert math.isclose(came, share * one.requests, rel_tol=1e-6, abs_tol=1e-5 * one.requests)


def test_arrivals_of_a_ramp_may_be_bursty() -> None:
    due_s = arrivals(asked("5..15 in 30s", burstiness=1.0))
    assert due_s == sorted(due_s) and len(due_s) == 300
    gaps = [after - before for before, after in pairwise(due_s)]
    assert max(gaps) > 3 * sum(gaps) / len(gaps)


def test_a_file_gives_a_ramp_as_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[engine]\nmodel = "m"\n[grid]\nrate = "2..4 in 30s"\n')
    (cell,) = cells(load_experiment(path))
    assert (cell.rate, cell.load.ramp, cell.load.requests) == (3.0, "2..4 in 30s", 90)
    assert cell.shape.label == "2..4 in 30s requests/s"


@pytest.mark.parametrize(
    "bad",
    ["10..20", "10..20 in 0s", "0..0 in 60s", "a..b in 3s", "1,2 each 0s", "1..9999999 in 9s"],
)
def test_a_profile_of_no_known_form_is_refused(bad: str) -> None:
    with pytest.raises(SpecError, match="no profile of a rate"):
        stretches(bad)


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": Workload(trace="t.csv", content="ff")},
        {"workload": Workload(turns=2)},
        {"load": Load(ramp="1..2 in 60s", duration_s=5.0)},
    ],
)
def test_a_ramp_of_a_load_that_has_its_own_course_is_refused(changes: dict[str, Any]) -> None:
    given = {"load": Load(ramp="1..2 in 60s"), "grid": Grid(rate=(1.5,)), **changes}
    with pytest.raises(SpecError, match=r"leave .* out"):
        cells(Experiment(**{"name": "r", **given}), model="m")
