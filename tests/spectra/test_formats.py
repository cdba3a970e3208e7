"""Each format as a user meets it: what is read from sound files, and what is refused with which sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spectra_files as made

from n4a_flows.spectra import read_spectra
from n4a_flows.spectra.formats import asd
from n4a_flows.spectra.raw import Source
from n4a_flows.storage.errors import FileChangedError, SpectraError

FLOAT32 = 1e-6


@pytest.fixture
def write(tmp_path: Path):
    def _write(data: str | bytes, name: str) -> Path:
        file = tmp_path / name
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file

    return _write


@pytest.mark.parametrize(
    ("name", "reader"),
    [("book.xlsx", "excel"), ("table.parquet", "parquet"), ("arrays.npz", "npz"), ("tab.tsv", "csv")],
)
def test_tables_of_every_kind_give_the_same(write, name: str, reader: str) -> None:
    spectra = read_spectra(write(made.MADE[name](), name), target="fat")
    sound = made.some()
    np.testing.assert_array_equal(spectra.X, sound.X)
    assert spectra.axis == sound.axis
    assert spectra.sample_ids == sound.sample_ids
    np.testing.assert_array_equal(spectra.targets["fat"], sound.targets["fat"])
    assert spectra.reader == reader
    assert spectra.reader_version
    assert spectra.name == name.split(".")[0]


def test_the_version_of_the_reader_is_not_part_of_the_digest(write) -> None:
    csv, book = read_spectra(write(made.csv(), "a.csv")), read_spectra(write(made.xlsx(), "b.xlsx"))
    assert csv.reader != book.reader
    assert csv.digest == book.digest


@pytest.mark.parametrize("name", ["table.dpt", "text.jdx", "bruker.0", "several.spc"])
def test_instruments_that_count_in_wavenumbers(write, name: str) -> None:
    spectra = read_spectra(write(made.MADE[name](), name))
    np.testing.assert_allclose(spectra.X[0], made.absorbance(), atol=FLOAT32)
    np.testing.assert_allclose(spectra.axis.values, made.CM)
    assert spectra.axis.unit == "cm-1"
    assert spectra.signal == (None if name.endswith("dpt") else "absorbance")
    stem = name.split(".")[0]
    assert spectra.sample_ids == ([f"{stem}_1", f"{stem}_2"] if name == "several.spc" else [stem])


def test_asd_is_the_spectrum_over_its_reference(write) -> None:
    spectra = read_spectra(write(made.asd(), "field.asd"))
    np.testing.assert_allclose(spectra.X[0], (1000 + 500 * np.sin(np.arange(101) / 20)) / 2000)
    assert (spectra.axis.values[0], spectra.axis.values[-1], spectra.axis.unit) == (350.0, 450.0, "nm")
    assert spectra.signal == "reflectance"


def test_asd_that_changes_while_its_library_reads_it_is_no_spectrum(write) -> None:
    before = Source(write(made.asd(), "field.asd"), made.asd())
    assert asd.read(before).total == 1
    write(made.asd(reference=np.full(101, 1999.0)), "field.asd")
    with pytest.raises(FileChangedError, match="changed while it was read"):
        asd.read(before)


@pytest.mark.parametrize("name", sorted(made.MADE))
def test_the_content_says_the_format_whatever_the_name(write, name: str) -> None:
    data = made.MADE[name]()
    if name.endswith(".dpt"):
        pytest.skip("a table of two columns is text under any name")
    assert (
        read_spectra(write(data, "other.dat")).digest
        == read_spectra(write(data, "other" + name[name.index(".") :])).digest
    )


@pytest.mark.parametrize("name", ["book.xlsx", "table.parquet", "arrays.npz", "several.spc", "field.asd", "bruker.0"])
def test_an_instrument_or_binary_file_that_is_cut_off_is_refused(write, name: str) -> None:
    data = made.MADE[name]()
    for end in (3, 20, 300, len(data) // 2, len(data) - 20):
        file = write(data[:end], name)
        with pytest.raises(SpectraError) as caught:
            read_spectra(file)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xlsx", lambda: made.xlsx(sheets=2), "holds spectra in the sheets 'Sheet', 'Sheet1'"),
        ("a.xlsx", lambda: b"\xd0\xcf\x11\xe0" + b"\0" * 600, "old Excel"),
        ("a.npz", lambda: made.npz(axis=None), "needs an array X .* and an array axis"),
        ("a.npz", lambda: made.npz(axis=np.arange(850.0, 900.0)), "do not fit an axis"),
        ("a.npz", lambda: made.npz(sample_ids=np.array(["a"] * 5)), "the sample id 'a' comes twice"),
        ("a.npz", lambda: made.npz(sample_ids=np.array(["a"])), "1 sample ids for 5 spectra"),
        ("a.npz", lambda: made.npz(note=np.array([{}] * 5)), "Python objects"),
        ("a.npz", lambda: made.npz(unit="furlong"), "Unknown axis unit 'furlong'"),
        ("a.npz", lambda: made.npz(X=np.full((5, 100), 1j)), "must be numbers"),
        ("a.npz", lambda: made.npz(fat=np.arange(4)), "one value for each of 5 spectra"),
        ("a.jdx", lambda: made.jcamp(NPOINTS="102"), "declares 102 points, but 101 were found"),
        ("a.jdx", lambda: made.jcamp(NPOINTS="999999999"), "which is no number of points"),
        ("a.jdx", lambda: made.jcamp().split(b"##XYDATA")[0], "no XYDATA"),
        ("a.jdx", lambda: made.jcamp(FIRSTX="8000"), "declares another FIRSTX than its table begins at"),
        ("a.jdx", lambda: made.jcamp(XUNITS="SECONDS"), "its axis in 'SECONDS'"),
        ("a.jdx", lambda: made.jcamp(YUNITS="COUNTS"), "holds 'COUNTS', which is neither"),
        ("a.jdx", lambda: made.jcamp(DATA_TYPE="RAMAN SPECTRUM"), "only infrared and near-infrared"),
        ("a.spc", lambda: made.spc(xtype=5), "an axis of the kind XMINUTS"),
        ("a.spc", lambda: made.spc(xtype=0), "does not say the unit of its axis"),
        ("a.spc", lambda: made.spc(ytype=4), "the kind YCOUNT, which is neither"),
        ("a.spc", lambda: made.spc(ytype=11), "holds percent of something; say what"),
        ("a.spc", lambda: made.spc(flags=0xC4), "an axis for each spectrum .XYXY."),
        ("a.spc", lambda: made.spc(flags=0x08), "by arbitrary times"),
        ("a.spc", lambda: made.spc(version=0x4D), "an old or big-endian kind"),
        ("a.spc", lambda: made.spc(points=102), "shorter than its 1 spectra of 102 points"),
        ("a.spc", lambda: made.spc(points=0x7FFFFFFF), "which cannot be"),
        ("a.asd", lambda: made.asd(has_reference=False), "raw counts without a white reference"),
        ("a.asd", lambda: made.asd(kind=2), "holds dt_RAD_TYPE; only reflectance"),
        ("a.asd", lambda: made.asd(number_format=0), "in an old format"),
        ("a.asd", lambda: made.asd(reference=np.r_[np.full(100, 9.0), 0.0]), "white reference is zero at some points"),
        ("a.0", lambda: made.opus((1,)), "no absorbance or reflectance, only sm"),
        ("a.0", lambda: made.opus((5, 12)), "holds reflectance and transmittance; say which is meant"),
        ("a.0", lambda: made.opus(unit=b"MIN\0"), "its axis in 'MIN'"),
        ("a.0", lambda: made.opus(points=102), "declares 102 points, and stores 101|no spectrum at all"),
        ("a.0", lambda: made.opus(size=0x0FFFFFFF), "beyond its end"),
        ("a.dat", lambda: b"\x00\x01\x02\x03" * 300, "is not a text file"),
        ("a.spc", lambda: b"\x00\x01\x02\x03" * 300, "is not what its name says .spc."),
    ],
)
def test_what_is_not_certain_is_refused_with_a_sentence(write, name: str, data, message: str) -> None:
    with pytest.raises(SpectraError, match=message):
        read_spectra(write(data(), name))


def test_the_signal_that_is_wanted_of_a_file_with_several(write) -> None:
    file = write(made.opus((4, 12)), "both.0")
    assert read_spectra(file).signal == "absorbance"
    reflectance = read_spectra(file, signal="reflectance")
    np.testing.assert_allclose(reflectance.X[0], 10.0 ** -made.absorbance(), atol=FLOAT32)
    assert "others: absorbance" in reflectance.notes[0]
    with pytest.raises(SpectraError, match="holds absorbance and reflectance; say which"):
        read_spectra(file, signal="transmittance")


def test_a_share_or_percent_by_what_the_values_can_be(write) -> None:
    share = made.jcamp(10.0 ** -made.absorbance(), YUNITS="TRANSMITTANCE")
    percent = made.jcamp(100 * 10.0 ** -made.absorbance(), YUNITS="TRANSMITTANCE")
    assert read_spectra(write(share, "a.jdx")).signal == "transmittance"
    assert read_spectra(write(percent, "b.jdx")).signal == "percent_transmittance"


def test_what_a_file_says_itself_is_not_overruled(write) -> None:
    with pytest.raises(SpectraError, match="holds absorbance, as it says itself, and not reflectance"):
        read_spectra(write(made.jcamp(), "a.jdx"), signal="reflectance")
    with pytest.raises(SpectraError, match="its axis in cm-1, as it says itself, and not in nm"):
        read_spectra(write(made.jcamp(), "a.jdx"), unit="nm")
    assert read_spectra(write(made.spc(xtype=0), "a.spc"), unit="cm-1").axis.unit == "cm-1"


def test_a_compound_jcamp_file_is_several_samples(write) -> None:
    block = made.jcamp().decode()
    other = made.jcamp(made.absorbance() + 0.1, TITLE="second").decode()
    link = "##TITLE=both\n##JCAMP-DX=4.24\n##DATA TYPE=LINK\n##BLOCKS=2\n" + block + other + "##END=\n"
    spectra = read_spectra(write(link, "both.jdx"))
    assert spectra.sample_ids == ["made", "second"]
    np.testing.assert_allclose(spectra.X[1] - spectra.X[0], 0.1, atol=1e-5)


def four(*table: str, blocks: str = "", **labels: str) -> str:
    """A JCAMP-DX file of four points from 1000 nm in steps of 10, with labels as they are said and a table as it is given."""
    said = {
        "FIRSTX": "1000",
        "LASTX": "1030",
        "DELTAX": "10",
        "FIRSTY": "0.5",
        "YFACTOR": "0.1",
        "XFACTOR": "1",
    } | labels
    head = (
        "##TITLE=four\n##JCAMP-DX=4.24\n##DATA TYPE=NEAR INFRARED SPECTRUM\n##XUNITS=NANOMETERS\n##YUNITS=ABSORBANCE\n"
    )
    lines = "".join(f"##{name}={value}\n" for name, value in said.items() if value)
    rows = "\n".join(table or ("1000 5 6", "1020 7 8"))
    return f"{head}{lines}##NPOINTS=4\n##XYDATA=(X++(Y..Y))\n{rows}\n##END=\n"


def linked(*blocks: str, count: int) -> str:
    return f"##TITLE=all\n##JCAMP-DX=4.24\n##DATA TYPE=LINK\n##BLOCKS={count}\n{''.join(blocks)}##END=\n"


def test_jcamp_files_one_after_another_are_all_read(write) -> None:
    first, second = made.jcamp().decode(), made.jcamp(made.absorbance() + 0.1, TITLE="second").decode()
    both = read_spectra(write(first + second, "both.jdx"))
    assert both.sample_ids == ["made", "second"]
    np.testing.assert_allclose(both.X[1] - both.X[0], 0.1, atol=1e-5)
    three = read_spectra(write(linked(first, second, count=2) + made.jcamp(TITLE="third").decode(), "three.jdx"))
    assert three.sample_ids == ["made", "second", "third"]
    with pytest.raises(SpectraError, match="spectra on different axes"):
        read_spectra(write(first + four(), "other.jdx"))
    nested = linked(linked(first, second, count=2), made.jcamp(TITLE="third").decode(), count=2)
    assert read_spectra(write(nested, "nested.jdx")).sample_ids == ["made", "second", "third"]


def test_a_jcamp_title_may_be_said_twice(write) -> None:
    block = made.jcamp().decode()
    for text in ("##TITLE=first\n" + block, block.replace("##XUNITS", "##TITLE=again\n##XUNITS", 1)):
        assert read_spectra(write(text, "twice.jdx")).n_samples == 1


def test_a_compound_jcamp_file_without_all_its_blocks_is_cut_off(write) -> None:
    first, second = made.jcamp().decode(), made.jcamp(TITLE="second").decode()
    for text in (linked(first, second, count=3), linked(first, second, count=3).removesuffix("##END=\n")):
        with pytest.raises(SpectraError, match="declares 3 blocks, but 2 were found; the file is cut off"):
            read_spectra(write(text, "cut.jdx"))
    with pytest.raises(SpectraError, match="declares 2 blocks, but 1 "):
        read_spectra(write(linked(first, count=2) + second, "cut.jdx"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (four("1000 5 6 7 8", LASTX="1060"), "an axis from 1000 to 1060, but 4 points with DELTAX=10"),
        (four(LASTX="1060", DELTAX=""), "begins at 1020, where 1040 should be"),
        (four(LASTX="1040"), "an axis from 1000 to 1040, but 4 points with DELTAX=10"),
        (four("1000 5 6", "1050 7 8"), "begins at 1050, where 1020 should be"),
        (four("1000A5J", "1040A6JJ", FIRSTY=""), "begins at 1040, where 1010 or 1020 should be"),
        (four(FIRSTY="0.9"), "FIRSTY=0.9, but its first value is 0.5"),
        (linked(four(), four(FIRSTX="1200", LASTX="1230"), count=2), "another FIRSTX than its table begins at"),
        (four() + four(FIRSTX="1200", LASTX="1230"), "another FIRSTX than its table begins at"),
        (linked(four(), four(FIRSTY="7.5"), count=2), "FIRSTY=7.5, but"),
    ],
)
def test_a_jcamp_file_that_contradicts_itself_is_refused(write, text: str, message: str) -> None:
    with pytest.raises(SpectraError, match=message):
        read_spectra(write(text, "four.jdx"))


@pytest.mark.parametrize(
    "text",
    [
        four(),
        four(DELTAX="9.9", LASTX="1029.6"),
        four(DELTAX="-10", FIRSTX="1030", LASTX="1000").replace("1020 7", "1010 7").replace("1000 5", "1030 5"),
        four("1e3 5 6", "1.02e3 7 8"),
        four("2000 5 6", "2040 7 8", XFACTOR="0.5"),
        four(XFACTOR="0.5"),
        four("999.6 5 6", "1019.9 7 8"),
        four(FIRSTY="5"),
        four(FIRSTY="0.503"),
        four(FIRSTY="", DELTAX=""),
        four("1000A5J", "1010A6JJ", FIRSTY=""),
        four("1000A5J", "1020A6JJ", FIRSTY=""),
    ],
)
def test_a_jcamp_file_may_round_what_it_says(write, text: str) -> None:
    assert read_spectra(write(text, "four.jdx")).n_points == 4


def test_a_bad_spectrum_of_several_is_rejected_and_its_neighbours_read(write) -> None:
    X = np.stack([made.absorbance(), np.full(101, np.nan), np.full(101, 0.5), made.absorbance() + 0.2])
    spectra = read_spectra(write(made.spc(X), "a.spc"))
    assert spectra.sample_ids == ["a_1", "a_4"]
    assert [(row.row, row.reason[:20]) for row in spectra.rejected] == [
        (2, "column '9000' has no"),
        (3, "the spectrum is cons"),
    ]


def test_codes_in_cells_of_text_stay_text(write, tmp_path: Path) -> None:
    rows = [["id", "kind", "fat", 850, 860], ["a", "01", 1, 0.1, 0.2], ["b", "2", 2, 0.2, 0.3]]
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "codes.xlsx")
    columns = {str(name): [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    pq.write_table(pa.table(columns), tmp_path / "codes.parquet")
    for name in ("codes.xlsx", "codes.parquet"):
        spectra = read_spectra(tmp_path / name)
        assert (spectra.metadata["kind"].tolist(), list(spectra.targets)) == (["01", "2"], ["fat"])
        assert read_spectra(tmp_path / name, target="kind").targets["kind"].tolist() == ["01", "2"]


def test_missing_values_of_a_parquet_table(write, tmp_path: Path) -> None:
    file = tmp_path / "holes.parquet"
    table = {"id": ["a", "b", None], "fat": [1.0, None, 3.0], "850": [1.0, None, 2.0], "852": [2.0, 1.0, 3.0]}
    pq.write_table(pa.table(table), file)
    spectra = read_spectra(file)
    assert spectra.sample_ids == ["a"]
    assert [(row.row, row.reason) for row in spectra.rejected] == [
        (2, "column '850' has no value"),
        (3, "the sample id is empty"),
    ]
    pq.write_table(pa.table({"spectrum": [[1.0, 2.0]], "id": ["a"]}), file)
    with pytest.raises(SpectraError, match="column 'spectrum' holds lists"):
        read_spectra(file)


def test_a_data_point_table_is_not_taken_for_nanometres(write) -> None:
    text = "".join(f"{x},{0.1 + x / 1e4}\n" for x in range(2500, 400, -10))
    with pytest.raises(SpectraError, match="may be in cm-1 or in nm; say its unit"):
        read_spectra(write(text, "mid.dpt"))
    assert read_spectra(write(text, "mid.dpt"), unit="cm-1").axis.unit == "cm-1"


def test_without_its_library_a_file_says_which_extra_is_missing(write) -> None:
    file = write(made.opus(), "bruker.0")
    code = (
        "import sys; sys.modules['brukeropus'] = None\n"
        "from n4a_flows.spectra import read_spectra\n"
        "from n4a_flows.storage.errors import SpectraError\n"
        "try: read_spectra(sys.argv[1])\n"
        "except SpectraError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True).stdout
    assert "needs the package brukeropus to be read: pip install 'n4a-flows[vendor]'" in said


def test_a_reader_of_somebody_else_plugs_in_and_passes_the_guards(write, tmp_path: Path) -> None:
    """An installed package with an entry point, as pip would leave it."""
    (tmp_path / "labformat.py").write_text(
        "import numpy as np\n"
        "from n4a_flows.spectra.raw import RawSpectra\n"
        "from n4a_flows.spectra.registry import Reader\n"
        "def read(source):\n"
        "    rows = [line.split() for line in source.data.decode().splitlines()[1:]]\n"
        "    if rows[0] == ['hang']:\n"
        "        while True: pass\n"
        "    X = np.array(rows, dtype=float)\n"
        "    return RawSpectra(X=X, axis=[1000, 1010, 1020], unit='nm', signal='absorbance', total=len(rows))\n"
        "READER = Reader('lab', '7', read, lambda head, name: head.startswith(b'LAB'), frozenset({'.lab'}))\n"
    )
    info = tmp_path / "labformat-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labformat\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[n4a_flows.readers]\nlab = labformat:READER\n")
    files = {"good": "0.1 0.2 0.3\n0.2 0.2 0.2\n", "broken": "x y z\n", "short": "0.1 0.2\n", "slow": "hang\n"}
    for name, text in files.items():
        write("LAB\n" + text, f"{name}.lab")
    code = (
        "import sys; from n4a_flows.spectra import contained, read_spectra, reader\n"
        "from n4a_flows.storage.errors import SpectraError\n"
        "contained.SECONDS = 0.5\n"
        "for name in ('good', 'broken', 'short', 'slow'):\n"
        "    try:\n"
        "        s = read_spectra(f'{sys.argv[1]}/{name}.lab')\n"
        "        print(s.reader, s.reader_version, s.n_samples, s.rejected[0].reason)\n"
        "    except SpectraError as error: print(error)\n"
        "print(reader.readers_in_use(), sorted(reader.known_suffixes()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    env = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.splitlines()
    assert said[0] == "lab 7 1 the spectrum is constant: every value is 0.2"
    assert "cannot be read as lab and is probably damaged (could not convert string to float: 'x')" in said[1]
    assert "do not fit an axis" in said[2]
    assert "took longer than 0.5 s" in said[3]
    assert "lab 7" in said[4]
    assert "'.lab'" in said[4]


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (np.array([b"a1", b"a2", "ä".encode(), b"a4", b"a5"]), ["a1", "a2", "ä", "a4", "a5"]),
        (np.array([101.0, 102.0, 103.5, 104.0, 105.0]), ["101", "102", "103.5", "104", "105"]),
        (np.array(["a\udcfc", "b", "c", "d", "e"]), ["a\\udcfc", "b", "c", "d", "e"]),
    ],
)
def test_ids_are_the_texts_that_a_laboratory_would_write(
    write, tmp_path: Path, ids: np.ndarray, texts: list[str]
) -> None:
    made_npz = read_spectra(write(made.npz(sample_ids=ids, signal=np.array(b"absorbance")), "ids.npz"))
    assert made_npz.sample_ids == texts
    assert made_npz.signal == "absorbance"
    if "\\" in texts[0]:
        return
    table = pa.table({"id": ids.tolist(), **{str(w): np.arange(5.0) + w / 100 for w in range(850, 900, 10)}})
    pq.write_table(table, tmp_path / "ids.parquet")
    assert read_spectra(tmp_path / "ids.parquet").sample_ids == texts


@pytest.mark.parametrize(("key", "unit"), [("wavenumbers", "cm-1"), ("wavelengths", "nm"), ("nm", "nm")])
def test_the_name_of_the_axis_in_an_archive_says_its_unit(write, key: str, unit: str) -> None:
    axis = np.linspace(1000.0, 2000.0, 100)
    assert read_spectra(write(made.npz(axis=None, unit=None, **{key: axis}), "axis.npz")).axis.unit == unit
