"""Text tables: the bytes of a comma-separated file to a header and rows of text."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from n4a_flows.storage.errors import SpectraError


@dataclass(frozen=True)
class Table:
    """A header and the rows below it, as text.

    Attributes
    ----------
    source
        The file, for messages.
    header
        Names of the columns.
    rows
        Fields of each row that is not blank; a row may have another number of fields than the header.
    lines
        Number of the line each row ends on, from 1.
    """

    source: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]


def parse_csv(data: bytes, source: str) -> Table:
    """Read comma-separated UTF-8 text (a byte order mark is allowed) whose first line is the header.

    Raises
    ------
    SpectraError
        When the bytes are no such text.
    """
    reader = csv.reader(io.StringIO(_text(data, source), newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for fields in reader:
            if any(field and not field.isspace() for field in fields):
                rows.append(fields)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise SpectraError(
            f"{source}: line {reader.line_num} is not comma-separated text ({error}); is the file cut off or damaged?"
        ) from error
    if not rows:
        raise SpectraError(f"{source} holds nothing but blank lines; write the file again.")
    return Table(source, [name.strip() for name in rows[0]], rows[1:], lines[1:])


def _text(data: bytes, source: str) -> str:
    if not data:
        raise SpectraError(f"{source} is empty; write the file again.")
    if b"\0" in data:
        raise SpectraError(f"{source} is not a text file; save the spectra as comma-separated UTF-8 text.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpectraError(
            f"{source} is not UTF-8 text (byte {error.start}); save the spectra as comma-separated UTF-8 text."
        ) from error
