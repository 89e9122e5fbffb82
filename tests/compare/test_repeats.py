"""The repeats of one cell: the runs that belong together, and their means."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from journal.compare.repeats import repeat_means, repeats, repeats_json
from journal.records.figure import Figure
from journal.records.run import Record

Build = Callable[..., Record]


def test_the_last_good_try_of_each_repeat_of_the_same_cell_counts(record: Build) -> None:
    first = record(number=1, repeat=0)
    again = record(number=2, repeat=0)
    second = record(number=3, repeat=1, status="flagged")
    failed = record(number=4, repeat=2, status="failed")
    larger = record(number=5, batch=2, repeat=1)
    elsewhere = record(number=6, repeat=3, experiment_id="e2")
    among = (first, again, second, failed, larger, elsewhere)
    assert [one.id for one in repeats(first, among)] == [again.id, second.id]
    assert [one.id for one in repeats(larger, among)] == [larger.id]


def test_a_metric_that_one_try_lacks_has_no_mean(record: Build) -> None:
    one = record(number=1, metrics={"ttft_s.p50": 1.0, "e2e_s.p50": 2.0, "vram_peak_bytes": 7.0})
    two = record(number=2, metrics={"ttft_s.p50": 3.0, "vram_peak_bytes": 9.0})
    unknown = replace(two, metrics={**two.metrics, "vram_peak_bytes": Figure(None)})
    means = repeat_means([one, unknown])
    assert set(means) == {"ttft_s.p50"}
    assert means["ttft_s.p50"].value == 2.0
    assert means["ttft_s.p50"].count == 2
    assert set(repeat_means([one, two])) == {"ttft_s.p50", "vram_peak_bytes"}
    assert repeat_means([]) == {}


def test_the_interval_of_a_mean_is_students_and_no_latency_is_below_nothing(
    record: Build,
) -> None:
    tries = [record(number=n, metrics={"x": value}) for n, value in enumerate((9.0, 10.0, 11.0))]
    means = repeat_means(tries)["x"]
    half = 4.302653 / 3**0.5
    assert (means.low, means.high) == pytest.approx((10 - half, 10 + half))
    apart = [record(number=n, metrics={"x": value}) for n, value in enumerate((0.0, 10.0))]
    assert repeat_means(apart)["x"].low == 0
    below = [record(number=n, metrics={"x": value}) for n, value in enumerate((-1.0, 10.0))]
    low = repeat_means(below)["x"].low
    assert low is not None and low < 0
    plain = repeats_json(tries)
    assert plain["runs"] == [one.id for one in tries]
    assert plain["means"]["x"] == {"mean": 10.0, "low": means.low, "high": means.high}
