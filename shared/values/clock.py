"""Time: instants are UTC with a zone, days are days in Paris, where the cheques are spent."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The instants that services take from others: what one takes, every other can keep."""


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """Today's day in Europe/Paris."""
    return day_of(now())


def day_of(instant: datetime) -> date:
    """The day of an instant in Europe/Paris."""
    return instant.astimezone(PARIS).date()


def add_months(day: date, months: int) -> date:
    """The same day of the month, `months` later; the month's last day where that one has no such day."""
    index = day.month - 1 + months
    year, month = day.year + index // 12, index % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day.day, (following - date.resolution).day))
