"""The numbers that `_range_` and `_log_range_` stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training.spaces import Space

_LARGEST = 10**15
"""Up to here neighbouring whole numbers are told apart by a float, with room."""

_DIGITS = 12
"""Significant digits of the numbers inside a `_log_range_`."""


def number_range(content: Any, where: str) -> Space[float]:
    """`[first, last]` or `[first, last, step]`, or a dict with `from`, `to` and `step`: from first to last, both included.

    The numbers are those that one gets by adding on paper: 0.1, 0.2, 0.3. They are whole where first and step are.

    Raises
    ------
    DefinitionError
        When it is written otherwise or holds no number.
    """
    how = "'_range_' needs [first, last] or [first, last, step]"
    first, last, step = _numbers(content, {"from": None, "to": None, "step": 1}, where, how)
    if max(abs(first), abs(last), abs(step)) > _LARGEST:
        raise DefinitionError(f"{where}: {how}, all numbers of at most 1e15.")
    if step == 0 or (last - first) / step < 0:
        raise DefinitionError(
            f"{where}: '_range_' {[first, last, step]} is empty; a step of {step} does not lead from {first} to {last}."
        )
    if abs(last - first) / abs(step) > 2 * _LARGEST:
        raise DefinitionError(f"{where}: '_range_' {[first, last, step]} has too small a step.")
    # A little room, so that a step of 5 / 3, as a float a little more than that, leads from 0 to 5.
    size = int((last - first) / step + 1e-9) + 1

    def at(number: int) -> float:
        if isinstance(first, int) and isinstance(step, int):
            return first + number * step
        return float(Decimal(str(first)) + number * Decimal(str(step)))

    return Space(size, at)


def log_range(content: Any, where: str) -> Space[float]:
    """`[first, last, number]`, or a dict with `from`, `to` and `num`: so many numbers, each the same multiple of the one before.

    First and last are included as they are written, those between are rounded to 12 significant digits. Where first and last
    are whole numbers, those between that are whole stay so (1, 10, 100); the others are not rounded to whole numbers.

    Raises
    ------
    DefinitionError
        When it is written otherwise.
    """
    how = "'_log_range_' needs [first, last, number]"
    first, last, size = _numbers(content, {"from": None, "to": None, "num": None}, where, how)
    if first <= 0 or last <= 0 or first == last:
        raise DefinitionError(f"{where}: {how}, with first and last above 0 and different.")
    if not isinstance(size, int) or not 2 <= size <= _LARGEST:
        raise DefinitionError(
            f"{where}: {how}; the number must be a whole one from 2, for first and last are included."
        )
    whole = isinstance(first, int) and isinstance(last, int)

    def at(number: int) -> float:
        if number in (0, size - 1):
            return last if number else first
        along = number / (size - 1)
        exact = math.exp(math.log(first) * (1 - along) + math.log(last) * along)
        rounded = float(f"{exact:.{_DIGITS}g}")
        return int(rounded) if whole and rounded.is_integer() else rounded

    return Space(size, at)


def _numbers(content: Any, names: Mapping[str, float | None], where: str, how: str) -> list[float]:
    """The numbers of a list, or of a dict with these names; what is left out has its default."""
    if isinstance(content, Mapping):
        if not set(content) <= set(names):
            raise DefinitionError(f"{where}: {how}, or a dict with {', '.join(map(repr, names))}.")
        content = [content.get(name, default) for name, default in names.items()]
    if not isinstance(content, list | tuple):
        raise DefinitionError(f"{where}: {how}, all numbers.")
    given = [*content, *list(names.values())[len(content) :]]
    if len(given) != len(names):
        raise DefinitionError(f"{where}: {how}.")
    for number in given:
        if isinstance(number, str):
            raise DefinitionError(f"{where}: {how}, all numbers; {number!r} is text (YAML wants 1.0e-3 for 1e-3).")
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise DefinitionError(f"{where}: {how}, all numbers.")
    return given
