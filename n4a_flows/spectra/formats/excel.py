"""Excel workbooks (.xlsx), through openpyxl: the sheet that holds spectra, laid out as text tables are."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from n4a_flows.spectra.contained import library
from n4a_flows.spectra.layout import spectra_from_table
from n4a_flows.spectra.raw import RawSpectra, Source, text_of
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.text import Table
from n4a_flows.storage.errors import SpectraError

_SHEET = 160 * 2**20
_TEXTS = 24 * 2**20
_OTHER = 8 * 2**20
_MAX_CELLS = 3_000_000
_MAX_ROWS = 1_048_576
_LITERAL = re.compile(r'"[^"]*"|[\\_*].')
"""What of a number format is shown as it is: a % there multiplies nothing."""


def read(source: Source) -> RawSpectra:
    """The spectra of the one sheet that holds some.

    Raises
    ------
    SpectraError
        When no sheet holds spectra, or more than one does.
    """
    found: dict[str, RawSpectra] = {}
    refused: list[SpectraError] = []
    for title, rows in sheets(source):
        try:
            found[title] = spectra_from_table(Table(str(source), iter(rows)), source)
        except SpectraError as error:
            refused.append(error)
    if len(found) > 1:
        names = ", ".join(repr(title) for title in found)
        raise SpectraError(
            f"{source} holds spectra in the sheets {names}; save the one that is meant as a file of its own."
        )
    if found:
        return next(iter(found.values()))
    raise refused[0] if refused else SpectraError(f"{source} holds nothing but empty sheets.")


def sheets(source: Source, *, percent: bool = False) -> Iterator[tuple[str, list[tuple[int, list[str]]]]]:
    """The sheets that are not empty, by name: the line of each row and its fields, as many in each row.

    Parameters
    ----------
    percent
        Whether 0.125 that is shown as 12.5% comes as the text "12.5 %": to whoever reads it on it is neither number.

    Raises
    ------
    SpectraError
        When openpyxl is not installed, or the workbook holds more than is read.
    """
    openpyxl = library("openpyxl", "excel", "openpyxl", source)
    _check_sizes(source)
    book = openpyxl.load_workbook(io.BytesIO(source.data), read_only=True, data_only=True, keep_links=False)
    cells = 0
    for sheet in book.worksheets:
        rows = list(_rows(sheet, source, _MAX_CELLS - cells, percent))
        width = max((len(fields) for _, fields in rows), default=0)
        cells += len(rows) * width
        if cells > _MAX_CELLS:
            raise SpectraError(f"{source} holds more than {_MAX_CELLS} cells; save it as comma-separated text.")
        if rows:
            yield sheet.title, [(line, fields + [""] * (width - len(fields))) for line, fields in rows]


def _check_sizes(source: Source) -> None:
    """Refuse what unpacks to more than fits, before it is unpacked; reading stops at the sizes that are declared."""
    with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
        for member in archive.infolist():
            name = member.filename.lower()
            limit = _SHEET if "worksheets/" in name else _TEXTS if "sharedstrings" in name else _OTHER
            if member.file_size > limit:
                raise SpectraError(
                    f"{source}: {member.filename} unpacks to {member.file_size >> 20} MiB; save it as comma-separated text."
                )


def _rows(sheet: Any, source: Source, cells: int, percent: bool) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what is declared may be anything
    for line, row in enumerate(sheet.iter_rows(values_only=not percent), 1):
        if line > _MAX_ROWS:
            raise SpectraError(f"{source}: a sheet has more rows than Excel allows; the file is damaged.")
        fields = [_shown(cell) if percent else text_of(cell) for cell in row]
        while fields and not fields[-1].strip():
            fields.pop()
        cells -= len(fields)
        if cells < 0:
            raise SpectraError(f"{source} holds more than {_MAX_CELLS} cells; save it as comma-separated text.")
        if fields:
            yield line, fields


def _shown(cell: Any) -> str:
    value = cell.value
    if type(value) in (int, float) and "%" in _LITERAL.sub("", cell.number_format):
        return f"{100 * value:.10g} %"
    return text_of(value)


def _recognises(head: bytes, name: str) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    inside = any(part in head for part in (b"[Content_Types].xml", b"docProps/", b"xl/"))
    return inside or name.lower().endswith((".xlsx", ".xlsm"))


READER = Reader(
    "excel",
    "3",
    read,
    recognises=_recognises,
    suffixes=frozenset({".xlsx", ".xlsm"}),
    max_bytes=32 * 2**20,
    needs="openpyxl",
)
