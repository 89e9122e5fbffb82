"""The independent groups of a run, and intervals against the truth of simulated worlds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibrate import on_loopback, rows
from benchmarks.loopback import SCRIPT
from benchmarks.worlds import (
    World,
    as_sent,
    closed,
    engine_in_open_loop,
    independent,
    queue,
)
from journal.metrics import inference
from journal.metrics.inference import (
    OPEN_REQUESTS,
    Units,
    _between_two,
    describe,
    factor_of,
    ratio_of_sums,
    share_of_requests,
    throughput,
    units,
)
from journal.metrics.skew import around
from journal.metrics.statistics import (
    LEAST_GROUPS,
    PERCENTILES,
    STATISTICS,
    needed_samples,
    t_quantile,
    wilson,
)
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.figure import Figure


def alone(count: int, groups: int = 10) -> Units:
    """So many requests, one after the other."""
    start_s = np.arange(float(count))
    run = units(start_s, start_s + 1, lanes=1)
    assert run.groups == min(groups, count)
    return run


def described(values: np.ndarray, per_request: int = 1) -> dict[str, Figure]:
    owner = np.arange(len(values)) // per_request
    run = alone(len(set(owner.tolist())))
    return describe(values, owner, run.group, run)


# ---- groups ------------------------------------------------------------------------------------


def test_the_groups_of_a_closed_loop_are_whole_waves_in_order_of_start() -> None:
    wave = np.repeat(np.arange(25.0), 4)
    order = np.random.default_rng(1).permutation(100)
    run = units(wave[order], wave[order] + 1, lanes=4)
    assert (run.groups, run.unit, run.whole) == (10, 4, 25)
    for number in range(25):  # the requests of a wave are in one group
        assert len(set(run.group[wave[order] == number].tolist())) == 1
    assert [int((run.group == g).sum()) for g in range(10)] == [8, 12] * 5
    assert np.all(np.diff(run.group[np.argsort(wave[order], kind="stable")]) >= 0)


def test_the_unit_of_an_open_loop_is_longer_than_the_requests_in_flight() -> None:
    start_s = np.arange(400.0)
    assert units(start_s, start_s + 3.5, lanes=None).unit == 4  # 3.5 in flight, and the drain
    assert units(start_s, start_s + 0.2, lanes=None).unit == 1


def test_groups_whose_requests_overlap_are_worth_less() -> None:
    """A group of n waves shares steps with the next over one request: of independent steps, the
    variance of the mean of all is n / (n - 1/3) times that of the groups, which none of a convoy
    do."""
    wave = np.repeat(np.arange(100.0), 8)
    assert units(wave, wave + 1, 8).widening == pytest.approx(1.0, abs=0.01)
    for waves in (1, 3, 10):
        start_s = np.arange(80.0 * waves) / 8
        spread = units(start_s, start_s + 1, 8)
        assert spread.widening == pytest.approx(np.sqrt(waves / (waves - 1 / 3)), rel=0.03)


@pytest.mark.parametrize(
    ("requests", "batch", "refusal"),
    [(8, 1, None), (7, 1, "waves"), (64, 8, None), (63, 8, "waves"), (4, 8, "waves")],
)
def test_fewer_than_eight_waves_have_no_interval(
    requests: int, batch: int, refusal: str | None
) -> None:
    start_s = np.arange(requests) // batch * 1.0
    run = units(start_s, start_s + 1, batch)
    assert run.refusal == refusal
    values = np.random.default_rng(requests).exponential(size=requests)
    figure = describe(values, np.arange(requests), run.group, run)["mean"]
    assert figure.value == pytest.approx(values.mean())
    assert (figure.low is None) == (refusal is not None)


def test_an_open_loop_has_intervals_from_two_hundred_requests_on() -> None:
    start_s = np.arange(float(OPEN_REQUESTS))
    assert units(start_s, start_s + 1, None).refusal is None
    assert units(start_s[1:], start_s[1:] + 1, None).refusal == "requests"
    busy = units(start_s, start_s + 40, None)  # 40 in flight: 5 blocks
    assert (busy.refusal, busy.needed) == ("requests", LEAST_GROUPS * busy.unit)


def test_requests_that_all_take_no_time_are_units_of_one() -> None:
    assert units(np.zeros(5), np.zeros(5), lanes=None).unit == 1


def test_nothing_measured_has_no_groups() -> None:
    nothing = np.array([])
    run = units(nothing, nothing, lanes=4)
    assert (run.groups, run.requests, run.refusal) == (0, 0, "waves")


# ---- intervals worked out by hand ----------------------------------------------------------------


def test_a_ratio_over_groups_worked_out_by_hand() -> None:
    """Eight groups whose sums are 1 to 8 over 2 each: 36 / 16, and Student's t of the eight means
    0.5 to 4, whose deviation is half of that of 1 to 8."""
    group = np.repeat(np.arange(8), 2)
    estimate = ratio_of_sums((group + 1) / 2, np.ones(16), group, factor=1.0)
    assert estimate is not None
    deviation = np.std(np.arange(1, 9) / 2, ddof=1)
    assert estimate.value == 36 / 16
    assert estimate.half == pytest.approx(t_quantile(0.975, 7) * deviation / np.sqrt(8))
    wider = ratio_of_sums((group + 1) / 2, np.ones(16), group, factor=2.0)
    assert wider is not None and wider.half == pytest.approx(2 * estimate.half)
    assert ratio_of_sums(np.ones(14), np.ones(14), group[2:], 1.0) is None  # seven groups


def test_a_share_of_all_counts_waves_and_not_requests() -> None:
    start_s = np.repeat(np.arange(25.0), 8)
    run = units(start_s, start_s + 1, lanes=8)
    share = share_of_requests(np.ones(200, dtype=bool), run.group, run, factor=1.0)
    assert (share.value, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(25 / (25 + 1.959964**2))  # Wilson's of 25 of 25
    good = np.ones(200, dtype=bool)
    good[64:72] = False  # a wave that went wrong as a whole
    some = share_of_requests(good, run.group, run, factor=1.0)
    assert some.value == 0.96
    assert some.low is not None and some.low < 0.85  # Wilson's over 200 requests: 0.923


def test_a_share_of_good_requests_in_open_loop_may_be_far_less_where_a_queue_lasts() -> None:
    """Those that miss a limit come in the stretches of a queue, of which a run may have seen few:
    the interval reaches further down than Wilson's, and as far up."""
    start_s = np.arange(400.0)
    run = units(start_s, start_s + 4, lanes=None)
    good = np.arange(400) % 100 >= 20  # four stretches
    ends = {}
    for factor in (1.0, 2.0):
        share = share_of_requests(good, run.group, run, factor)
        assert share.value == 0.8 and share.low is not None and share.high is not None
        estimate = ratio_of_sums(good.astype(float), np.ones(400), run.group, factor)
        assert estimate is not None
        plain = wilson(0.8, max(1.959964**2 / 400, estimate.half**2 / 0.16))
        assert share.high == pytest.approx(plain[1])
        ends[factor] = share.low, plain[0]
    assert ends[1.0][0] == pytest.approx(ends[1.0][1])  # nothing shows that a queue lasts
    assert ends[2.0][0] < ends[2.0][1] - 0.05


def test_streams_that_are_idle_at_the_end_widen_a_rate_of_mixed_lengths() -> None:
    random = np.random.default_rng(2)
    flight_s = random.uniform(0.5, 1.5, 80)
    start_s = np.repeat(np.arange(10.0), 8)
    run = units(start_s, start_s + flight_s, lanes=8)
    busy = throughput(np.ones(80), flight_s, run, value=8.0, reached=8.0)
    idle = throughput(np.ones(80), flight_s, run, value=4.0, reached=4.0)
    assert busy.value and idle.value and busy.high and idle.high
    assert idle.high / idle.value - 1 > 2 * (busy.high / busy.value - 1)


@pytest.mark.parametrize("span_s", [8.0, 10.0])
def test_a_rate_is_as_uncertain_as_its_pace_and_as_streams_were_idle(span_s: float) -> None:
    """Eight requests, one after the other, in a span that they fill or leave idle for a fifth."""
    run = replace(alone(8), widening=1.5)
    amounts, second = np.arange(1.0, 9.0), np.ones(8)
    pace = ratio_of_sums(amounts, second, run.group, 1.5)
    assert pace is not None
    value, half, busy = 36 / span_s, pace.half / pace.value, 8 / span_s
    found = throughput(amounts, second, run, value, busy)
    least = 4.5 / 8  # of the mean time of one, that of the fastest request
    slowest = least + (1 - least) * np.exp(half / (1 - least))
    assert found == Figure(value, *map(pytest.approx, (value / slowest, value * (1 + half))), 8)
    lengths = np.tile([0.5, 1.5], 4)  # half of their mean apart, at a pace that is certain
    drain = 1.1 * (1 - busy) * 0.5
    found = throughput(lengths, lengths, run, busy, busy)
    assert (found.low, found.high) == pytest.approx((busy / (1 + drain), busy * (1 + drain)))
    wide = throughput(amounts, second, replace(run, widening=20.0), value, busy)
    assert wide.high is not None and wide.low == pytest.approx(value**2 / wide.high)
    assert throughput(amounts[:7], second[:7], alone(7), 4.0, 1.0) == Figure(4.0, count=7)
    assert throughput(np.zeros(8), second, run, 0.0, busy) == Figure(0.0, count=8)


def test_a_latency_has_no_lower_bound_below_nothing_and_a_long_way_up() -> None:
    """2 s, of which 1 s is the least: the excess of 1 s lies on the logarithmic scale."""
    closed_ends = {
        0.5: (1.5, 1 + np.exp(0.5)),
        2.5: (0.0, 1 + np.exp(2.5)),
        9.0: (0.0, 1 + np.exp(3.0)),  # 20 times the excess at most
    }
    for half, ends in closed_ends.items():
        assert around(2.0, half, 1.0, is_open=False) == pytest.approx(ends)
    up = (1 + 0.7 * (1 - np.exp(-2.0))) * 0.5
    drawn_in = 1 + 0.4 * np.exp(-1.0)
    assert around(2.0, 0.5, 1.0, is_open=True) == pytest.approx(
        (1 + np.exp(-0.5 / drawn_in), 1 + np.exp(up))
    )
    assert around(2.0, 0.01, 1.0, is_open=True)[0] == pytest.approx(1 + np.exp(-0.01 / 1.4))
    assert around(2.0, 9.0, 1.0, is_open=True) == pytest.approx((1 + np.exp(-9), 1 + np.exp(3.0)))
    for is_open in (True, False):
        assert around(2.0, 0.5, 2.0, is_open) == (1.5, 2.5)  # all are equal


def test_the_interval_of_a_mean_lies_about_its_excess_over_the_least_value() -> None:
    values = np.random.default_rng(12).exponential(size=200) + 3
    run = replace(alone(200), widening=2.0)
    found = describe(values, np.arange(200), run.group, run)["mean"]
    estimate = ratio_of_sums(values, np.ones(200), run.group, 2.0)
    assert estimate is not None
    ends = around(estimate.value, estimate.half, float(values.min()), is_open=False)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), *ends))


@pytest.mark.parametrize(
    ("below", "gap", "between"),
    [
        *((50, 3.5, True), (40, 3.5, True), (60, 3.5, True)),
        *((39, 3.5, False), (61, 3.5, False), (50, 2.5, False)),
    ],
)
def test_two_kinds_have_four_tenths_of_the_requests_each(
    below: int, gap: float, between: bool
) -> None:
    """Of a hundred values that lie 1 apart, but for one gap: half of the way over four gaps are
    3.25 where that one is 3.5, and 2.75 where it is 2.5."""
    gaps = np.ones(99)
    gaps[below - 1] = gap
    ordered = np.concatenate([[0.0], np.cumsum(gaps)])
    assert _between_two(ordered, (below - 2) / 99, (below + 2) / 99) == between


def test_values_that_lie_apart_in_the_middle_are_two_kinds() -> None:
    """Gaps of 1, but in the middle tenth: 1.75 times as wide as those beside it is too wide."""
    for wide, between in ((1.7, False), (1.8, True)):
        gaps = np.where(np.abs(np.arange(100) - 49.5) < 5, wide, 1.0)
        ordered = np.concatenate([[0.0], np.cumsum(gaps)])
        assert _between_two(ordered, 0.45, 0.55) == between
        assert not _between_two(ordered, 0.45, 1.0), "nothing lies above to compare it with"
    assert not _between_two(np.ones(100), 0.4, 0.6)


def test_percentiles_above_the_median_ask_more_requests_of_an_open_loop() -> None:
    """A hundred beyond them, where the median asks for as many as all intervals do."""
    start_s = np.arange(400.0)
    run = units(start_s, start_s + 0.5, lanes=None)
    needed = [run.needed_for(fraction) for fraction in PERCENTILES.values()]
    assert needed == [OPEN_REQUESTS, 1000, 2000, 10_000]


def test_slow_noise_of_the_requests_widens_an_open_loop_alone() -> None:
    slow = np.cumsum(np.random.default_rng(6).standard_normal(400))
    start_s, owner = np.arange(400.0), np.arange(400)
    opened, closed_ = (units(start_s, start_s + 0.5, lanes) for lanes in (None, 1))
    assert factor_of(slow, owner, opened) > 2
    assert factor_of(slow, owner, replace(opened, widening=50.0)) == 50.0
    assert factor_of(slow, owner, closed_) == closed_.widening
    few = units(start_s[:100], start_s[:100] + 0.5, None)
    assert factor_of(slow[:100], owner[:100], few) == few.widening


@pytest.mark.parametrize("name", PERCENTILES)
def test_a_percentile_is_given_from_the_needed_number_on(name: str) -> None:
    needed = needed_samples(PERCENTILES[name])
    assert described(np.arange(needed - 1.0))[name] == Figure(None, count=needed - 1)
    assert described(np.arange(float(needed)))[name].value is not None


def test_percentiles_interpolate_linearly_and_the_maximum_is_kept() -> None:
    figures = described(np.arange(1001.0)[::-1])
    assert [figures[name].value for name in STATISTICS] == [500, 500, 900, 950, 990, 1000]
    assert described(np.arange(12.0))["p50"].value == 5.5
    assert figures["max"] == Figure(1000.0, count=1001)


def test_a_median_between_two_kinds_of_requests_has_no_interval() -> None:
    random = np.random.default_rng(3)
    fast, slow = random.normal(1.0, 0.05, 100), random.normal(1.5, 0.05, 100)
    halves = np.stack([fast, slow], axis=1).ravel()
    assert described(halves)["p50"].low is None and described(halves)["p50"].value is not None
    assert described(halves)["mean"].low is not None
    strays = np.where(np.arange(200) % 20 < 2, random.uniform(1.0, 1.5, 200), halves)
    assert described(strays)["p50"].low is None
    most = np.where(np.arange(200) % 4 == 3, halves + 0.5, random.normal(1.0, 0.05, 200))
    assert described(most)["p50"].low is not None  # a quarter are slow: the median is of the others
    assert described(np.ones(200))["p50"] == Figure(1.0, 1.0, 1.0, 200)


def test_a_median_in_open_loop_is_widened_by_the_share_below_it_alone() -> None:
    """One request in four takes its time from something slow, the others do not: the mean is
    uncertain, the median is not."""
    random = np.random.default_rng(10)
    slow = np.cumsum(random.normal(0, 0.1, 400))
    values = np.where(random.random(400) < 0.25, 4 + slow - slow.min(), random.normal(1, 0.05, 400))
    start_s, owner = np.arange(400.0), np.arange(400)
    run = units(start_s, start_s + 1, lanes=None)
    factor = factor_of(values, owner, run)
    assert factor > 3 and factor_of((values < np.median(values)).astype(float), owner, run) < 1.3
    median = describe(values, owner, run.group, run)["p50"]
    assert median.low is not None and median.high is not None
    assert median.high - median.low < 0.05  # 0.08 by the factor of the latency


def test_lengths_that_differ_are_not_widened_by_slow_steps() -> None:
    """Latency in proportion to lengths, at a pace that is known exactly: only the lengths count."""
    random = np.random.default_rng(4)
    lengths = random.uniform(10, 50, 200)
    run = replace(alone(200), widening=5.0)
    figures = [
        describe(0.1 * lengths, np.arange(200), run.group, run, of)["mean"]
        for of in (None, lengths, np.ones(200))
    ]
    plain, by_length, equal = (f.value - f.low for f in figures if f.value and f.low)
    assert by_length == pytest.approx(plain / 5, rel=1e-6)
    assert equal == pytest.approx(plain)


def test_a_mean_is_at_least_as_uncertain_as_is_known_from_elsewhere() -> None:
    run = alone(200)
    ones = np.ones(200) + np.arange(200) % 2 * 1e-3
    figure = describe(ones, np.arange(200), run.group, run, None, 0.1)["mean"]
    assert figure.value and figure.low
    assert figure.value - figure.low == pytest.approx(0.1 * t_quantile(0.975, 9))


def test_first_tokens_that_met_no_long_step_are_as_uncertain_as_the_steps() -> None:
    """One step in a hundred takes six times as long: three runs of 25 waves in four begin no wave
    with such a step, and their intervals would be too narrow for the mean of all."""
    (row,) = rows(World("heavy", closed(200, 8, "heavy")), ["ttft_s.mean"], 40)
    assert row.held is not None and row.held >= 0.85  # 0.7 by the waves alone


def test_nothing_is_described_as_absent() -> None:
    nothing = np.array([], dtype=np.int64)
    figures = describe(np.array([]), nothing, nothing, alone(10))
    assert figures == {name: Figure(None, count=0) for name in STATISTICS}
    share = share_of_requests(np.zeros(0, dtype=bool), nothing, alone(10), 1.0)
    assert share == Figure(None, count=0)


def test_few_requests_give_no_interval_however_many_gaps() -> None:
    figures = described(np.random.default_rng(0).exponential(size=700), per_request=100)
    assert figures["mean"].value is not None
    assert figures["p99"].value is not None
    assert {figure.low for figure in figures.values()} == {None}


@pytest.mark.parametrize(("name", "waves"), [("p50", 10), ("p90", 50), ("p95", 100), ("p99", 500)])
def test_a_percentile_has_an_interval_from_five_waves_beyond_it_on(name: str, waves: int) -> None:
    random = np.random.default_rng(waves)
    for count, given_low in ((waves, True), (waves - 1, False)):
        start_s = np.repeat(np.arange(float(count)), 2)
        run = units(start_s, start_s + 1, lanes=2)
        assert run.needed_for(PERCENTILES[name]) == 2 * waves
        values = random.exponential(size=2 * count)
        figure = describe(values, np.arange(2 * count), run.group, run)[name]
        assert (figure.low is not None) == (given_low and figure.value is not None)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=200), st.integers(1, 7))
def test_intervals_hold_their_figures_and_move_with_the_unit(values, per_request: int) -> None:
    array = np.array(values, dtype=float)
    figures, doubled = described(array, per_request), described(2 * array, per_request)
    for name, figure in figures.items():
        assert repr(figure) == repr(described(array, per_request)[name])
        if figure.low is not None:
            assert figure.low <= figure.value <= figure.high
        if figure.value is not None:
            assert doubled[name].value == 2 * figure.value
            twice = None if figure.low is None else pytest.approx(2 * figure.low)
            assert doubled[name].low == twice


@pytest.mark.parametrize(
    ("lanes", "factor", "expected"),
    [
        (8, 2.0, np.sqrt(1 + 0.25 * (1.5**2 + 2.0**2 - 2))),
        (None, 2.0, np.sqrt(1.5**2 + 0.25 * (3.0**2 - 1.5**2))),
        (1, 2.0, np.sqrt(1 + 0.5 * (1.5**2 + 2.0**2 - 2))),  # one at a time: what the next has too
        (8, 7.2, np.sqrt(1 + 0.25 * (1.5**2 + (7.2 * 2**4) ** 2 - 2))),  # it outlasts the run
    ],
)
def test_steps_that_change_slowly_widen_by_the_part_that_requests_share(
    monkeypatch: pytest.MonkeyPatch, lanes: int | None, factor: float, expected: float
) -> None:
    """In variances, which add in a closed loop and multiply in an open one, whose widening of the
    groups is whole."""
    monkeypatch.setattr(inference, "widening", lambda series, groups, prior: factor)
    monkeypatch.setattr(inference, "shared", lambda series, half: 0.25)
    monkeypatch.setattr(inference, "carried", lambda series, owner: 0.5)
    start_s = np.arange(400.0)
    run = replace(units(start_s, start_s + 0.5, lanes), widening=1.5)
    found = inference.slow_steps(start_s, np.ones(400), np.arange(400), run)
    assert found.widening == pytest.approx(expected)
    few = units(start_s[:7], start_s[:7] + 0.5, lanes)
    assert inference.slow_steps(start_s[:7], np.ones(7), np.arange(7), few) is few


# ---- coverage ------------------------------------------------------------------------------------

TRIALS = 80
CLOSED = ("tpot_s.mean", "e2e_s.mean", "output_tokens_per_s")
WORLDS = [
    (independent(200, 8), CLOSED),
    (closed(80, 8, "white"), CLOSED),
    (closed(80, 8, "slow"), CLOSED),
    (closed(80, 8, "slower"), CLOSED),
    (closed(24, 1, "heavy"), CLOSED),
    (closed(200, 8, "white", spread=True, lengths=0.5), CLOSED),
    (as_sent(80, 8, "white", lengths=1.0), CLOSED[2:]),
    (as_sent(400, 8, "white", lengths=0.5, failing=0.02), CLOSED[2:]),
    (engine_in_open_loop(400, 4.0, "slow"), ("tpot_s.mean", "e2e_s.p50")),
    (queue(400, 4, 0.7, "fixed"), ("ttft_s.mean", "e2e_s.mean", "good_fraction")),
    (queue(400, 4, 0.9, "fixed"), ("ttft_s.mean", "e2e_s.p50")),
]


@pytest.mark.parametrize(("draw", "names"), WORLDS)
def test_intervals_hold_the_truth_as_often_as_they_say(draw, names) -> None:  # type: ignore[no-untyped-def]
    for row in rows(World("a world", draw), names, TRIALS):
        assert row.given >= 0.9, row
        assert row.held is not None and row.held >= 0.86, row  # 0.95 and 4 deviations of 80 trials


def test_requests_taken_as_units_would_hold_it_in_half_of_the_runs() -> None:
    """What the wave is for: the same t interval over groups that cut across the waves."""
    held = []
    draws = [closed(80, 8, "white")(np.random.default_rng(seed)) for seed in range(60)]
    views = [View(draw) for draw in draws]
    truth = float(np.mean([view.tpot_s.mean() for view in views]))
    for view in views:
        across = ratio_of_sums(view.tpot_s, np.ones(80), np.arange(80) % 8, 1.0)
        assert across is not None
        held.append(abs(across.value - truth) <= across.half)
    assert np.mean(held) < 0.5


def test_intervals_are_not_wider_than_need_be_where_noise_is_white() -> None:
    (row,) = rows(World("white", closed(80, 8, "white")), ["tpot_s.mean"], 40)
    assert row.width is not None and row.width < 0.06  # 0.028 is that of the best method


@pytest.mark.slow
@pytest.mark.alone
def test_intervals_of_runs_on_loopback_hold_the_mean_of_all(fake_server) -> None:  # type: ignore[no-untyped-def]
    for row in on_loopback(fake_server(SCRIPT), 15):
        assert row.given == 1.0, row
        assert row.held is not None and row.held >= 0.8, row


def test_the_same_run_has_the_same_intervals_bit_for_bit() -> None:
    draw = closed(80, 8, "slow")
    first, again = (metrics(draw(np.random.default_rng(3))) for _ in range(2))
    assert repr(first) == repr(again)
