"""Text tables: the bytes of a file to rows of fields, whatever its encoding, delimiter and decimal sign."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from n4a_flows.storage.errors import SpectraError

_SAMPLE = 1 << 16
_LONGEST = 8 * 2**20
_CONTROL = bytes({*range(32), 127} - {*b"\t\n\v\f\r\x1b"})
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_POINT = re.compile(r"\d+(?:[.,]\d+)?")
_HUNDREDS = re.compile(r"[+-]?[1-9]\d\d")
_POINT_NUMBER = re.compile(r"\s*[+-]?\d*\.\d+(?:[eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes
    ----------
    source
        The file, for messages.
    rows
        The line each row ends on, from 1, and its fields; rows of nothing are left out, and fields may be more or fewer.
    decimal_comma
        Whether numbers are written 0,5.
    underscores
        Whether a field may hold an underscore, which `float` takes for nothing.
    open_end
        Whether the last line has no end: the file may have been cut off in the middle of its last number.
    """

    source: str
    rows: Iterator[tuple[int, list[str]]]
    decimal_comma: bool = False
    underscores: bool = True
    open_end: bool = False


def parse_text(data: bytes, source: str) -> Table:
    """The rows of a text file: comma, semicolon, tab or spaces between fields; UTF-8, UTF-16 or Latin-1.

    Raises
    ------
    SpectraError
        When the bytes are no text, or its commas may stand between thousands as well as before decimals. Rows are read as they are
        asked for, and one that is no row of a table raises then.
    """
    encoding = _encoding(data, source)
    stream: io.TextIOBase
    if len(data) <= _SAMPLE:
        sample = data.decode(encoding)
        stream = io.StringIO(sample, newline="")
    else:
        # The decoder streams: a text of 4 bytes per character would not fit beside its bytes.
        with io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="") as begin:
            sample = begin.read(_SAMPLE)
        stream = io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
    whole = len(data) <= _SAMPLE
    delimiter, comma = _dialect(sample, whole=whole)
    if comma and (doubtful := _doubtful(_lines(sample, whole=whole), delimiter)):
        raise SpectraError(
            f"{source} holds numbers such as {' and '.join(doubtful)}: the comma may stand between thousands or before decimals; "
            "write numbers without thousands separators, and decimals with a point."
        )
    return Table(
        source,
        _rows(stream, delimiter, source),
        comma,
        b"_" in data,
        open_end=not data[-4:].rstrip(b"\0").endswith((b"\n", b"\r")),
    )


def is_text(head: bytes) -> bool:
    """Whether a file that begins like this can be text."""
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (bool(head) and not _has_control(head))


def _has_control(data: bytes) -> bool:
    return len(data.translate(None, _CONTROL)) != len(data)


def _encoding(data: bytes, source: str) -> str:
    if not data:
        raise SpectraError(f"{source} is empty; write the file again.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise SpectraError(f"{source} is UTF-16 text that is cut off or damaged (byte {error.start}).") from error
        return "utf-16"
    if _has_control(data):
        raise SpectraError(f"{source} is not a text file, and no other format that is known; see docs/spectra.md.")
    if data.isascii():
        return "utf-8"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252" if not re.search(rb"[\x81\x8d\x8f\x90\x9d]", data) else "latin-1"
    return "utf-8-sig"


def _lines(sample: str, *, whole: bool) -> list[str]:
    lines = [line for line in sample.splitlines() if line.strip()]
    return lines if whole or len(lines) < 2 else lines[:-1]


def _dialect(sample: str, *, whole: bool) -> tuple[str, bool]:
    """The delimiter, and whether numbers have a decimal comma."""
    others = any(sign in sample for sign in ";\t|")
    if not others and "," not in sample:
        return " ", False
    if not others and " " not in sample:
        return ",", False  # as most files are: their lines need not be looked at
    lines = _lines(sample, whole=whole)[:200]
    if not others:
        return (" ", True) if _spaced(lines) else (",", False)
    delimiter = max("\t;|,", key=lambda sign: _evenness(lines, sign))
    if delimiter == ",":
        return delimiter, False
    # The first column may hold ids such as 1.10, which are no numbers: what the others say in earnest goes first.
    ids = values = 0
    for line in lines:
        first, *rest = line.split(delimiter)
        ids += _comma_or_point(first)
        values += sum(map(_comma_or_point, rest))
    return delimiter, (values if 10 * abs(values) >= abs(ids) else ids) > 0


def _comma_or_point(field: str) -> int:
    return 1 if _COMMA_NUMBER.fullmatch(field) else -1 if _POINT_NUMBER.fullmatch(field) else 0


def _doubtful(lines: list[str], delimiter: str) -> tuple[str, str] | None:
    """A number without and one with a comma that make a column of thousands rather than one of decimals; None when it is clear.

    In such a column, and in the points of spectra together, every comma stands before three digits and behind one to three that
    begin with no 0, and what has no comma is nearer to the numbers with one when that stands between thousands.
    """
    rows = [[field.strip() for field in line.split(None if delimiter == " " else delimiter)] for line in lines]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    heads, *body = (row for row in rows if len(row) == width)
    columns = list(zip(*body, strict=True))
    named = list(zip(heads, columns, strict=False))
    points = [field for head, column in named[1:] if _POINT.fullmatch(head) for field in column]
    if any(map(_COMMA_NUMBER.fullmatch, heads)) or (width == 2 and all(map(str.isdigit, heads))):
        columns = list(zip(heads, *body, strict=True))  # there are no names
    for group in [*columns, points]:
        commas = list(filter(_COMMA_NUMBER.fullmatch, group))
        hundreds = list(filter(_HUNDREDS.fullmatch, group))
        if not commas or not hundreds or not all(map(_THOUSANDS.fullmatch, commas)):
            continue
        decimal = median(abs(float(text.replace(",", "."))) for text in commas)
        if median(abs(float(text)) for text in hundreds) > 1000**0.5 * decimal:
            return hundreds[0], commas[0]
    return None


def _spaced(lines: list[str]) -> bool:
    """Whether these are numbers with decimal commas between spaces; a first line may be names."""
    numbers = [
        len(row := line.split()) > 1 and all(_COMMA_NUMBER.fullmatch(field) or field.isdigit() for field in row)
        for line in lines
    ]
    return all(numbers[1:] or numbers) and (numbers[0] or "," not in lines[0])


def _evenness(lines: list[str], delimiter: str) -> tuple[int, int]:
    """How many lines have the most usual number (above 1) of fields, and that number."""
    widths = Counter(line.count(delimiter) + 1 for line in lines)
    widths.pop(1, None)
    if not widths:
        return 0, 0
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    return count, width


def _rows(stream: io.TextIOBase, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    if delimiter == " ":
        for number, line in enumerate(_bounded(stream, source), 1):
            if fields := line.split():
                yield number, fields
        return
    reader = csv.reader(_bounded(stream, source), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if any(field and not field.isspace() for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        sign = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[delimiter]
        raise SpectraError(
            f"{source}: line {reader.line_num} is not {sign}-separated text ({error}); is the file cut off or damaged?"
        ) from error


def _bounded(stream: io.TextIOBase, source: str) -> Iterator[str]:
    """The lines, as long as they are lines."""
    if isinstance(stream, io.StringIO):
        yield from stream
        return
    for line in stream:
        if len(line) > _LONGEST:
            raise SpectraError(f"{source} has a line of {len(line) >> 20} million characters; is it damaged?")
        yield line
