"""The beginning and the end of a day where people live."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from journal.store.days import bounds


@pytest.mark.parametrize(
    ("day", "zone", "first", "hours"),
    [
        (date(2026, 3, 1), "Asia/Shanghai", datetime(2026, 2, 28, 16, tzinfo=UTC), 24),
        (date(2026, 3, 29), "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        (date(2026, 10, 25), "Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
    ],
)
def test_a_day_has_its_own_hours(day: date, zone: str, first: datetime, hours: int) -> None:
    since, until = bounds(day, ZoneInfo(zone))
    assert since == first
    assert until - since == timedelta(hours=hours)
    assert until.tzinfo is since.tzinfo is UTC
