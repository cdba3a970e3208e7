"""What a user of `read_spectra` meets: the layout that is read, rows that are left out, files that are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.spectra import Axis, Spectra, load_tecator, read_spectra
from n4a_flows.storage.errors import MissingFileError, N4AError, SpectraError

PLAIN = """\
sample_id,fat,split,850,852,854
a,22.5,train,2.61,2.62,2.63
b,,test,2.83,2.84,2.86
c,8.4,train,2.58,2.59,2.60
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str | bytes, name: str = "meat.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return _write


def test_plain_layout(write) -> None:
    spectra = read_spectra(write(PLAIN), signal="absorbance")

    assert spectra.axis == Axis(np.array([850.0, 852.0, 854.0]), "nm")
    np.testing.assert_array_equal(spectra.X, [[2.61, 2.62, 2.63], [2.83, 2.84, 2.86], [2.58, 2.59, 2.60]])
    assert spectra.X.dtype == np.float64
    assert spectra.sample_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(spectra.targets["fat"], [22.5, np.nan, 8.4])
    assert list(spectra.targets) == ["fat"]
    assert spectra.metadata["split"].tolist() == ["train", "test", "train"]
    assert (spectra.signal, spectra.name, spectra.rejected) == ("absorbance", "meat", [])


def test_numbers_are_read_to_the_last_bit(write) -> None:
    values = load_tecator().X[0]
    header = ",".join(repr(float(v)) for v in load_tecator().axis.values)
    spectra = read_spectra(write(header + "\n" + ",".join(repr(float(v) / 3) for v in values)))
    np.testing.assert_array_equal(spectra.X[0], values / 3)


def test_a_byte_order_mark_windows_line_ends_and_trailing_commas_do_no_harm(write) -> None:
    text = "".join(line + ",\r\n" for line in PLAIN.splitlines()) + "\r\n,,,,,,\r\n"
    spectra = read_spectra(write(b"\xef\xbb\xbf" + text.encode()))
    assert spectra.digest == read_spectra(write(PLAIN)).digest
    assert spectra.rejected == []


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("ID,850,852", ["7", "8"]),  # numbers, but called an id
        (",850,852", ["7", "8"]),  # the row index that R and pandas write
        ("fat,850,852", ["meat_1", "meat_2"]),  # no ids: file and row
    ],
)
def test_where_ids_come_from(write, header: str, ids: list[str]) -> None:
    assert read_spectra(write(f"{header}\n7,1.0,1.1\n8,1.2,1.4\n")).sample_ids == ids


def test_a_leading_text_column_holds_the_ids_when_it_names_each_row(write) -> None:
    assert read_spectra(write("Probe,850,852\nx,1,2\ny,2,3\n")).sample_ids == ["x", "y"]
    repeated = read_spectra(write("country,850,852\nFrance,1,2\nFrance,2,3\n"))
    assert repeated.sample_ids == ["meat_1", "meat_2"]
    assert repeated.metadata["country"].tolist() == ["France", "France"]


def test_a_single_spectrum_without_an_id_is_called_like_its_file(write) -> None:
    assert read_spectra(write("850,852\n1.0,1.1\n", "meat017.csv")).sample_ids == ["meat017"]


def test_the_id_column_can_be_named(write) -> None:
    spectra = read_spectra(write("lab,no,850,852\nx,1,1.0,1.1\nx,2,1.0,1.2\n"), id_column="no")
    assert spectra.sample_ids == ["1", "2"]
    assert spectra.targets == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("bad,1,train,2.6,,2.7", "column '852' has no value"),
        ("bad,1,train,2.6,#N/A,2.7", "column '852' holds '#N/A', which is not a finite number"),
        ("bad,1,train,2.6,inf,2.7", "column '852' holds 'inf', which is not a finite number"),
        ("bad,1,train,2.6,1_0,2.7", "column '852' holds '1_0', which is not a finite number"),
        ("bad,1,train,x,,2.7", "column '850' holds 'x', which is not a finite number (and 1 more columns)"),
        ("bad,1,train,2.6,2.7", "the row has 5 fields, the header 6"),
        ("bad,1,train,2.6,2.7,2.8,2.9", "the row has 7 fields, the header 6"),
        (",1,train,2.6,2.7,2.8", "the sample id is empty"),
        ("bad,1,train,2.6,2.6,2.6", "the spectrum is constant: every value is 2.6"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_its_neighbours_go_on(write, row: str, reason: str) -> None:
    lines = PLAIN.splitlines()
    spectra = read_spectra(write("\n".join([*lines[:2], "", row, *lines[2:]])))

    assert [(r.row, r.line, r.reason) for r in spectra.rejected] == [(2, 4, reason)]
    assert spectra.sample_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(spectra.targets["fat"], [22.5, np.nan, 8.4])


def test_a_truncated_file_loses_its_last_row_and_says_so(write) -> None:
    spectra = read_spectra(write(PLAIN[:-9]))
    assert spectra.sample_ids == ["a", "b"]
    assert [(r.line, r.reason) for r in spectra.rejected] == [(4, "the row has 5 fields, the header 6")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "nothing but blank lines"),
        ("sample_id,fat\na,1\n", "has no axis"),
        ("a,22.5,2.61,2.62,2.60\nb,22.5,2.61,2.62,2.60\n", "has no axis"),
        ("850,1004,852\n1,2,3\n", "has no axis"),
        ("sample_id,fat\n1001,1\n1002,2\n1003,3\n1004,4\n", "has no axis"),  # laboratory values, no spectra
        ("850,852,850\n1,2,3\n", "two columns are called '850'"),
        ("fat,fat,850,852\n1,2,3,4\n", "two columns are called 'fat'"),
        ("sample_id,,850,852\na,9,3,4\n", "column 2 has values but no name"),
        ("4.2,4.1,4.0\n1,2,3\n", "cannot be in nm; say its unit"),
        ("2,850,852\n1,2,3\n", "cannot be in nm"),
        ("sample_id,850,852\n", "has a header but no spectra"),
        ("sample_id,850,852\na,1\n", "has no usable spectrum; line 2: the row has 2 fields, the header 3"),
        ("sample_id,850,852\na,x,1\n", "has no usable spectrum; line 2: column '850' holds 'x'"),
        ("sample_id,850,852\na,1,2\nb,1,2\na,2,3\n", "the sample id 'a' in column 'sample_id' stands on lines 2 and 4"),
        (b"PK\x03\x04\x00\x00\x00\x08", "is not a text file"),
        (b"\xff\xfea\x00b", "is UTF-16 text that is cut off or damaged"),
        ('sample_id,850,852\n"a,1,2\n', "is not comma-separated text"),
    ],
)
def test_a_bad_file_is_refused_with_one_error_that_names_it(write, content: str | bytes, message: str) -> None:
    file = write(content)
    with pytest.raises(SpectraError, match=message) as caught:
        read_spectra(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_file_is_read_or_refused(write) -> None:
    spectra = load_tecator().take([0, 1])
    head = ",".join(["sample_id", *(f"{v:g}" for v in spectra.axis.values[:6])])
    rows = [",".join([i, *map(str, x[:6])]) for i, x in zip(spectra.sample_ids, spectra.X, strict=True)]
    text = "\n".join([head, *rows]) + "\n"
    for end in range(len(text)):
        try:
            part = read_spectra(write(text[:end]))
        except SpectraError:
            continue
        assert part.n_samples + len(part.rejected) == text[:end].rstrip("\n").count("\n")


def test_files_that_cannot_be_opened(tmp_path: Path, write) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.csv does not exist") as missing:
        read_spectra(tmp_path / "nowhere.csv")
    assert isinstance(missing.value, FileNotFoundError)
    assert isinstance(missing.value, N4AError)
    with pytest.raises(SpectraError, match="is a folder"):
        read_spectra(tmp_path)
    locked = write(PLAIN)
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(SpectraError, match="cannot be read: Permission denied"):
        read_spectra(locked)


def test_the_unit_can_be_said(write) -> None:
    file = write("10000,8000,6000\n1,2,3\n")
    assert read_spectra(file, unit="cm-1").axis == Axis(np.array([10000.0, 8000.0, 6000.0]), "cm-1")


def test_targets_asked_for(write) -> None:
    file = write("id,fat,kind,note,850,852\na,1.5,pork,12,1,2\nb,2.5,,n.d.,1,3\n")
    spectra = read_spectra(file)
    assert list(spectra.targets) == ["fat"]
    assert spectra.metadata["note"].tolist() == ["12", "n.d."]

    assert read_spectra(file, target="kind").targets["kind"].tolist() == ["pork", ""]
    with pytest.raises(SpectraError, match="no column 'protein'; it has 'id', 'fat', 'kind', 'note'"):
        read_spectra(file, target=["fat", "protein"])
    with pytest.raises(SpectraError, match=r"'note' holds numbers, but 'n\.d\.' on line 3"):
        read_spectra(file, target="note")


def test_a_target_whose_name_is_a_number_is_read_when_it_is_named(write) -> None:
    spectra = read_spectra(write("id,2,850,852\na,9.5,1,2\n"), target="2")
    assert spectra.targets["2"].tolist() == [9.5]
    assert len(spectra.axis) == 2


def test_an_unknown_signal_is_refused(write) -> None:
    with pytest.raises(SpectraError, match="Unknown signal 'volts': use one of absorbance"):
        read_spectra(write(PLAIN), signal="volts")


def test_quoted_fields_and_line_numbers(write) -> None:
    spectra = read_spectra(write('id,note,850,852\n"a","two\nlines",1,2\nb,x,1\n'))
    assert isinstance(spectra, Spectra)
    assert spectra.metadata["note"].tolist() == ["two\nlines"]
    assert spectra.rejected[0].line == 4
