"""The beginning and the end of a day of the journal."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo


def bounds(day: date, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The first instants of `day` in `zone` and of the day after, in UTC. Where clocks change, a
    day has 23 or 25 hours."""
    first, last = (
        datetime.combine(midnight, time.min, tzinfo=zone).astimezone(UTC)
        for midnight in (day, day + timedelta(days=1))
    )
    return first, last
