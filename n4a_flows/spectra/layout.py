"""How a table lies: one spectrum per row, one per column, or two columns; and what above it is no part of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise

from n4a_flows.spectra.columns import ID_NAMES, spectra_in_rows
from n4a_flows.spectra.guards import MAX_POINTS, plausible
from n4a_flows.spectra.header import Points, is_corner, number_of, point_of, points_of, signal_in, unit_in
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.text import Table
from n4a_flows.storage.axis import Unit
from n4a_flows.storage.errors import SpectraError

Rows = list[tuple[int, list[str]]]

_LOOK = 100
"""Rows that are looked at to find the layout."""

_MAX_TURNED = 6_000_000
"""Fields of a table that is turned round, all of which are held as text."""

_FEWEST = 5
"""Points of a spectrum in two columns that nothing is written above."""

_VALUE_NAMES = frozenset(
    ["", "y", "value", "values", "signal", "intensity", "counts", "raw", "spectrum", "data", "abs", "a", "r", "t"]
)

_SAMPLE_NAMES = frozenset([*ID_NAMES, "probe", "name", "nr", "no", "lab", "code", "sample name"])


@dataclass(frozen=True)
class Grid:
    """A table with one spectrum per row.

    Attributes
    ----------
    header
        Names of the columns.
    points
        The columns that are points, None when none are.
    rows
        The rows below, with their lines.
    unit, signal
        As the table says them.
    one
        Whether it is the only spectrum of its file, and has no id of its own.
    line_of
        The line each column stands on, for a table that was turned round.
    """

    header: tuple[str, ...]
    points: Points | None
    rows: Iterator[tuple[int, list[str]]]
    unit: Unit | None = None
    signal: str | None = None
    one: bool = False
    line_of: Sequence[int] | None = None


def spectra_from_table(table: Table, source: Source) -> RawSpectra:
    """The spectra of a table, in whichever layout (parameters and errors: see `read_spectra`)."""
    head = list(islice(table.rows, _LOOK))
    if not head:
        raise SpectraError(f"{table.source} holds nothing but blank lines; write the file again.")
    if max(len(fields) for _, fields in head) > MAX_POINTS:
        raise SpectraError(
            f"{table.source} has more than {MAX_POINTS} columns, which no instrument gives; is it damaged?"
        )
    named = frozenset([*source.targets, *([source.id_column] if source.id_column is not None else [])])
    grid = _grid(table, head, named, source.unit)
    return spectra_in_rows(grid, table, source)


def _grid(table: Table, head: Rows, named: frozenset[str], unit: Unit | None) -> Grid:
    comma = table.decimal_comma
    for start in range(len(head)):
        if two := _two_columns(table, head, start, unit):
            return two
        header = tuple([name.strip() for name in head[start][1]])
        points = points_of(header, named, decimal_comma=comma)
        # The first row is the header when it can be; further down it must look like one.
        if points and (start == 0 or _below_a_preamble(head, start, points, unit)):
            grid = Grid(header, points, chain(head[start + 1 :], table.rows))
            if not is_corner(header[0]):
                return replace(grid, unit=points.unit)
            return replace(grid, unit=points.unit or unit_in(header[0]), signal=signal_in(header[0]))
        if turned := _turned(table, head, start, unit):
            return turned
    return Grid(tuple(name.strip() for name in head[0][1]), None, chain(head[1:], table.rows))


def _below_a_preamble(head: Rows, start: int, points: Points, unit: Unit | None) -> bool:
    width = len(head[start][1])
    above = max(len([field for field in fields if field.strip()]) for _, fields in head[:start])
    below = [len(fields) for _, fields in head[start + 1 :]]
    return (
        plausible(points.values, points.unit or unit)
        and len(points.values) > 2 * above
        and (not below or below.count(width) * 2 >= len(below))
    )


def _first_numbers(table: Table, rows: Rows) -> list[float | None]:
    return [point_of(fields[0], decimal_comma=table.decimal_comma) if fields else None for _, fields in rows]


def _monotonic(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _two_columns(table: Table, head: Rows, start: int, unit: Unit | None) -> Grid | None:
    """A spectrum in two columns without a header: the points, then the values."""
    rows = head[start:]
    if len(rows) < _FEWEST or any(len(fields) != 2 for _, fields in rows[:_FEWEST]):
        return None
    if start and _names_samples(head[start - 1][1], table.decimal_comma, only=start == 1):
        return None
    first = _first_numbers(table, rows[:_FEWEST])
    values = [value for value in first if value is not None]
    if len(values) < len(first) or number_of(rows[0][1][1], decimal_comma=table.decimal_comma) is None:
        return None
    if not _monotonic(values) or not plausible(values, unit):
        return None
    return _transposed(table, [(0, ["", ""]), *rows], None, None, one=True)


def _names_samples(above: list[str], decimal_comma: bool, *, only: bool) -> bool:
    """Whether the line above two columns says that they are samples and a laboratory value, or is one of these itself."""
    if len(above) != 2:
        return False
    return (
        only
        or number_of(above[0], decimal_comma=decimal_comma) is not None
        or above[0].strip().lower() in _SAMPLE_NAMES
    )


def _turned(table: Table, head: Rows, start: int, unit: Unit | None) -> Grid | None:
    """A table with one spectrum per column, below the names of the samples."""
    header = [name.strip() for name in head[start][1]]
    if len(header) < 2 or not (header[0] == "" or is_corner(header[0])):
        return None
    said = unit_in(header[0])
    points = [value for value in _first_numbers(table, head[start + 1 :]) if value is not None]
    if len(points) < 3 or not _monotonic(points) or not plausible(points, said or unit):
        return None
    one = len(header) == 2 and (header[1].lower() in _VALUE_NAMES or signal_in(header[1]) is not None)
    return _transposed(table, head[start:], said, signal_in(header[1]) if one else signal_in(header[0]), one=one)


def _transposed(table: Table, head: Rows, unit: Unit | None, signal: str | None, *, one: bool) -> Grid:
    width = len(head[0][1])
    fields_left = _MAX_TURNED
    names: list[str] = []
    lines: list[int] = []
    columns: list[list[str]] = [[] for _ in range(width - 1)]
    for line, fields in chain(head[1:], table.rows):
        if len(fields) != width and (len(fields) < width or any(field.strip() for field in fields[width:])):
            # A short line is the end of a file that was cut off: all spectra would lack their end.
            raise SpectraError(
                f"{table.source}: line {line} has {len(fields)} fields, but there are {width} columns; is the file cut off?"
            )
        fields_left -= width
        if fields_left < 0:
            raise SpectraError(
                f"{table.source} is too large with a spectrum in each column; save a spectrum in each row."
            )
        names.append(fields[0].strip())
        lines.append(line)
        for column, field in zip(columns, fields[1:width], strict=True):
            column.append(field)
    points = points_of(tuple(names), decimal_comma=table.decimal_comma)
    header = ("sample_id", *names)
    rows = iter(
        [(head[0][0] or 1, [name.strip(), *column]) for name, column in zip(head[0][1][1:], columns, strict=True)]
    )
    if points:
        points = Points(tuple(i + 1 for i in points.indices), points.values, points.unit)
    return Grid(header, points, rows, unit, signal, one=one, line_of=[1, *lines])
