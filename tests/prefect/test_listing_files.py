from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from n4a_flows.storage.errors import InvalidInputError, MissingFileError, WorkspaceError
from n4a_flows.tasks.files import file_digest, list_spectra_files, move_to_quarantine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.CSV", "c.tsv", "d.txt", "notes.md", ".hidden.csv", "half.csv.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.csv").mkdir()
    (tmp_path / "sub.csv" / "e.csv").write_text("x")
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_of_a_folder_the_regular_files_with_a_known_suffix(folder: Path) -> None:
    assert names(list_spectra_files(str(folder))) == ["a.CSV", "b.csv", "c.tsv", "d.txt", "e.csv"]


def test_a_glob_names_any_regular_file_and_may_look_into_sub_folders(folder: Path) -> None:
    assert names(list_spectra_files(f"{folder}/*.md")) == ["notes.md"]
    assert names(list_spectra_files(f"{folder}/**/*.csv")) == ["b.csv", "e.csv"]
    assert list_spectra_files(f"{folder}/*.jdx") == []


def test_a_list_is_taken_together_each_file_once_and_sorted(folder: Path) -> None:
    listed = list_spectra_files([f"{folder}/d.txt", str(folder), f"{folder}/notes.md", f"{folder}/b.*"])

    assert names(listed) == ["a.CSV", "b.csv", "c.tsv", "d.txt", "notes.md", "e.csv"]


def test_paths_are_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    assert list_spectra_files("b.csv") == [folder / "b.csv"]
    assert list_spectra_files("*.tsv") == [folder / "c.tsv"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "run[1].csv").write_text("x")

    assert names(list_spectra_files(f"{folder}/run[1].csv")) == ["run[1].csv"]


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/file.csv"])
def test_a_folder_or_file_that_does_not_exist_is_an_error(folder: Path, missing: str) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        list_spectra_files([str(folder), f"{folder}/{missing}"])


@pytest.mark.parametrize("nothing", ["", [], [" "]])
def test_nothing_to_look_at_is_an_error(nothing: str | list[str]) -> None:
    with pytest.raises(InvalidInputError, match="No files"):
        list_spectra_files(nothing)


def test_a_glob_leaves_quarantines_alone(folder: Path) -> None:
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "bad.csv").write_text("x")
    (folder / "quarantine" / "bad.csv.reason.txt").write_text("x")
    assert names(list_spectra_files(f"{folder}/**/*")) == [
        "a.CSV", "b.csv", "c.tsv", "d.txt", "half.csv.part", "notes.md", "e.csv"
    ]  # fmt: skip
    assert names(list_spectra_files(f"{folder}/quarantine/*.csv")) == ["bad.csv"], "asked for by name"
    assert list_spectra_files(f"{folder}/tomorrow/*.csv") == []


def test_linked_folders_are_searched_and_none_goes_round_for_ever(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    share = tmp_path_factory.mktemp("share")
    (share / "f.csv").write_text("x")
    (share / "back").symlink_to(folder)
    (folder / "nir1").symlink_to(share)
    (folder / "up").symlink_to(folder.parent)
    (folder / "again").symlink_to(folder / "sub.csv")
    (folder / "gone").symlink_to(folder / "nowhere")
    found = list_spectra_files(str(folder))
    assert [str(path.relative_to(folder)) for path in found if path.name in ("e.csv", "f.csv")] == [
        "nir1/f.csv",
        "sub.csv/e.csv",
    ]
    assert names(found).count("b.csv") == 1


def test_a_device_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="neither a folder nor a regular file"):
        list_spectra_files("/dev/null")


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = b"850,852\n0.1,0.2\n" * 100_000
    (tmp_path / "a").write_bytes(content)

    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_name_that_is_too_long_for_its_reason_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 250 + ".csv")
    file.write_text("garbage")
    with pytest.raises(WorkspaceError, match="cannot be moved"):
        move_to_quarantine(file, "no text")
    assert file.read_text() == "garbage"
