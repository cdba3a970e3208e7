"""The store's clock: naive UTC, as every TIMESTAMP column holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload


def now() -> datetime:
    """The current time, naive UTC, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None)


@overload
def naive_utc(moment: datetime) -> datetime: ...
@overload
def naive_utc(moment: None) -> None: ...
def naive_utc(moment: datetime | None) -> datetime | None:
    """A moment as the store keeps it: one with a time zone as naive UTC, one without as it is."""
    return moment if moment is None or moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def days_ago(days: float | None) -> datetime | None:
    """The time so many days ago, naive UTC; the beginning of the calendar where that was before it, None for None."""
    if days is None:
        return None
    try:
        return before(now(), timedelta(days=days))
    except OverflowError:
        return datetime.min


def before(moment: datetime, span: timedelta) -> datetime:
    """The moment so long before another one; the beginning of the calendar where that was before it."""
    try:
        return moment - span
    except OverflowError:
        return datetime.min
