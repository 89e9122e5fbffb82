"""What the steady state of a run tells a search for capacity."""

import numpy as np
import pytest

from journal.metrics.steady import effective
from journal.metrics.table import metrics
from journal.records.experiment import Slo


def test_answers_per_second_do_not_depend_on_how_many_end_together(run) -> None:  # type: ignore[no-untyped-def]
    """Waves of 8 that take 360 ms: 22.2 requests/s, where a count holds a wave more or less."""
    figures = metrics(run(batch=8, requests=64, slo=Slo(ttft_ms=100)).samples())
    assert figures["steady_requests_per_s"].value == pytest.approx(8 / 0.36, rel=0.02)
    few = metrics(run(batch=8, requests=16).samples())
    assert few["steady_requests_per_s"].value is None


def test_independent_requests_are_worth_as_many() -> None:
    chance = np.random.default_rng(1)
    worth = [effective((chance.random(500) < 0.9).astype(float), 10) for _ in range(50)]
    assert 300 < np.mean(worth) <= 500
    assert effective(np.ones(500), 10) == effective(np.zeros(500), 10) == 500


def test_requests_that_are_bad_together_are_worth_few() -> None:
    """One block of ten is bad: the blocks scatter as ten requests do, of which one is."""
    held = np.ones(500)
    held[100:150] = 0
    assert effective(held, 10) == pytest.approx(9, abs=0.1)
    assert effective(held, 3) == 500, "too few blocks show no scatter"


def test_the_good_fraction_of_a_run_has_its_worth(run) -> None:  # type: ignore[no-untyped-def]
    every = metrics(run(batch=4, requests=80, slo=Slo(ttft_ms=100)).samples())
    count = every["steady_good_fraction"].count
    assert every["steady_good_effective"].value == count
    noisy = run(batch=4, requests=400, noise=0.3, seed=2, slo=Slo(ttft_ms=60)).samples()
    found = metrics(noisy)
    assert 0 < found["steady_good_fraction"].value < 1
    assert 0 < found["steady_good_effective"].value <= found["steady_good_fraction"].count
    assert metrics(run().samples())["steady_good_effective"].value is None
