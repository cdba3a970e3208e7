"""Files of laboratory values: a table with a column of sample ids and a column for each property."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from n4a_flows.spectra.columns import ID_NAMES, MISSING
from n4a_flows.spectra.contained import contained
from n4a_flows.spectra.formats.excel import sheets
from n4a_flows.spectra.header import number_of
from n4a_flows.spectra.raw import Source, text_of
from n4a_flows.spectra.text import parse_text
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, N4AError
from n4a_flows.storage.places import Place, located, read_bytes, size_of

_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class ReferenceFile:
    """The laboratory values in a file.

    Attributes
    ----------
    values
        For each target its values by sample id.
    rejected
        What stands in the file and cannot be used, with the line and the reason.
    """

    values: Mapping[str, Mapping[str, float]]
    rejected: tuple[str, ...]


def read_reference_values(
    path: str | os.PathLike[str] | Place, columns: Mapping[str, str], id_column: str | None = None
) -> ReferenceFile:
    """Read laboratory values from CSV and other delimited text, Excel or Parquet.

    Empty fields, `NA` and `NaN` mean that a sample was not measured. What is no number (`< 0.5`, `n. d.`) is rejected with its
    line, and the other values are read.

    Parameters
    ----------
    path
        The file, or its URL.
    columns
        The column of each target, by target.
    id_column
        The column of the sample ids; without it, the one that is called `sample_id`, `id` or `sample`.

    Raises
    ------
    MissingFileError, PlaceError
        When the file does not exist, or its URL cannot be reached.
    InvalidInputError
        When it has no such columns, or one of them twice, or two values for one sample.
    SpectraError
        When it is damaged, or Excel cannot be read here.

    Examples
    --------
    >>> file = folder / "lab.csv"
    >>> _ = file.write_text("sample_id;Fett %\\na1;12,5\\na2;\\na3;< 0,5\\n")
    >>> found = read_reference_values(file, {"fat": "Fett %"})
    >>> found.values
    {'fat': {'a1': 12.5}}
    >>> found.rejected
    ("line 4: 'Fett %' of sample 'a3' is no number ('< 0,5').",)
    """
    file = located(path)
    if not columns:
        raise InvalidInputError("Say which column of the file holds the laboratory values of which target.")
    names = [*columns.values(), *([] if id_column is None else [id_column])]
    tables = list(_tables(_read(file), names))
    fitting = [table for table in tables if set(names) <= set(table.header)]
    if len(fitting) != 1:
        there = "; ".join(", ".join(map(repr, table.header)) for table in tables) or "nothing"
        lacking = ", ".join(map(repr, names))
        raise InvalidInputError(
            f"{file} has no table with the columns {lacking}: there is {there}."
            if not fitting
            else f"{file} has {len(fitting)} sheets with the columns {lacking}: leave one of them."
        )
    return _values(file, fitting[0], columns, id_column)


@dataclass(frozen=True)
class _Table:
    header: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]
    decimal_comma: bool = False


def _read(file: Path | Place) -> Source:
    try:
        if size_of(file) > _MOST_BYTES:
            raise InvalidInputError(f"{file} is larger than {_MOST_BYTES >> 20} MiB: no file of laboratory values is.")
        return Source(Path(file.name), read_bytes(file), fetched_from=str(file))
    except FileNotFoundError as error:
        raise MissingFileError(f"The file {file} does not exist.") from error
    except N4AError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror or error}.") from error


def _tables(source: Source, names: Sequence[str]) -> Iterator[_Table]:
    """The tables in a file; several only in a workbook."""
    with contained(source, "a table"):
        if source.data.startswith(b"PAR1"):
            frame = pl.read_parquet(io.BytesIO(source.data))
            wanted = [name for name in frame.columns if name in names or name.lower() in ID_NAMES]
            cells = [[text_of(value) for value in frame[name].to_list()] for name in wanted]
            yield _Table(
                wanted if set(names) <= set(wanted) else frame.columns, list(enumerate(zip(*cells, strict=True), 1))
            )
            return
        if source.data.startswith(b"PK\x03\x04"):
            for _, rows in sheets(source, percent=True):
                yield _Table([name.strip() for name in rows[0][1]], rows[1:])
            return
        table = parse_text(source.data, str(source))
        rows = list(table.rows)
        yield _Table([name.strip() for name in rows[0][1]] if rows else [], rows[1:], table.decimal_comma)


def _values(file: Path | Place, table: _Table, columns: Mapping[str, str], id_column: str | None) -> ReferenceFile:
    place = {name: number for number, name in enumerate(table.header)}
    by = id_column
    if by is None:
        known = [name for wanted in ID_NAMES if wanted for name in table.header if name.lower() == wanted]
        if not known:
            raise InvalidInputError(
                f"{file} has no column sample_id, id or sample: say which one holds the sample ids."
            )
        by = known[0]
    twice = [name for name in (by, *columns.values()) if table.header.count(name) > 1]
    if twice:
        raise InvalidInputError(f"{file} has several columns {twice[0]!r}: give each a name of its own, or leave one.")
    values: dict[str, dict[str, float]] = {target: {} for target in columns}
    lines: dict[tuple[str, str], int] = {}
    rejected = []
    for line, fields in table.rows:
        if len(fields) != len(table.header):
            rejected.append(f"line {line}: it has {len(fields)} fields, the header has {len(table.header)}.")
            continue
        sample_id = fields[place[by]].strip()
        for target, column in columns.items():
            text = fields[place[column]].strip()
            if text.lower() in MISSING:
                continue
            number = number_of(text, decimal_comma=table.decimal_comma)
            if not sample_id:
                rejected.append(f"line {line}: {column!r} is {text[:40]!r}, but there is no sample id.")
            elif number is None:
                rejected.append(f"line {line}: {column!r} of sample {sample_id!r} is no number ({text[:40]!r}).")
            elif values[target].setdefault(sample_id, number) != number:
                raise InvalidInputError(
                    f"{file}: sample {sample_id!r} has two values of {column!r}, on lines {lines[target, sample_id]} and {line}: "
                    "leave the one that counts, or their mean."
                )
            else:
                lines.setdefault((target, sample_id), line)
    return ReferenceFile(values, tuple(rejected))
