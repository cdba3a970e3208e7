"""Real files of instruments and labs, against what an independent reader found in them; only where the shared data are."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from spectra_files import shared_data

from n4a_flows.spectra import read_spectra
from n4a_flows.storage.errors import SpectraError

SHARED = shared_data()
pytestmark = pytest.mark.skipif(SHARED is None, reason="no shared data (N4A_TEST_DATA, ../shared/data)")
EXPECTED = json.loads((SHARED / "expected.json").read_text()) if SHARED else {}
UNITS = {"nm": "nm", "cm-1": "cm-1", "1/CM": "cm-1", "XNMETR": "nm"}


def variant(number: str) -> Path:
    assert SHARED is not None
    return next((SHARED / "csv_variants").glob(f"{number}_*"))


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "spc/s_xy.spc"])
def test_a_real_file_holds_what_an_independent_reader_finds(name: str) -> None:
    spectra = read_spectra(SHARED / name)
    expected = EXPECTED[name]
    signals = [signal for signal in expected["signals"] if not name.startswith("opus") or signal["signal"] == "a"]
    assert spectra.n_samples == (1 if name.startswith("opus") else expected["signals_in_file"])
    assert spectra.rejected == []
    for row, found in zip(spectra.X, signals, strict=False):
        assert spectra.n_points == found["points"]
        assert spectra.axis.unit == UNITS[found["x_unit"]]
        what = {
            "x_first": spectra.axis.values[0],
            "x_last": spectra.axis.values[-1],
            "y_first": row[0],
            "y_middle": row[len(row) // 2],
            "y_last": row[-1],
            "y_sum": row.sum(),
        }
        for key, value in what.items():
            if key in found:
                np.testing.assert_allclose(value, found[key], rtol=2e-6, err_msg=f"{name} {key}")


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("asd/v6sample00000.asd", "reflectance"),
        ("opus/brukeropus_file.0", "absorbance"),
        ("spc/nir.spc", "kubelka_munk"),
        ("jcamp/PE1800.DX", "transmittance"),
        ("jcamp/SPECFILE.DX", "percent_transmittance"),
        ("excel/micronir_forensic_T_avg.xlsx", "absorbance"),
        ("dpt/synthetic.dpt", None),
    ],
)
def test_the_signal_is_what_the_file_says(name: str, signal: str | None) -> None:
    assert read_spectra(SHARED / name).signal == signal


def test_a_chromatogram_is_refused() -> None:
    with pytest.raises(SpectraError, match="an axis of the kind XMINUTS"):
        read_spectra(SHARED / "spc" / "s_xy.spc")


def test_libraries_print_nothing_and_write_no_log(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    handlers = list(logging.getLogger().handlers)
    for name in EXPECTED:
        if name != "spc/s_xy.spc":
            read_spectra(SHARED / name)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("number", ["02", "03", "04", "05", "06", "07", "09", "10", "11", "12", "19", "23", "24"])
def test_every_layout_gives_the_same_five_spectra(number: str) -> None:
    plain, spectra = read_spectra(variant("01")), read_spectra(variant(number))
    np.testing.assert_array_equal(spectra.X, plain.X)
    assert spectra.axis == plain.axis
    assert spectra.rejected == []
    if number == "12":
        assert spectra.sample_ids == [f"12_header_only_wavelengths_{n}" for n in range(1, 6)]
    elif number == "24":
        assert spectra.sample_ids[:2] == ["Grün1", "Gerste ß"]
    else:
        assert spectra.sample_ids == plain.sample_ids
    if number not in ("09", "11", "12"):
        assert list(spectra.targets) == ["moisture", "protein"]
        np.testing.assert_array_equal(spectra.targets["protein"], plain.targets["protein"])
    assert any("sorted" in note for note in spectra.notes) == (number == "19")


def test_wavenumbers_are_known_and_convert_to_the_same_axis() -> None:
    spectra = read_spectra(variant("08"))
    assert spectra.axis.unit == "cm-1"
    np.testing.assert_allclose(spectra.aligned_to(read_spectra(variant("01")).axis), read_spectra(variant("01")).X)
    assert read_spectra(variant("08"), unit="cm-1").digest == spectra.digest
    with pytest.raises(SpectraError, match="cannot be in um"):
        read_spectra(variant("08"), unit="um")


@pytest.mark.parametrize("number", ["17", "18"])
def test_two_columns_are_one_spectrum_named_like_its_file(number: str) -> None:
    spectra = read_spectra(variant(number))
    assert spectra.sample_ids == [variant(number).stem]
    np.testing.assert_array_equal(spectra.X[0], read_spectra(variant("01")).X[0])


@pytest.mark.parametrize(
    ("number", "line", "reason"),
    [
        ("15", 4, "column '1050' has no value"),
        ("16", 4, "column '1050' holds '#N/A', which is not a finite number"),
        ("21", 6, "the row has 52 fields, the header 74"),
        ("22", 4, "the row has 75 fields, the header 74"),
    ],
)
def test_one_bad_row_is_rejected_and_four_are_read(number: str, line: int, reason: str) -> None:
    spectra = read_spectra(variant(number))
    assert spectra.n_samples == 4
    assert [(row.line, row.reason) for row in spectra.rejected] == [(line, reason)]


@pytest.mark.parametrize(
    ("number", "message"),
    [("13", "has no axis"), ("14", "sample id 'barley1'"), ("25", "name the targets")],
)
def test_what_is_not_certain_is_refused(number: str, message: str) -> None:
    with pytest.raises(SpectraError, match=message):
        read_spectra(variant(number))


def test_a_target_called_by_a_number_is_read_when_it_is_named() -> None:
    spectra = read_spectra(variant("25"), target="2")
    np.testing.assert_array_equal(spectra.X, read_spectra(variant("01")).X)
    assert list(spectra.targets) == ["Feuchte (%)", "2"]


def test_percent_is_read_as_declared_and_not_as_absorbance() -> None:
    assert read_spectra(variant("20")).signal is None
    assert read_spectra(variant("20"), signal="percent_reflectance").signal == "percent_reflectance"
    with pytest.raises(SpectraError, match="cannot be absorbance; declare the signal"):
        read_spectra(variant("20"), signal="absorbance")
