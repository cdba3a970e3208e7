"""Which column of a table is what, and the spectra that stand in its rows."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.guards import MAX_CHARACTERS, MAX_VALUES, more_columns
from n4a_flows.spectra.header import number_of
from n4a_flows.spectra.model import RejectedRow, first_duplicate
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.text import Table
from n4a_flows.storage.errors import SpectraError

if TYPE_CHECKING:
    from n4a_flows.spectra.layout import Grid

ID_NAMES = ("sample_id", "sampleid", "id", "sample", "")
"""Names of a column of sample ids, in lower case; a nameless one is the row index that R and pandas write."""

MISSING = frozenset({"", "na", "nan", "n/a"})
"""What stands for a missing laboratory value, in lower case."""

EXACT = 2**53
"""From here on not every whole number is a float64: two codes may have become one."""

_WHOLE = re.compile(r"[+-]?\d+")
_CODE = re.compile(r"[+-]?0\d+")

_MAX_TEXTS = 2_000_000
"""Fields that are no points, all of which are held as text."""

_MAX_ROWS = 500_000

_LONG_ENOUGH = 20
"""Points of a row among which one that is shorter than all others stands out."""


def spectra_in_rows(grid: Grid, table: Table, source: Source) -> RawSpectra:
    """The spectra of a table with one spectrum per row."""
    reader = _RowReader(grid, table, source)
    for line, fields in grid.rows:
        reader.add(line, fields)
    return reader.finished()


def spectra_in_columns(
    grid: Grid, X: npt.NDArray[np.float64], columns: dict[str, list[str]], table: Table, source: Source
) -> RawSpectra:
    """The spectra of a table whose numbers have been read already: the points as a matrix, other columns as text."""
    reader = _RowReader(grid, table, source)
    reader.take(X, columns)
    return reader.finished()


@dataclass(frozen=True)
class _Plan:
    """Where in a row what stands."""

    others: dict[str, int]
    nameless: list[int]
    twice: str | None
    width: int
    indices: tuple[int, ...]
    fields_of: Callable[[Sequence[str]], Sequence[str]]
    names: Sequence[str]


# The files of an instrument have one header, and there are many of them.
@lru_cache(maxsize=8)
def _plan(header: tuple[str, ...], points: tuple[int, ...]) -> _Plan:
    chosen = set(points)
    fields_of = _picker(points)
    return _Plan(
        others={name: i for i, name in enumerate(header) if i not in chosen and (name or i == 0)},
        nameless=[i for i, name in enumerate(header) if not name and i > 0],
        twice=first_duplicate([name for i, name in enumerate(header) if name or i == 0]),
        width=len(points),
        indices=points,
        fields_of=fields_of,
        names=fields_of(header),
    )


class _RowReader:
    """Takes the rows of a table one by one: points as numbers, other columns as text."""

    def __init__(self, grid: Grid, table: Table, source: Source) -> None:
        self.grid, self.table, self.source = grid, table, source
        self.header = grid.header
        wanted_columns = [*source.targets, *([source.id_column] if source.id_column is not None else [])]
        self.plan = plan = _plan(grid.header, grid.points.indices if grid.points else ())
        for wanted in wanted_columns:
            if wanted not in self.header:
                raise SpectraError(f"{source} has no column {wanted!r}; it has {_named(plan.others)}.")
        if plan.twice is not None:
            raise SpectraError(f"{source}: two columns are called {plan.twice!r}; rename one of them.")
        if plan.width < 2:
            raise SpectraError(
                f"{source} has no axis: the first line must name the wavelength of each point (850, 852, ...)."
            )
        self.floats = _parser(table)
        self.values = array("d")
        self.blank = array("d", [math.nan]) * plan.width
        self.columns: dict[str, list[str]] = {name: [] for name in plan.others}
        self.rows: list[int] = []
        self.lines: list[int] = []
        self.faults: dict[int, str] = {}
        self.rejected: list[RejectedRow] = []
        self.count = 0
        self.last: Sequence[str] = ()

    def add(self, line: int, fields: list[str]) -> None:
        self.count += 1
        if self.count > _MAX_ROWS or len(self.values) > MAX_VALUES or self.count * len(self.plan.others) > _MAX_TEXTS:
            raise SpectraError(f"{self.source} holds more rows and columns than are read at once; split the file.")
        if len(fields) != len(self.header):
            reason = f"the row has {len(fields)} fields, the header {len(self.header)}"
            self.rejected.append(RejectedRow(self.count, line, reason))
            self.last = ()
            return
        self.last = fields
        for i in self.plan.nameless:
            if fields[i].strip():
                raise SpectraError(f"{self.source}: column {i + 1} has values but no name; name it in the header.")
        try:
            self.values.extend(self.floats(self.plan.fields_of(fields)))
        except ValueError:
            # What was good before the bad field goes too.
            del self.values[len(self.rows) * len(self.blank) :]
            self.values.extend(self.blank)
            self.faults[len(self.rows)], line = self._fault(fields, line)
        for name, i in self.plan.others.items():
            self.columns[name].append(fields[i].strip())
        self.rows.append(self.count)
        self.lines.append(line)

    def take(self, X: npt.NDArray[np.float64], columns: dict[str, list[str]]) -> None:
        """All rows at once."""
        self.count = len(X)
        self.rows = list(range(1, self.count + 1))
        self.lines = self.rows
        self.columns = columns
        self.values.frombytes(np.ascontiguousarray(X, dtype=np.float64).tobytes())

    def _fault(self, fields: list[str], line: int) -> tuple[str, int]:
        """What is wrong with a row, and the line it is wrong on."""
        comma = self.table.decimal_comma
        picked = self.plan.fields_of(fields)
        bad = [i for i, field in enumerate(picked) if number_of(field, decimal_comma=comma) is None]
        text = picked[bad[0]].strip()
        what = "has no value" if text.lower() in MISSING else f"holds {text[:40]!r}, which is not a finite number"
        if self.grid.line_of is not None and self.grid.points:
            line = self.grid.line_of[self.grid.points.indices[bad[0]]]
        return f"column {self.plan.names[bad[0]]!r} {what}{more_columns(len(bad))}", line

    def finished(self) -> RawSpectra:
        grid, source = self.grid, self.source
        if self.table.open_end and self._is_cut():
            self.faults[len(self.rows) - 1] = "the file ends in the middle of a number; write it again"
        if not self.count:
            raise SpectraError(f"{source} has a header but no spectra below it.")
        if grid.points is None:
            raise SpectraError(f"{source} has no axis.")
        ids = None if grid.one else self._sample_ids()
        if grid.one:
            self.columns.pop("sample_id")
        targets, metadata = self._targets_and_metadata()
        return RawSpectra(
            X=np.frombuffer(self.values, dtype=np.float64).reshape(len(self.rows), len(grid.points.indices)),
            axis=grid.points.values,
            unit=grid.unit or grid.points.unit,
            signal=grid.signal,
            total=self.count,
            sample_ids=ids,
            targets=targets,
            metadata=metadata,
            rows=self.rows,
            lines=self.lines,
            faults=self.faults,
            rejected=self.rejected,
            points=self.plan.names,
        )

    def _is_cut(self) -> bool:
        """Whether the last number of the file is shorter than any other of its row, and probably not all there."""
        if not self.last or self.plan.indices[-1] != len(self.header) - 1 or self.plan.width < _LONG_ENOUGH:
            return False
        *others, last = (len(field.strip()) for field in self.plan.fields_of(self.last))
        return last < min(others)

    def _sample_ids(self) -> list[str] | None:
        """An id for each whole row; the column it comes from is no other column any more."""
        column, columns = self.source.id_column, self.columns
        if column is None:
            known = [h for wanted in ID_NAMES for h in columns if h.lower() == wanted and h not in self.source.targets]
            column = known[0] if known else self._leading_text()
        if column is None:
            return None
        ids = columns.pop(column)
        twice = first_duplicate([sample_id for sample_id in ids if sample_id])
        if twice is not None:
            lines = " and ".join(str(line) for line, i in zip(self.lines, ids, strict=True) if i == twice)
            raise SpectraError(
                f"{self.source}: the sample id {twice!r} in column {column!r} stands on lines {lines}; give each row its own id."
            )
        return ids

    def _leading_text(self) -> str | None:
        """The first column, when it is text that names each row."""
        first = self.header[0]
        if first not in self.columns or first in self.source.targets:
            return None
        values = self.columns[first]
        named = all(values) and len(set(values)) == len(values)
        return first if named and not any(self._number(value) is not None for value in values) else None

    def _number(self, text: str) -> float | None:
        return number_of(text, decimal_comma=self.table.decimal_comma)

    def _targets_and_metadata(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
        targets: dict[str, npt.NDArray[Any]] = {}
        metadata: dict[str, npt.NDArray[Any]] = {}
        characters = sum(len(texts) * max(map(len, texts), default=0) for texts in self.columns.values())
        if characters > MAX_CHARACTERS:
            raise SpectraError(f"{self.source} holds columns of very long texts; leave them out.")
        for name, texts in self.columns.items():
            numbers = [self._number(text) for text in texts]
            present = [i for i, text in enumerate(texts) if text.lower() not in MISSING]
            bad = next((i for i in present if numbers[i] is None), None)
            if present and bad is None and not are_codes(texts):
                targets[name] = np.array([np.nan if number is None else number for number in numbers])
            elif name not in self.source.targets:
                metadata[name] = np.array(texts, dtype=np.str_)
            elif not present:
                raise SpectraError(f"{self.source}: the target {name!r} has no value at all.")
            elif bad is not None and any(numbers[i] is not None for i in present):
                raise SpectraError(
                    f"{self.source}: the target {name!r} holds numbers, but {texts[bad][:40]!r} on line {self.lines[bad]}; "
                    "leave a missing value empty."
                )
            else:
                targets[name] = np.array([text if text.lower() not in MISSING else "" for text in texts], dtype=np.str_)
        return targets, metadata


def are_codes(texts: Sequence[str]) -> bool:
    """Whether whole numbers are codes: some are written with zeros in front (`01`, `007`), which would be lost."""
    found = [text for text in texts if text.lower() not in MISSING]
    return any(map(_CODE.fullmatch, found)) and all(map(_WHOLE.fullmatch, found))


def whole_texts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.str_] | None:
    """Whole numbers as text, `""` where there is none; None when one is not whole, or too large to be exact."""
    known = np.isfinite(values)
    if np.any(values[known] != np.round(values[known])) or np.any(np.abs(values[known]) >= EXACT):
        return None
    # Adding 0 makes 0 of -0.
    return np.array(
        [f"{value + 0.0:.0f}" if ok else "" for value, ok in zip(values, known, strict=True)], dtype=np.str_
    )


def _picker(points: Sequence[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    """What takes the fields of a spectrum out of a row."""
    if not points or points[-1] - points[0] == len(points) - 1:
        whole = slice(points[0], points[-1] + 1) if points else slice(0, 0)
        return lambda fields: fields[whole]
    return itemgetter(*points)


def _parser(table: Table) -> Callable[[Sequence[str]], Sequence[float]]:
    """What makes numbers of fields, and raises ValueError when one is none; only the signs of the table are numbers."""

    def careful(fields: Sequence[str]) -> Sequence[float]:
        values = [number_of(field, decimal_comma=table.decimal_comma) for field in fields]
        if any(value is None for value in values):
            raise ValueError
        return values  # type: ignore[return-value]

    if table.decimal_comma or table.underscores:

        def quick(fields: Sequence[str]) -> Sequence[float]:
            joined = "\x1f".join(fields)
            if "_" in joined or (table.decimal_comma and "." in joined):
                return careful(fields)
            return list(map(float, joined.replace(",", ".").split("\x1f") if table.decimal_comma else fields))

        return quick
    return lambda fields: list(map(float, fields))


def _named(others: Mapping[str, int]) -> str:
    """The columns that are not points, for a message."""
    names = [repr(name) for name in others if name]
    return ", ".join(names) if names else "no columns besides the wavelengths"
