"""Sets by name, by file and from several files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.spectra import load_dataset, load_tecator
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, SpectraError


def test_tecator_is_the_published_set() -> None:
    tecator = load_tecator()
    assert (tecator.n_samples, tecator.n_points, tecator.axis.unit) == (215, 100, "nm")
    assert (tecator.axis.values[0], tecator.axis.values[-1]) == (850.0, 1050.0)
    assert list(tecator.targets) == ["moisture", "fat", "protein"]
    assert dict(zip(*np.unique(tecator.metadata["split"], return_counts=True), strict=True)) == {
        "train": 129,
        "monitor": 43,
        "test": 43,
    }
    assert (tecator.name, tecator.signal, tecator.rejected) == ("tecator", "absorbance", [])
    # What is not fat in meat is mostly water: columns that were mixed up would show here.
    assert np.corrcoef(tecator.targets["fat"], tecator.targets["moisture"])[0, 1] < -0.95
    assert tecator.targets["fat"].min() == 0.9


def test_the_permission_note_travels_with_the_data() -> None:
    note = (resources.files("n4a_flows") / "data" / "README.md").read_text()
    assert "as long as this permission note is attached" in note.replace("\n", " ")


def test_load_dataset_takes_a_name_a_file_or_spectra(tmp_path: Path) -> None:
    tecator = load_dataset("tecator", target="fat")
    assert tecator.digest == load_tecator().digest
    assert load_dataset(tecator) is tecator

    file = tmp_path / "mine.csv"
    file.write_text("id,fat,850,852\na,1,1,2\n")
    mine = load_dataset(file, target="fat", name="shift-2", signal="absorbance")
    assert (mine.name, mine.signal, mine.sample_ids) == ("shift-2", "absorbance", ["a"])


def test_load_dataset_names_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="'tecator' has no target 'ash'; it has moisture, fat, protein"):
        load_dataset("tecator", target=["fat", "ash"])
    with pytest.raises(MissingFileError, match=r"no file tecattor, and no shipped set of that name \(tecator\)"):
        load_dataset("tecattor")
    with pytest.raises(InvalidInputError, match="empty list"):
        load_dataset([])


def test_several_files_make_one_set(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("id,fat,split,850,852\na,1,train,1,2\nb,2,test,1,x\n")
    two.write_text("id,protein,852,850\nc,3,4,5\n")  # falling axis, other target
    both = load_dataset([one, two])

    assert both.sample_ids == ["a", "c"]
    np.testing.assert_array_equal(both.X, [[1, 2], [5, 4]])
    np.testing.assert_array_equal(both.targets["fat"], [1, np.nan])
    np.testing.assert_array_equal(both.targets["protein"], [np.nan, 3])
    assert both.metadata["split"].tolist() == ["train", ""]
    assert both.name == "one+two"
    assert [row.reason for row in both.rejected] == ["one.csv: column '852' holds 'x', which is not a finite number"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,fat,850,852\na,3,4,5\n", "'a' is in .*one.csv and in .*two.csv"),
        ("id,fat,851,853\nc,3,4,5\n", "two.csv does not fit to .*one.csv: .*another axis"),
        ("id,fat,850,852\nc,lean,4,5\n", "'fat' holds numbers in .*one.csv and text in .*two.csv"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, text: str, message: str) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("id,fat,850,852\na,1,1,2\n")
    two.write_text(text)
    with pytest.raises(SpectraError, match=message):
        load_dataset([one, two], target="fat")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("signal,reflectance", "one.csv holds absorbance, .*two.csv reflectance; .*train them apart"),
        ("site,north", "one.csv holds absorbance, .*two.csv an unknown signal; .*signal=.*train them apart"),
    ],
)
def test_files_of_different_signals_are_no_set(tmp_path: Path, said: str, message: str) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    column, word = said.split(",")
    one.write_text("id,signal,850,852\na,absorbance,0.1,0.2\n")
    two.write_text(f"id,{column},850,852\nb,{word},0.7,0.8\n")
    with pytest.raises(SpectraError, match=message):
        load_dataset([one, two])
    if column == "site":
        assert load_dataset([one, two], signal="absorbance").signal == "absorbance"


def test_codes_of_one_file_are_codes_in_all(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("id,kind,850,852\na,01,0.1,0.2\nb,02,0.2,0.3\ne,NA,0.3,0.4\n")
    two.write_text("id,kind,850,852\nc,10,0.1,0.2\nd,,0.2,0.3\n")
    assert load_dataset([one, two], target="kind").targets["kind"].tolist() == ["01", "02", "", "10", ""]
    both = load_dataset([one, two])
    assert both.metadata["kind"].tolist() == ["01", "02", "NA", "10", ""]
    assert both.targets == {}
    two.write_text("id,kind,850,852\nc,10.5,0.1,0.2\n")
    for target in (None, "kind"):
        found = load_dataset([one, two], target=target).targets["kind"]
        np.testing.assert_array_equal(found, [1.0, 2.0, np.nan, 10.5])
    two.write_text("id,kind,850,852\nc,1,0.1,0.2\n")
    with pytest.raises(SpectraError, match=r"'kind' says 01 in .*one.csv, and 1 in .*two.csv: write the codes alike"):
        load_dataset([one, two], target="kind")
