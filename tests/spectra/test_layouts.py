"""Text tables as labs write them: other delimiters and encodings, names of points, turned round, below a preamble."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import spectra_files as made

from n4a_flows.spectra import Axis, read_spectra
from n4a_flows.storage.errors import SpectraError


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str | bytes, name: str = "meat.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return _write


def turned(corner: str = "wavelength") -> str:
    sound = made.some()
    lines = [",".join([corner, *sound.sample_ids])]
    lines += [
        ",".join([f"{w:g}", *map(repr, map(float, x))]) for w, x in zip(sound.axis.values, sound.X.T, strict=True)
    ]
    return "\n".join(lines) + "\n"


PLAIN = made.csv().decode()


@pytest.mark.parametrize(
    "data",
    [
        made.csv(";", ","),
        made.csv("\t"),
        made.csv("\t", ","),
        made.csv("|"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le").join([b"\xff\xfe", b""]),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", " ").encode(),
        PLAIN.replace("\n", "\r\n").encode("utf-8-sig"),
        "\n".join([re.sub(r",(?=\d)", ",X", PLAIN.splitlines()[0]), *PLAIN.splitlines()[1:]]).encode() + b"\n",
        ("Instrument: NIR 5000\nOperator: x, y\n\n" + PLAIN).encode(),
        ("# made by hand\n" * 30 + PLAIN).encode(),
    ],
    ids=["; 0,5", "tab", "tab 0,5", "bar", "utf16", "utf16-le", "; 0.5", "spaces", "bom", "X", "preamble", "comments"],
)
def test_the_same_spectra_in_other_clothes(write, data: bytes) -> None:
    assert read_spectra(write(data)).digest == read_spectra(write(PLAIN)).digest


@pytest.mark.parametrize(
    ("names", "axis"),
    [
        ("950 nm,960 nm,970 nm", Axis([950, 960, 970], "nm")),
        ("X950.5,X960.5,X970.5", Axis([950.5, 960.5, 970.5], "nm")),
        ("wl_950,wl_960,wl_970", Axis([950, 960, 970], "nm")),
        ("R(950 nm),R(960 nm),R(970 nm)", Axis([950, 960, 970], "nm")),
        ("0.95 µm,0.96 µm,0.97 µm", Axis([0.95, 0.96, 0.97], "um")),
        ("10000cm-1,9990cm-1,9980cm-1", Axis([10000, 9990, 9980], "cm-1")),
        ("10000,9990,9980", Axis([10000, 9990, 9980], "cm-1")),
        ("4000,2000,400", Axis([4000, 2000, 400], "cm-1")),
    ],
)
def test_names_of_points(write, names: str, axis: Axis) -> None:
    spectra = read_spectra(write(f"id,CO2,{names}\na,4,1,2,3\n"))
    assert spectra.axis == axis
    assert list(spectra.targets) == ["CO2"]


def test_umlauts_of_latin_1(write) -> None:
    spectra = read_spectra(write("Prüfling,850,852\nMühle,1,2\nGroß,2,3\n".encode("latin-1")))
    assert spectra.sample_ids == ["Mühle", "Groß"]


@pytest.mark.parametrize("corner", ["wavelength", "Wavelength (nm)", "nm", "", "λ"])
def test_a_spectrum_in_each_column(write, corner: str) -> None:
    spectra = read_spectra(write(turned(corner)))
    np.testing.assert_array_equal(spectra.X, made.some().X)
    assert spectra.sample_ids == made.some().sample_ids
    assert spectra.axis == made.some().axis


def test_laboratory_values_above_the_points_of_a_turned_table(write) -> None:
    text = turned().replace("\n", "\nfat,1,2,3,4,5\n", 1)
    spectra = read_spectra(write(text), target="fat")
    np.testing.assert_array_equal(spectra.targets["fat"], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(spectra.X, made.some().X)


def test_a_bad_spectrum_in_a_column_is_rejected_with_the_line_of_its_value(write) -> None:
    lines = turned().splitlines()
    fields = lines[3].split(",")
    fields[2] = "x"
    lines[3] = ",".join(fields)
    spectra = read_spectra(write("\n".join(lines) + "\n"))
    assert spectra.sample_ids == ["a", "c", "d", "e"]
    assert [(row.row, row.line) for row in spectra.rejected] == [(2, 4)]
    assert "holds 'x'" in spectra.rejected[0].reason


def test_a_turned_table_that_is_cut_off_is_refused(write) -> None:
    with pytest.raises(SpectraError, match="line 50 has 3 fields, but there are 6 columns; is the file cut off"):
        read_spectra(write("\n".join([*turned().splitlines()[:49], "947,0.1,0.2"])))


@pytest.mark.parametrize(
    ("head", "signal", "unit"),
    [
        ("", None, "nm"),
        ("wavelength,absorbance\n", "absorbance", "nm"),
        ("Wavelength (nm),Reflectance (%)\n", "percent_reflectance", "nm"),
        ("made by,hand\n\nwl,log(1/R)\n", "absorbance", "nm"),
    ],
)
def test_two_columns(write, head: str, signal: str | None, unit: str) -> None:
    y = 100.0 if signal and "percent" in signal else 1.0
    text = head + "".join(f"{w},{y * (0.2 + w / 1e4):.6f}\n" for w in range(900, 1700, 10))
    spectra = read_spectra(write(text, "probe7.txt"))
    assert spectra.sample_ids == ["probe7"]
    assert (spectra.n_points, spectra.signal, spectra.axis.unit) == (80, signal, unit)


@pytest.mark.parametrize(
    "head", ["Wavenumber (cm-1),s1,s2", "wavenumber [1/cm],s1,s2", "Wave number,s1,s2", "wn / cm^-1,s1,s2"]
)
@pytest.mark.parametrize("first", [400, 4000])
def test_wavenumbers_are_in_cm(write, head: str, first: int) -> None:
    points = range(first, first + 550, 50)
    text = head + "\n" + "".join(f"{w},{0.2 + w / 1e4:.4f},{0.3 + w / 1e4:.4f}\n" for w in points)
    spectra = read_spectra(write(text))
    assert (spectra.axis.unit, spectra.axis.values.tolist()) == ("cm-1", list(points))
    assert read_spectra(write(text), unit="cm-1").sample_ids == ["s1", "s2"]
    with pytest.raises(SpectraError, match="has its axis in cm-1, as it says itself"):
        read_spectra(write(text), unit="um")


def test_names_of_points_that_are_wavenumbers(write) -> None:
    assert read_spectra(write("id,wavenumber_800,wavenumber_850,wavenumber_900\na,1,2,3\n")).axis.unit == "cm-1"
    assert read_spectra(write("wavelength or spectrum,800,850,900\na,1,2,3\n")).axis.unit == "nm"


@pytest.mark.parametrize("head", ["", "wavelength absorbance\n"])
@pytest.mark.parametrize("first", ["{}", "{},5"])
def test_spaces_between_numbers_with_decimal_commas(write, head: str, first: str) -> None:
    text = head + "".join(f"{first.format(w)}  0,{w}\n" for w in range(850, 950, 10))
    spectra = read_spectra(write(text))
    half = 0.5 if "," in first else 0.0
    assert spectra.axis.values.tolist() == [w + half for w in range(850, 950, 10)]
    assert spectra.X[0].tolist() == [float(f"0.{w}") for w in range(850, 950, 10)]


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_below_an_unknown_name_no_point_is_lost(write, delimiter: str) -> None:
    rows = "".join(f"{800 + 2 * i},5{delimiter}0,{120 + i}\n" for i in range(10))
    with pytest.raises(SpectraError, match="has no axis"):
        read_spectra(write(f"Wellenlaenge{delimiter}Extinktion\n{rows}"))


def test_a_version_in_the_preamble_does_not_decide_on_commas(write) -> None:
    rows = "".join(f"{800 + i},5\t{12000 + i}\n" for i in range(100))
    spectra = read_spectra(write(f"Instrument\tNIR-X\nOperator\tAB\nSoftware\t2.1\n{rows}"))
    assert spectra.X.shape == (1, 100)
    assert spectra.axis.values[0] == 800.5


def test_a_column_without_a_name_says_no_signal(write) -> None:
    text = ",sample_id,850,860\nabsorbance,a,0.1,0.2\nreflectance,b,0.2,0.3\n"
    assert read_spectra(write(text), signal="absorbance").sample_ids == ["a", "b"]


def test_two_columns_of_laboratory_values_are_no_spectrum(write) -> None:
    with pytest.raises(SpectraError, match="has no axis"):
        read_spectra(write("id,fat\n" + "".join(f"{n},{n / 100}\n" for n in range(1000, 1020))))


def test_points_in_no_order_are_sorted_and_said_so(write) -> None:
    spectra = read_spectra(write("id,870,850,860,880\na,3,1,2,4\n"))
    np.testing.assert_array_equal(spectra.X, [[1, 2, 3, 4]])
    assert spectra.notes == ["the points were not in order and have been sorted"]
    with pytest.raises(SpectraError, match="has no axis"):
        read_spectra(write("id,870,850,2051,880\na,3,1,2,4\n"))


def test_a_number_in_the_header_that_is_no_point(write) -> None:
    text = "id,2,4000,4010,4020,4030\na,9.5,1,2,3,4\n"
    with pytest.raises(SpectraError, match="cannot be in cm-1"):
        read_spectra(write(text), unit="cm-1")
    assert read_spectra(write(text), unit="cm-1", target="2").n_points == 4


def test_percent_declared_as_absorbance_is_refused(write) -> None:
    text = "id,850,860,870\na,45.1,46.2,47.3\n"
    with pytest.raises(
        SpectraError, match=r"mostly 46.2, cannot be absorbance; declare the signal that they are \(percent\?\)"
    ):
        read_spectra(write(text), signal="absorbance")
    assert read_spectra(write(text), signal="percent_reflectance").signal == "percent_reflectance"


def test_a_column_that_says_the_signal_of_each_row(write) -> None:
    one = read_spectra(write("id,signal,850,860\na,reflectance,0.5,0.6\nb,reflectance,0.6,0.7\n"))
    assert one.signal == "reflectance"
    file = write("id,signal,850,860\na,reflectance,0.5,0.6\nb,absorbance,0.6,0.7\n")
    both = read_spectra(file)
    assert (both.signal, both.n_samples) == (None, 2)
    assert both.notes == ["the column 'signal' says absorbance and reflectance; nothing is known of all spectra"]
    chosen = read_spectra(file, signal="absorbance")
    assert chosen.sample_ids == ["b"]
    assert [row.reason for row in chosen.rejected] == ["its column 'signal' says 'reflectance', not absorbance"]


@pytest.mark.parametrize("name", ["signal", " Signal"])
@pytest.mark.parametrize("word", ["Reflectance", "raw counts"])
def test_the_column_of_signals_is_believed_however_it_is_written(write, name: str, word: str) -> None:
    file = write(f"id,{name},850,860\na,{word},0.5,0.6\nb,ABSORBANCE ,0.6,0.7\nc,,0.6,0.8\n")
    chosen = read_spectra(file, signal="absorbance")
    assert chosen.sample_ids == ["b", "c"], "who says nothing is what the caller says"
    assert word.lower() in chosen.rejected[0].reason
    assert word.lower() in read_spectra(file).notes[0]
    assert read_spectra(write(f"id,{name},850,860\na,good,0.5,0.6\n"), signal="absorbance").n_samples == 1


def test_a_file_that_ends_in_the_middle_of_its_last_number(write) -> None:
    text = made.csv().decode().rstrip("\n")
    assert read_spectra(write(text)).rejected == []  # a last line without an end is no fault
    cut = read_spectra(write(text[:-5]))
    assert [(row.row, row.reason) for row in cut.rejected] == [
        (5, "the file ends in the middle of a number; write it again")
    ]


def test_mixed_decimal_signs_are_not_guessed(write) -> None:
    spectra = read_spectra(write("id;850;860;870\na;0,1;0,2;0,3\nb;0,1;0.2;0,3\nc;1.234,5;0,2;0,3\n"))
    assert spectra.sample_ids == ["a"]
    assert [row.reason for row in spectra.rejected] == [
        "column '860' holds '0.2', which is not a finite number",
        "column '850' holds '1.234,5', which is not a finite number",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "id\tcounts\t850\t860\na\t999\t1\t2\nb\t1,002\t2\t3\n",
        "id;850;860;870\na;998;999;1,002\n",
        "id;850;860\na;1,001;1,002\nb;999;998\n",
        "850 999\n860 1,002\n870 1,004\n880 1,005\n890 1,007\n",
        "counts;id;850;860\n999;a;1;2\n1,002;b;2;3\n",
        "by;hand;1;x\nid;850;860;870\na;998;999;1,002\n",
    ],
)
def test_thousands_separators_are_not_decimal_commas(write, text: str) -> None:
    with pytest.raises(SpectraError, match=r"\d{3} and 1,00\d: .* write numbers without thousands separators"):
        read_spectra(write(text))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("id;850;860\na;1,002;999\nb;12,5;998\n", [[1.002, 999], [12.5, 998]]),
        ("id;850;860\na;0,123;999\nb;1,002;998\n", [[0.123, 999], [1.002, 998]]),
        ("id;850;860\na;1,002;1,105\nb;2,617;2,618\n", [[1.002, 1.105], [2.617, 2.618]]),
        ("850;45,123\n860;45,310\n870;45,415\n880;45,500\n890;45,617\n", [[45.123, 45.31, 45.415, 45.5, 45.617]]),
        ("id;850;860\n101;1,002;1,105\n102;2,617;2,618\n", [[1.002, 1.105], [2.617, 2.618]]),
        ("id;850;860\na;1,002;2000\nb;2,617;2001\n", [[1.002, 2000], [2.617, 2001]]),
        ("id;batch;850;860\na;101;45,123;46,310\nb;101;44,250;45,111\n", [[45.123, 46.31], [44.25, 45.111]]),
        ("850;99,125\n860;100\n870;99,500\n880;99,125\n890;98,125\n", [[99.125, 100, 99.5, 99.125, 98.125]]),
        ("id;no;fat;850;860\na;123;12,345;1,234;1,300\nb;124;13,345;2,234;2,300\n", [[1.234, 1.3], [2.234, 2.3]]),
        ("id;batch;850,125;860,250\na;101;45,123;46,310\n", [[45.123, 46.31]]),
    ],
)
def test_german_decimals_stay_decimals(write, text: str, values: list[list[float]]) -> None:
    assert read_spectra(write(text)).X.tolist() == values


def test_codes_with_leading_zeros_stay_text(write) -> None:
    text = "id,kind,width,level,850,860\na,01,05.2,-0,1,2\nb,1,012.4,7,2,3\nc,,,,3,4\n"
    spectra = read_spectra(write(text))
    assert spectra.metadata["kind"].tolist() == ["01", "1", ""]
    np.testing.assert_array_equal(spectra.targets["width"], [5.2, 12.4, np.nan])
    assert list(spectra.targets) == ["width", "level"]
    named = read_spectra(write(text.replace(",,,,", ",NA,,,")), target="kind")
    assert named.targets["kind"].tolist() == ["01", "1", ""]
    german = read_spectra(write("id;kind;width;850;860\na;007;05,2;1,5;2\nb;12;12,4;2,5;3\n"))
    assert (german.metadata["kind"].tolist(), german.targets["width"].tolist()) == (["007", "12"], [5.2, 12.4])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SpectraError, match="a folder or a device"):
        read_spectra(tmp_path / "pipe.csv")
