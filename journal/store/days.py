"""When a day of the journal begins and ends."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo


def bounds(day: date, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The first instant of `day` in `zone` and that of the day after, in UTC. Where clocks
    change, a day has 23 or 25 hours."""
    first, last = (
        datetime.combine(each, time.min, tzinfo=zone).astimezone(UTC)
        for each in (day, day + timedelta(days=1))
    )
    return first, last
