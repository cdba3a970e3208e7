"""Which column of a table is what, and the spectra that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.csv_file import Table
from n4a_flows.spectra.model import RejectedRow, Spectra, first_duplicate
from n4a_flows.storage.axis import Axis, Unit
from n4a_flows.storage.errors import AxisError, SpectraError

ID_NAMES = ("sample_id", "sampleid", "id", "sample", "")
"""Names of a column of sample ids, in lower case; a nameless one is the row index that R and pandas write."""

MISSING = frozenset({"", "na", "nan", "n/a"})
"""What stands for a missing laboratory value, in lower case."""

NM_RANGE = (180.0, 3000.0)
"""An axis outside of these is not in nm: deep ultraviolet to the end of the near infrared (3000 nm by ISO 20473)."""


def spectra_from_table(
    table: Table,
    *,
    name: str,
    targets: Sequence[str] = (),
    unit: Unit | None = None,
    signal: str | None = None,
    id_column: str | None = None,
) -> Spectra:
    """The spectra of a table with one spectrum per row (parameters and errors: see `read_spectra`)."""
    header = _header(table)
    for wanted in (*targets, *([id_column] if id_column is not None else [])):
        if wanted not in header:
            raise SpectraError(f"{table.source} has no column {wanted!r}; it has {_named(header)}.")
    points, axis = _axis(table, header, {*targets, id_column}, unit)
    if not table.rows:
        raise SpectraError(f"{table.source} has a header but no spectra below it.")

    width = len(header)
    numbers = [n for n, fields in enumerate(table.rows, 1) if len(fields) == width]
    rejected = [
        RejectedRow(n, table.lines[n - 1], f"the row has {len(fields)} fields, the header {width}")
        for n, fields in enumerate(table.rows, 1)
        if len(fields) != width
    ]

    others = {h: i for i, h in enumerate(header) if h is not None}
    for point in points:
        del others[table.header[point]]
    columns = {h: [table.rows[n - 1][i].strip() for n in numbers] for h, i in others.items()}
    ids = _sample_ids(table, numbers, columns, header, targets, id_column, name)

    fields_of = _picker(points)
    values: list[list[float]] = []
    kept: list[int] = []
    for position, n in enumerate(numbers):
        outcome = _spectrum(fields_of(table.rows[n - 1]), fields_of(table.header), ids[position])
        if isinstance(outcome, str):
            rejected.append(RejectedRow(n, table.lines[n - 1], outcome))
        else:
            values.append(outcome)
            kept.append(position)
    rejected.sort(key=lambda row: row.row)
    if not values:
        first = rejected[0]
        raise SpectraError(f"{table.source} has no usable spectrum; line {first.line}: {first.reason}.")

    found, metadata = _targets_and_metadata(table, numbers, columns, targets)
    return Spectra(
        X=np.array(values, dtype=np.float64),
        axis=axis,
        sample_ids=[ids[position] for position in kept],
        targets={h: y[kept] for h, y in found.items()},
        metadata={h: v[kept] for h, v in metadata.items()},
        signal=signal,
        name=name,
        rejected=rejected,
    )


def _header(table: Table) -> list[str | None]:
    """The names of the columns; None for a nameless column without any content (a comma at the end of each line)."""
    header: list[str | None] = list(table.header)
    for i, name in enumerate(table.header):
        if not name and i > 0:
            if any(i < len(fields) and fields[i].strip() for fields in table.rows):
                raise SpectraError(f"{table.source}: column {i + 1} has values but no name; name it in the header.")
            header[i] = None
    twice = first_duplicate([name for name in header if name is not None])
    if twice is not None:
        raise SpectraError(f"{table.source}: two columns are called {twice!r}; rename one of them.")
    return header


def _axis(
    table: Table, header: Sequence[str | None], named: set[str | None], unit: Unit | None
) -> tuple[list[int], Axis]:
    """Indices of the columns that are points, and the axis their names make."""
    points = [i for i, name in enumerate(header) if name and name not in named and _floats([name]) is not None]
    values = [float(table.header[i]) for i in points]
    if len(points) < 2:
        raise SpectraError(
            f"{table.source} has no axis: the first line must name the wavelength of each point (850, 852, ...)."
        )
    try:
        axis = Axis(np.array(values), unit or "nm")
    except AxisError as error:
        raise SpectraError(f"{table.source} has no axis in its first line: {error}") from error
    if unit is None and not NM_RANGE[0] <= min(values) <= max(values) <= NM_RANGE[1]:
        raise SpectraError(
            f"{table.source}: an axis from {values[0]:g} to {values[-1]:g} cannot be in nm; "
            "say its unit (unit='cm-1' or unit='um'), or name the targets if a number in the header is one."
        )
    return points, axis


def _picker(points: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """What takes the fields of a spectrum out of a row."""
    if points[-1] - points[0] == len(points) - 1:
        whole = slice(points[0], points[-1] + 1)
        return lambda fields: fields[whole]
    return itemgetter(*points)


def _floats(fields: Sequence[str]) -> list[float] | None:
    """The fields as finite numbers, None when one is not."""
    try:
        values = list(map(float, fields))
    except ValueError:
        return None
    # float() also takes 1_000, which nobody writes into a spectrum.
    if not all(map(math.isfinite, values)) or "_" in "".join(fields):
        return None
    return values


def _spectrum(fields: Sequence[str], names: Sequence[str], sample_id: str) -> list[float] | str:
    """The values of a row, or what is wrong with it."""
    spectrum = _floats(fields)
    if spectrum is None:
        bad = [(name, field.strip()) for name, field in zip(names, fields, strict=True) if _floats([field]) is None]
        name, text = bad[0]
        what = "has no value" if text.lower() in MISSING else f"holds {text[:40]!r}, which is not a finite number"
        return f"column {name!r} {what}" + (f" (and {len(bad) - 1} more columns)" if len(bad) > 1 else "")
    if not sample_id:
        return "the sample id is empty"
    if min(spectrum) == max(spectrum):
        return f"the spectrum is constant: every value is {fields[0].strip()}"
    return spectrum


def _sample_ids(
    table: Table,
    numbers: Sequence[int],
    columns: dict[str, list[str]],
    header: Sequence[str | None],
    targets: Sequence[str],
    id_column: str | None,
    name: str,
) -> list[str]:
    """An id for each whole row; the column it comes from is taken out of `columns`."""
    column = id_column
    if column is None:
        known = [h for wanted in ID_NAMES for h in columns if h.lower() == wanted and h not in targets]
        column = known[0] if known else _leading_text(columns, header[0], targets)
    if column is None:
        if len(table.rows) == 1:
            return [name] * len(numbers)
        return [f"{name}_{n}" for n in numbers]
    ids = columns.pop(column)
    twice = first_duplicate([sample_id for sample_id in ids if sample_id])
    if twice is not None:
        lines = " and ".join(str(table.lines[n - 1]) for n, i in zip(numbers, ids, strict=True) if i == twice)
        raise SpectraError(
            f"{table.source}: the sample id {twice!r} in column {column!r} stands on lines {lines}; "
            "give each row its own id."
        )
    return ids


def _leading_text(columns: dict[str, list[str]], first: str | None, targets: Sequence[str]) -> str | None:
    """The first column, when it is text that names each row."""
    if first is None or first not in columns or first in targets:
        return None
    values = columns[first]
    named = all(values) and len(set(values)) == len(values)
    return first if named and not any(_floats([v]) is not None for v in values) else None


def _targets_and_metadata(
    table: Table, numbers: Sequence[int], columns: dict[str, list[str]], wanted: Sequence[str]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    targets: dict[str, npt.NDArray[Any]] = {}
    metadata: dict[str, npt.NDArray[Any]] = {}
    for name, texts in columns.items():
        present = [position for position, text in enumerate(texts) if text.lower() not in MISSING]
        bad = next((position for position in present if _floats([texts[position]]) is None), None)
        if present and bad is None:
            values = np.full(len(texts), np.nan)
            values[present] = [float(texts[position]) for position in present]
            targets[name] = values
        elif name not in wanted:
            metadata[name] = np.array(texts, dtype=np.str_)
        elif not present:
            raise SpectraError(f"{table.source}: the target {name!r} has no value at all.")
        elif bad is not None and any(_floats([texts[position]]) is not None for position in present):
            raise SpectraError(
                f"{table.source}: the target {name!r} holds numbers, but {texts[bad][:40]!r} on line "
                f"{table.lines[numbers[bad] - 1]}; leave a missing value empty."
            )
        else:
            targets[name] = np.array([text if text.lower() not in MISSING else "" for text in texts], dtype=np.str_)
    return targets, metadata


def _named(header: Sequence[str | None]) -> str:
    """The columns that are not points, for a message."""
    names = [repr(name) for name in header if name and _floats([name]) is None]
    return ", ".join(names) if names else "no columns besides the wavelengths"
