"""The times that decide an SLO's figures give, under any SLO, the figures of the run itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from journal.metrics.slo_times import LATENCIES, figures_under, slo_times
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.experiment import Slo
from journal.records.request import Trace
from journal.records.samples import Samples

Run = Callable[..., Any]
Edited = Callable[[Samples, Callable[[Trace], Trace]], Samples]
SLOS = [Slo(ttft_ms=50), Slo(tpot_ms=10), Slo(e2e_ms=360), Slo(ttft_ms=52, tpot_ms=9.8)]


def under(samples: Samples, slo: Slo) -> Samples:
    return replace(samples, cell=replace(samples.cell, slo=slo))


@pytest.mark.parametrize("slo", SLOS, ids=str)
@pytest.mark.parametrize("load", [{"batch": 8}, {"rate": 20.0}], ids=str)
def test_the_figures_are_those_of_the_run(run: Run, slo: Slo, load: dict[str, float]) -> None:
    samples = under(run(requests=64, noise=0.1, seed=5, **load).samples(), slo)
    found = figures_under(slo_times(View(samples)), samples.cell)
    whole = metrics(samples)
    assert 0 < found["good_fraction"].value < 1
    assert set(found) == {
        *("goodput_per_s", "good_fraction", "steady_good_fraction", "steady_good_effective")
    }
    for name, figure in found.items():
        assert figure.value == whole[name].value, name
        assert figure.count in (None, whole[name].count), name
    assert found["steady_good_fraction"].value is not None
    assert found["good_fraction"].count == 64 > found["steady_good_fraction"].count


def test_requests_lie_in_the_order_of_their_starts(run: Run, edited: Edited) -> None:
    samples = run(requests=24, batch=8, noise=0.1).samples()

    def a_third_fails(trace: Trace) -> Trace:
        return replace(trace, outcome="error") if trace.index % 3 == 0 else trace

    samples = edited(samples, a_third_fails)
    shuffled = replace(samples, traces=samples.traces[::-1])
    times, again = slo_times(View(samples)), slo_times(View(shuffled))
    assert times.latencies_s.shape == (len(LATENCIES), 24)
    assert np.isnan(times.latencies_s[0]).sum() == 8
    measured = sorted((t for t in samples.traces if not t.warmup), key=lambda t: t.start_s)
    took_s = [t.end_s - t.start_s if t.answered else np.nan for t in measured]
    np.testing.assert_allclose(times.latencies_s[2], took_s)
    np.testing.assert_array_equal(times.latencies_s, again.latencies_s)
    assert (times.span_s, times.steady_from) == (again.span_s, again.steady_from)


def test_without_an_slo_nothing_is_decided(run: Run) -> None:
    samples = run().samples()
    assert figures_under(slo_times(View(samples)), samples.cell) == {}


def test_a_run_without_a_steady_state_has_no_figure_of_it(run: Run) -> None:
    samples = under(run(requests=1, batch=8, warmup=0).samples(), Slo(ttft_ms=60))
    times = replace(slo_times(View(samples)), span_s=None, steady_from=None)
    found = figures_under(times, samples.cell)
    assert found["good_fraction"].value == 1
    assert [found[name].value for name in found if name != "good_fraction"] == [None] * 3
    nobody = replace(times, latencies_s=times.latencies_s[:, :0], steady_from=0)
    found = figures_under(nobody, samples.cell)
    assert {figure.value for figure in found.values()} == {None}
