"""How often the doubts about open loops are right: a short version of docs/calibration.md."""

import numpy as np
import pytest

from benchmarks.calibrate_open import Case, rates
from benchmarks.worlds import closed
from journal.doubts import loading
from journal.doubts.rule import Case as Doubted
from journal.metrics.view import View


@pytest.mark.parametrize("server", ["fixed", "random", "batch"])
@pytest.mark.parametrize("load", [0.5, 0.95])
def test_a_healthy_open_loop_is_flagged_in_at_most_2_percent(server: str, load: float) -> None:
    found = rates(Case(server=server, load=load), trials=50)
    assert found["falls_behind"] <= 0.02
    assert found["drift"] <= 0.02


@pytest.mark.parametrize("server", ["fixed", "random", "batch"])
def test_an_overload_of_1_2_times_is_named_or_the_run_is_too_short(server: str) -> None:
    found = rates(Case(server=server, load=1.2), trials=50)
    if server == "fixed":
        assert found["falls_behind"] >= 0.95
    assert found["falls_behind"] + found["overload_unseen"] >= 0.95


@pytest.mark.parametrize("requests", [60, 120, 300])
def test_a_server_that_still_fills_up_does_not_fall_behind(requests: int) -> None:
    """One with room for as many requests as the run has."""
    found = rates(Case(server="room", load=0.95, requests=requests), trials=40)
    assert found["falls_behind"] <= 0.03
    assert requests == 300 or found["overload_unseen"] >= 0.9


def test_a_server_that_becomes_slower_drifts() -> None:
    assert rates(Case(load=0.5, slower=1.3), trials=20)["drift"] >= 0.95


@pytest.mark.parametrize(("requests", "batch"), [(80, 8), (100, 4)])
def test_streams_that_share_a_long_step_do_not_drift(requests: int, batch: int) -> None:
    """One step in a hundred takes six times as long. Where requests counted, and not waves, 11% of
    runs of 80 were flagged."""
    draw = closed(requests, batch, "heavy", spread=True)
    runs = (Doubted(View(draw(np.random.default_rng(seed))), {}) for seed in range(40))
    assert not any(loading.found_drift(run) for run in runs)
