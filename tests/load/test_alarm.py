"""The alarm: tasks wake at their times, by the system's timer or by those of the loop."""

import asyncio
import statistics
import sys
import time
from pathlib import Path

import machine
import pytest

from journal.load import alarm
from journal.load.alarm import Alarm
from journal.load.play import event_loop

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has the timer")


@pytest.fixture(params=["the system's timer", "timers of the loop"])
def any_timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "timers of the loop":
        monkeypatch.setattr(alarm, "_timer", lambda: None)


def woken(times_s: list[float], given_up: tuple[int, ...] = ()) -> list[tuple[int, float]]:
    """The tasks in the order in which they woke and how late each was in s. Each waits for one of
    `times_s` from now; those of the numbers `given_up` are cancelled at once."""
    order: list[tuple[int, float]] = []

    async def play() -> None:
        begin_s = time.monotonic()

        async def one(number: int) -> None:
            due_s = begin_s + times_s[number]
            await clock.until(due_s)
            order.append((number, time.monotonic() - due_s))

        async with Alarm() as clock, asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(one(number)) for number in range(len(times_s))]
            await asyncio.sleep(0)
            for number in given_up:
                started[number].cancel()

    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(play())
    return order


@pytest.mark.timing
@pytest.mark.usefixtures("any_timer")
def test_tasks_wake_in_the_order_of_their_times_and_none_early() -> None:
    order = woken([0.07, 0.0501, 0.0704, 0.0, -1.0, 0.06])
    assert [number for number, _ in order] == [3, 4, 1, 5, 0, 2]
    assert all(late_s >= 0 for _, late_s in order)


@pytest.mark.usefixtures("any_timer")
def test_a_task_that_no_longer_waits_keeps_no_other_from_waking() -> None:
    order = woken([0.05, 0.06, 0.05, 0.07], given_up=(0, 1))
    assert [number for number, _ in order] == [2, 3]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@on_linux
def test_the_timer_is_closed_with_its_alarm() -> None:
    async def files() -> tuple[int, int, int]:
        before = open_files()
        async with Alarm() as clock:
            during = open_files()
            await clock.until(time.monotonic() + 0.001)
        return before, during, open_files()

    before, during, after = asyncio.run(files())
    assert (during - before, after - before) == (1, 0)


@on_linux
@pytest.mark.timing
def test_an_alarm_wakes_once_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a timer that has rung nor the last fraction of a millisecond keeps the loop busy."""
    rings = []
    ring = Alarm._ring

    def counted(self: Alarm) -> None:
        rings.append(self)
        ring(self)

    monkeypatch.setattr(Alarm, "_ring", counted)
    order = woken([0.0103, 0.0206, 0.0309, 0.0309])
    assert len(order) == 4 and 0 < len(rings) <= 3


def test_the_quiet_lasts_until_the_next_task_wakes() -> None:
    async def quiet() -> tuple[float, float]:
        async with Alarm() as clock:
            none_waits_s = clock.quiet_s()
            waiting = asyncio.ensure_future(clock.until(time.monotonic() + 60))
            await asyncio.sleep(0)
            one_waits_s = clock.quiet_s()
            waiting.cancel()
        return none_waits_s, one_waits_s

    none_waits_s, one_waits_s = asyncio.run(quiet())
    assert none_waits_s == float("inf")
    if sys.platform.startswith("linux"):
        assert 0 < one_waits_s < 60


@on_linux
def test_there_is_no_quiet_before_what_a_task_begins_when_it_wakes() -> None:
    """A request is sent by a task of its own, which the one that woke begins."""
    quiet_s: list[float] = []

    async def wake() -> None:
        async with Alarm() as clock:

            async def send() -> None:
                quiet_s.append(clock.quiet_s())

            await clock.until(time.monotonic() + 0.005)
            await asyncio.create_task(send())
            for _ in range(3):
                await asyncio.sleep(0)
            quiet_s.append(clock.quiet_s())

    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(wake())
    assert quiet_s == [0.0, float("inf")]


@on_linux
@pytest.mark.alone
def test_an_alarm_is_exact_to_a_fraction_of_a_millisecond() -> None:
    """On a slow machine it may be twice as late as a program that only sleeps."""
    times_s = [n * 0.0047 for n in range(1, 101)]
    late_s = statistics.median(late_s for _, late_s in woken(times_s))
    assert late_s < max(0.2e-3, 2 * machine.late_s(0.5))
