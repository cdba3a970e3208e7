"""What a block of a JCAMP-DX file declares against what stands in its table: the library believes the one or the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.raw import Source
from n4a_flows.storage.errors import SpectraError

Values = npt.NDArray[np.float64]

_TABLE = re.compile(r"##\s*XYDATA\s*=\s*\(X\+\+\(Y\.\.Y\)\)\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_PLAIN = re.compile(r"[\d\s.+-]*")

_STEP_SAID = 0.05
"""By how much DELTAX may be rounded where the lines of the table say the step too, and ..."""

_STEP_ALONE = 0.01
"""... where a table of one line does not, as a share of the axis."""

_FIRST = 0.01
"""By how much FIRSTY may be off, as a share of it."""


@dataclass(frozen=True)
class _Line:
    """A line of the table: the X that it begins with, how exactly that is written, and which points this may be the X of."""

    x: float
    exact: float
    places: tuple[int, ...]


def check_declared(
    jcamp: Any, lines: Sequence[str], block: dict[str, Any], x: Values, y: Values, source: Source
) -> None:
    """Refuse a block whose axis or first value is clearly not the one that it declares; what writers round is let pass.

    Raises
    ------
    SpectraError
        When FIRSTX, LASTX, DELTAX or the X of a line contradict one another, or FIRSTY the first value.
    """
    table = _table(jcamp, lines)
    if table:
        step = abs(x[-1] - x[0]) / max(len(x) - 1, 1)
        rounded = max(_unit(lines, "FIRSTX"), _unit(lines, "LASTX"))
        _check_lines(table, float(block.get("xfactor", 1) or 1), x, step / 2 + rounded, source)
        _check_step(len(table) > 1, block, x, step / 2 + rounded, source)
    _check_first(lines, block, y, source)


def _table(jcamp: Any, lines: Sequence[str]) -> list[_Line]:
    """The lines of the table with their X, where the library makes the axis from the header alone."""
    start = next((i for i, line in enumerate(lines, 1) if _TABLE.match(line)), len(lines))
    table, count = [], 0
    differences: bool | None = None
    for line in lines[start:]:
        if line.startswith("##"):
            break
        if not line.strip():
            continue
        if differences is None:
            differences = any(sign in jcamp.DIF_digits for sign in line)
        if _PLAIN.fullmatch(line):
            numbers = _NUMBER.findall(line)
            first, values = float(numbers[0]), len(numbers) - 1
        else:
            first, *rest = jcamp.parse(line)
            values = len(rest)
        # A line of differences begins with the last value of the line above, to check it.
        repeats = differences and count > 0
        exact = _written(line, first)
        if exact is not None:
            table.append(_Line(first, exact, (count - 1, count) if repeats else (count,)))
        count += values - 1 if repeats else values
    return table


def _written(line: str, value: float) -> float | None:
    """The last digit of the number that a line begins with, None when it is not clear where that ends."""
    found = _NUMBER.match(line.lstrip())
    for text in (line.split()[0], found[0] if found else ""):
        if (unit := _unit_of(text)) is not None and float(text) == value:
            return unit
    return None


def _unit_of(text: str) -> float | None:
    """The size of the last digit of a number, None when it is none."""
    try:
        exponent = Decimal(text.strip()).as_tuple().exponent
    except InvalidOperation:
        return None
    return 10.0**exponent if isinstance(exponent, int) else None


def _unit(lines: Sequence[str], label: str) -> float:
    """The size of the last digit of what a label says, 0 when it says no number."""
    pattern = re.compile(rf"##\s*{label}\s*=(.*)", re.IGNORECASE)
    found = [match[1] for match in map(pattern.match, lines) if match]
    return (_unit_of(found[-1].replace(",", ".")) or 0.0) if found else 0.0


def _check_lines(table: Sequence[_Line], factor: float, x: Values, allowed: float, source: Source) -> None:
    """Whether each line begins where it should, its numbers scaled by XFACTOR or not: writers do both."""
    scale = min((factor, 1.0), key=lambda scale: abs(table[0].x * scale - x[0]))
    for number, line in enumerate(table):
        should = [x[place] for place in line.places if place < len(x)]
        found = line.x * scale
        if not should or min(abs(found - one) for one in should) <= allowed + abs(scale) * line.exact:
            continue
        if number == 0:
            raise SpectraError(f"{source} declares another FIRSTX than its table begins at; the file is damaged.")
        raise SpectraError(
            f"{source}: line {number + 1} of a table begins at {found:g}, where {' or '.join(f'{one:g}' for one in should)} "
            "should be; FIRSTX, LASTX or NPOINTS are wrong, or lines are missing."
        )


def _check_step(said: bool, block: dict[str, Any], x: Values, allowed: float, source: Source) -> None:
    delta, length = block.get("deltax"), abs(x[-1] - x[0])
    if not isinstance(delta, int | float) or delta == 0:
        return
    allowed += length * (_STEP_SAID if said else _STEP_ALONE)
    steps = (delta, delta * float(block.get("xfactor", 1) or 1))
    if min(abs(abs(step) * (len(x) - 1) - length) for step in steps) > allowed:
        raise SpectraError(
            f"{source} declares an axis from {x[0]:g} to {x[-1]:g}, but {len(x)} points with DELTAX={delta:g} do not reach from "
            "one to the other; the file is damaged."
        )


def _check_first(lines: Sequence[str], block: dict[str, Any], y: Values, source: Source) -> None:
    said, factor = block.get("firsty"), float(block.get("yfactor", 1) or 1)
    if not isinstance(said, int | float):
        return
    allowed = _FIRST * abs(said) + _unit(lines, "FIRSTY")
    # In the unit of the data, as percent of shares, or before YFACTOR: writers do all of it.
    as_data = min(abs(share * y[0] - said) - abs(share * factor) for share in (1, 100, 0.01))
    if as_data > allowed and abs(y[0] / factor - said) > allowed + 1:
        raise SpectraError(f"{source} declares FIRSTY={said:g}, but its first value is {y[0]:g}; the file is damaged.")
