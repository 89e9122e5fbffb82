"""A short soak: killed at random points, nothing is lost, wrong, doubled or left behind."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.soak import Report, as_table, soak
from benchmarks.steady import steady


@pytest.mark.slow
@pytest.mark.mlflow
@pytest.mark.timeout(600)
def test_killed_at_random_points_nothing_is_lost(tmp_path: Path) -> None:
    report = soak(tmp_path, kills=12, seconds=180, seed=7)
    assert report.failures == 0, report
    assert report.kills >= 3 and report.sweeps >= 1 and report.acknowledged >= 18
    assert report.cells == 18 * report.sweeps
    assert report.sync + report.serve + report.check >= report.sweeps - 1


def test_every_kind_of_failure_counts() -> None:
    kinds = ["lost", "wrong", "doubled", "unplanned", "damaged", "orphans", "not_in_mlflow_once"]
    kinds += ["half_written", "still_listed"]
    for kind in kinds:
        assert dataclasses.replace(Report(), **{kind: 2}).failures == 2
        assert " 2 |" in as_table(dataclasses.replace(Report(), **{kind: 2}))
    assert Report(kills=500, acknowledged=9).failures == 0


@pytest.mark.timing
def test_memory_over_many_loads_is_measured(fake_server) -> None:
    found = steady(2.0, fake_server(ttft_s=0.005, itl_s=0.0))
    assert found.loads >= 2 and found.requests >= found.loads * 322  # and those that spread streams
    assert found.loads * 322 * 32 <= found.chunks <= found.requests * 32
    assert found.growth < 0.5  # the first loads still fill caches; the limit is for minutes
