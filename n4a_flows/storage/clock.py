"""The store's clock: naive UTC, as every TIMESTAMP column holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The current time, naive UTC, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None)


def days_ago(days: float | None) -> datetime | None:
    """The time so many days ago, naive UTC; the beginning of the calendar where that was before it, None for None."""
    if days is None:
        return None
    try:
        return now() - timedelta(days=days)
    except OverflowError:
        return datetime.min
