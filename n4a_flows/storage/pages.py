"""How many rows are asked for, and from where on."""

from __future__ import annotations

import operator
from typing import Any

from n4a_flows.storage.errors import InvalidInputError

_MOST = 2**63 - 1  # that DuckDB counts


def checked_limit(limit: Any) -> int | None:
    """`checked_number` of rows at most; None asks for all."""
    return None if limit is None else checked_number("limit", limit)


def checked_number(name: str, number: Any) -> int:
    """A number of rows as DuckDB takes it.

    Raises
    ------
    InvalidInputError
        When it is negative, no whole number, or more than can be counted.
    """
    try:
        whole = int(number) if isinstance(number, float) and number.is_integer() else operator.index(number)
    except TypeError:
        whole = -1
    if not 0 <= whole <= _MOST:
        raise InvalidInputError(f"{name} must be a whole number of at least 0 and at most {_MOST}, not {number!r}.")
    return whole
