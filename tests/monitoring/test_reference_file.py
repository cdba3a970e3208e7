"""Files of laboratory values, as laboratories write them."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import polars as pl
import pytest

from n4a_flows.monitoring.reference_file import read_reference_values
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, SpectraError

ROWS = [["Probe", "Fett %", "Datum"], ["S1", 12.5, "2026-03-01"], ["S2", None, "2026-03-02"], [103, 0.75, None]]
EXPECTED = {"fat": {"S1": 12.5, "103": 0.75}}
COLUMNS = {"fat": "Fett %"}


def as_text(delimiter: str, comma: bool) -> str:
    cells = [["" if value is None else str(value) for value in row] for row in ROWS]
    if comma:
        cells = [[text.replace(".", ",") if "." in text else text for text in row] for row in cells]
    return "\n".join(delimiter.join(row) for row in cells) + "\n"


@pytest.mark.parametrize(("delimiter", "comma"), [(",", False), (";", True), ("\t", True)])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_delimited_text(tmp_path: Path, delimiter: str, comma: bool, encoding: str) -> None:
    (tmp_path / "lab.csv").write_text(as_text(delimiter, comma), encoding=encoding)
    found = read_reference_values(tmp_path / "lab.csv", COLUMNS, "Probe")
    assert (found.values, found.rejected) == (EXPECTED, ())


def test_percent_of_excel_is_no_number(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["sample_id", "fat"], ["a", 0.125], ["b", 12.5], ["c", 12], ["d", 9.5]):
        sheet.append(row)
    sheet["B2"].number_format = "0.0%"
    sheet["B5"].number_format = '0.0"%"'
    book.save(tmp_path / "lab.xlsx")
    found = read_reference_values(tmp_path / "lab.xlsx", {"fat": "fat"})
    assert found.values == {"fat": {"b": 12.5, "c": 12.0, "d": 9.5}}
    assert found.rejected == ("line 2: 'fat' of sample 'a' is no number ('12.5 %').",)


def test_excel_and_parquet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("notes").append(["nothing of interest"])
    for row in ROWS:
        book.active.append(row)
    book.save(tmp_path / "lab.xlsx")
    frame = pl.DataFrame({"sample_id": ["S1", "S2", "103"], "Fett %": [12.5, None, 0.75]})
    frame.write_parquet(tmp_path / "lab.parquet")
    assert read_reference_values(tmp_path / "lab.xlsx", COLUMNS, "Probe").values == EXPECTED
    assert read_reference_values(tmp_path / "lab.parquet", COLUMNS).values == EXPECTED


def test_a_file_of_spectra_with_laboratory_values_will_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID,850,852,fat,protein\na1,2.1,2.2,12.5,18\na2,2.0,2.3,NA,17.5\n")
    found = read_reference_values(tmp_path / "a.csv", {"fat": "fat", "protein": "protein"})
    assert found.values == {"fat": {"a1": 12.5}, "protein": {"a1": 18.0, "a2": 17.5}}


def test_what_is_no_value_is_rejected_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "lab.csv").write_text("id,fat\na,12.5\nb,<0.5\n,3.5\nc,1.5,9\nd,inf\ne,8\na,12.5\n")
    found = read_reference_values(tmp_path / "lab.csv", {"fat": "fat"})
    assert found.values == {"fat": {"a": 12.5, "e": 8.0}}
    assert found.rejected == (
        "line 3: 'fat' of sample 'b' is no number ('<0.5').",
        "line 4: 'fat' is '3.5', but there is no sample id.",
        "line 5: it has 3 fields, the header has 2.",
        "line 6: 'fat' of sample 'd' is no number ('inf').",
    )


@pytest.mark.parametrize(
    ("text", "columns", "error", "message"),
    [
        ("id,fat\na,1\n", {}, InvalidInputError, "Say which column"),
        ("id,fat\na,1\n", {"fat": "Fett"}, InvalidInputError, "no table with the columns 'Fett': there is 'id', 'fat'"),
        ("Probe,fat\na,1\n", {"fat": "fat"}, InvalidInputError, "no column sample_id, id or sample"),
        ("id,fat\na,1\nb,3\na,2\n", {"fat": "fat"}, InvalidInputError, "'a' has two values of 'fat', on lines 2 and 4"),
        ("id,fat,fat\na,1,2\n", {"fat": "fat"}, InvalidInputError, "several columns 'fat'"),
        ("", {"fat": "fat"}, SpectraError, "is empty"),
        ("PK\x03\x04no workbook", {"fat": "fat"}, SpectraError, "cannot be read as a table"),
        ("PAR1 no table", {"fat": "fat"}, SpectraError, "cannot be read as a table"),
    ],
)
def test_what_is_not_certain_is_refused(
    tmp_path: Path, text: str, columns: dict[str, str], error: type[Exception], message: str
) -> None:
    (tmp_path / "lab.csv").write_text(text)
    with pytest.raises(error, match=message):
        read_reference_values(tmp_path / "lab.csv", columns)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        read_reference_values(tmp_path / "nothing.csv", COLUMNS)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_reference_values(tmp_path, COLUMNS)


def test_ids_with_a_point_beside_values_with_a_comma(tmp_path: Path) -> None:
    (tmp_path / "lab.csv").write_text("sample_id;fat\n1.1;12,5\n1.2;13,5\n")
    found = read_reference_values(tmp_path / "lab.csv", {"fat": "fat"})
    assert (found.values, found.rejected) == ({"fat": {"1.1": 12.5, "1.2": 13.5}}, ())


def test_ids_with_a_space_between_commas(tmp_path: Path) -> None:
    (tmp_path / "lab.csv").write_text("sample_id,falling_number\n24 001,312\n24 002,298\n")
    found = read_reference_values(tmp_path / "lab.csv", {"fn": "falling_number"})
    assert found.values == {"fn": {"24 001": 312.0, "24 002": 298.0}}


def test_long_numbers_are_ids_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sample_id": [1234567890123456.0], "fat": [12.5]})
    frame.write_parquet(tmp_path / "lab.parquet")
    found = read_reference_values(tmp_path / "lab.parquet", {"fat": "fat"})
    assert found.values == {"fat": {"1234567890123456": 12.5}}
