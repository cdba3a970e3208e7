"""The store's clock: naive UTC, as every TIMESTAMP column holds it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, naive UTC, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None)
