from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import NotFound
from journal.records.experiment import Experiment
from journal.records.notebook import Note
from journal.records.run import Record
from journal.report.day import collect, last_day
from journal.store.days import bounds
from journal.store.notes import add_note
from journal.store.store import Store, open_store

SHANGHAI = timezone(timedelta(hours=8))


def zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        pytest.skip(f"this host has no time zone database with {name}")


def hours(day: date, where: tzinfo) -> float:
    first, last = bounds(day, where)
    return (last - first).total_seconds() / 3600


def test_a_day_has_23_or_25_hours_where_clocks_change() -> None:
    berlin = zone("Europe/Berlin")
    assert hours(date(2026, 3, 28), berlin) == 24
    assert hours(date(2026, 3, 29), berlin) == 23
    assert hours(date(2026, 10, 25), berlin) == 25


def test_a_day_begins_even_where_midnight_does_not_exist() -> None:
    beirut = zone("Asia/Beirut")  # clocks go from 00:00 to 01:00
    first, last = bounds(date(2026, 3, 29), beirut)
    assert last - first == timedelta(hours=23)
    assert first.astimezone(beirut).date() == date(2026, 3, 29)
    assert (first - timedelta(seconds=1)).astimezone(beirut).date() == date(2026, 3, 28)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 12, 30)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Asia/Kathmandu"]),
)
def test_every_instant_is_in_one_day(when: datetime, name: str) -> None:
    where, instant = zone(name), when.replace(tzinfo=UTC)
    day = instant.astimezone(where).date()
    first, last = bounds(day, where)
    assert first <= instant < last
    assert bounds(day + timedelta(days=1), where)[0] == last


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def begun(store: Store, when: datetime, name: str = "first") -> str:
    return store.begin_experiment(Experiment(name=name), when, {}).id


def test_runs_belong_to_the_readers_day_not_to_utcs(
    store: Store, record: Callable[..., Record]
) -> None:
    late = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)  # 01:30 on the 21st in Shanghai
    first = begun(store, late - timedelta(hours=2))
    for number, when in enumerate((late - timedelta(hours=2), late)):
        store.add_run(record(number=number, experiment_id=first, started_at=when), None)
    assert len(collect(store, date(2026, 11, 20), UTC).records) == 2
    next_day = collect(store, date(2026, 11, 21), SHANGHAI)
    assert [each.started_at for each in next_day.records] == [late]
    assert [each.id for each in next_day.experiments] == [first], "it began the day before"


def test_an_experiment_that_ran_nothing_is_in_its_day(store: Store) -> None:
    begun(store, datetime(2026, 11, 20, 9, tzinfo=UTC))
    day = collect(store, date(2026, 11, 20), UTC)
    assert (len(day.experiments), day.records) == (1, ())


def test_an_empty_day_names_those_that_hold_something(store: Store) -> None:
    for number in (3, 5):
        begun(store, datetime(2026, 11, number, 9, tzinfo=UTC))
    with pytest.raises(NotFound, match="nothing was run on 2026-11-04") as error:
        collect(store, date(2026, 11, 4), UTC)
    assert str(error.value).endswith("days with runs: 2026-11-03, 2026-11-05")


def test_the_nearest_of_many_days_are_named(store: Store) -> None:
    for number in range(1, 21):
        begun(store, datetime(2026, 11, number, 9, tzinfo=UTC))
    with pytest.raises(NotFound) as error:
        collect(store, date(2026, 12, 1), UTC)
    assert str(error.value).endswith("2026-11-19, 2026-11-20 (the nearest of 20)")
    assert str(error.value).count("2026-11-") == 7


@pytest.mark.parametrize("day", [date(2026, 11, 4), date.max, date.min])
def test_an_empty_journal_says_how_to_begin(store: Store, day: date) -> None:
    with pytest.raises(NotFound, match="journal run"):
        collect(store, day, UTC)


def test_the_last_day_is_the_newest_with_something(
    store: Store, record: Callable[..., Record]
) -> None:
    with pytest.raises(NotFound, match="journal run"):
        last_day(store, UTC)
    first = begun(store, datetime(2026, 11, 20, 23, 50, tzinfo=UTC))
    assert last_day(store, UTC) == date(2026, 11, 20)
    after = datetime(2026, 11, 21, 0, 10, tzinfo=UTC)
    store.add_run(record(experiment_id=first, started_at=after), None)
    assert last_day(store, UTC) == date(2026, 11, 21)


def test_the_last_day_of_notes_alone_is_that_of_the_last_note(store: Store) -> None:
    for day in (date(2026, 11, 25), date(2026, 11, 24)):
        add_note(store, Note(id=f"{day}", day=day, text="read", written_at=datetime.now(UTC)))
    assert last_day(store, UTC) == date(2026, 11, 25)
    begun(store, datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    assert last_day(store, UTC) == date(2026, 11, 20)
