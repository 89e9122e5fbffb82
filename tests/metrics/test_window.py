"""Spans, requests in flight, gauges and counters, against answers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.metrics.window import Series, Span, busy_s, in_flight, steady_closed, steady_open

START_S = np.array([0.0, 1.0, 2.0, 4.0])
END_S = np.array([4.0, 3.0, 5.0, 7.0])


def series(*pairs: tuple[float, float]) -> Series:
    table = np.array(pairs, dtype=float).reshape(-1, 2)
    return Series(table[:, 0], table[:, 1])


def test_requests_in_flight() -> None:
    flight = in_flight(START_S, END_S)
    assert flight.at_s.tolist() == [0, 1, 2, 3, 4, 4, 5, 7]
    assert flight.value.tolist() == [1, 2, 3, 2, 1, 2, 1, 0]
    assert flight.peak(Span(0, 7)) == 3


def test_time_in_flight_is_cut_at_the_span() -> None:
    assert busy_s(START_S, END_S, Span(0, 7)) == 12
    assert busy_s(START_S, END_S, Span(2, 4.5)) == pytest.approx(2 + 1 + 2.5 + 0.5)
    assert busy_s(START_S, END_S, Span(8, 9)) == 0


def test_steady_from_all_streams_up_until_the_first_drains() -> None:
    assert steady_closed(START_S, END_S, 3) == Span(2, 3)
    assert steady_closed(START_S, END_S, 2) == Span(1, 5)
    assert steady_closed(START_S, END_S, 1) == Span(0, 7)
    assert steady_closed(START_S, END_S, 4) is None
    assert steady_closed(np.array([]), np.array([]), 1) is None


def test_a_place_that_is_free_for_a_moment_does_not_end_the_steady_state() -> None:
    start_s = np.array([0.0, 0.0, 1.1, 1.2, 2.5])
    end_s = np.array([1.0, 1.1, 2.1, 2.4, 3.5])
    assert steady_closed(start_s, end_s, 2) == Span(0.0, 2.1)


def test_open_loop_is_steady_from_the_first_answer_to_the_last_request() -> None:
    assert steady_open(START_S, END_S) == Span(3, 4)
    assert steady_open(START_S[:2], END_S[:2]) is None
    assert steady_open(np.array([]), np.array([])) is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=30),
    st.integers(1, 5),
)
def test_time_in_flight_is_the_area_under_requests_in_flight(times, batch: int) -> None:
    start_s = np.array([float(at) for at, _ in times])
    end_s = start_s + np.array([float(took) for _, took in times])
    flight = in_flight(start_s, end_s)
    assert flight.value[-1] == 0
    area = float((np.diff(flight.at_s) * flight.value[:-1]).sum())
    assert area == pytest.approx(busy_s(start_s, end_s, Span(0, 100)))
    steady = steady_closed(start_s, end_s, batch)
    assert (steady is None) == (flight.value.max() < batch)
    if steady is not None:
        assert start_s.min() <= steady.start_s < steady.end_s <= end_s.max()


def test_gauges_are_read_inside_the_span_only() -> None:
    gauge = series((0, 9), (1, 2), (2, 4), (3, 9))
    assert gauge.mean(Span(1, 2)) == 3
    assert gauge.peak(Span(1, 2)) == 4
    assert gauge.mean(Span(1.2, 1.8)) is None
    assert gauge.peak(Span(5, 6)) is None


@pytest.mark.parametrize(
    ("span", "rise"),
    [
        (Span(1.5, 2.5), 6),  # from the reading at 1 to the one at 3
        (Span(1, 3), 6),  # readings at both ends
        (Span(-5, 9), 12),  # from the first to the last
        (Span(0, 4), 12),
    ],
)
def test_counters_rise_from_the_reading_before_to_the_reading_after(span, rise) -> None:
    assert series((0, 10), (1, 12), (2, 15), (3, 18), (4, 22)).increase(span) == rise


def test_the_readings_around_a_span_begin_before_it_and_end_after_it() -> None:
    readings = series((0, 10), (1, 12), (2, 15), (3, 18), (4, 22)).around(Span(1.5, 2.5))
    assert (readings.at_s.tolist(), readings.value.tolist()) == ([1, 2, 3], [12, 15, 18])


def test_a_counter_that_falls_began_again() -> None:
    assert series((0, 10), (1, 12), (2, 3), (3, 5)).increase(Span(0, 3)) == 2 + 3 + 2


def test_one_reading_is_no_rise() -> None:
    assert series((0, 10)).increase(Span(0, 1)) is None
    assert series().increase(Span(0, 1)) is None


def test_energy_and_power_are_interpolated_at_the_ends() -> None:
    counter = series((0, 100), (1, 200), (2, 400), (3, 400))
    assert counter.rise(Span(0.5, 1.5)) == pytest.approx(150)
    power = series((0, 100), (2, 300))
    assert power.integral(Span(0.5, 1.5)) == pytest.approx(200)
    assert power.integral(Span(0, 2)) == pytest.approx(400)


def test_readings_that_cover_too_little_are_not_integrated() -> None:
    power = series((0, 100), (5, 100))
    assert power.integral(Span(0, 5.2)) == pytest.approx(520)
    assert power.integral(Span(0, 10)) is None
    assert power.rise(Span(-1, 5)) is None
    assert power.integral(Span(2, 2)) is None
    assert series((1, 100)).integral(Span(0, 2)) is None
