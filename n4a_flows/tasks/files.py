"""Which files to score, whether they are complete, and what identifies one. Plain functions, no Prefect."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from n4a_flows.spectra import known_suffixes
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, WorkspaceError

QUARANTINE = "quarantine"
"""Folder beside a bad file that it is moved to on request; folders of this name are not searched."""

_FRESH = 60.0
"""Seconds after its last change for which a file may still be being written."""


def list_spectra_files(files: str | Sequence[str]) -> list[Path]:
    """The files that a folder, a glob, a file or a list of these names: absolute, sorted, each once.

    Of a folder and its sub-folders, the regular files that carry a suffix some reader knows; what begins with a dot and
    what lies in a `quarantine` is passed over. A glob that matches nothing is an empty list: nothing has arrived yet.

    Raises
    ------
    MissingFileError
        When a folder or file that is named as such does not exist.
    InvalidInputError
        When nothing is named at all.
    WorkspaceError
        When a folder cannot be read.
    """
    names = [files] if isinstance(files, str) else list(files)
    if not names or not all(name.strip() for name in names):
        raise InvalidInputError(
            "No files to look at: give a folder, a glob such as 'incoming/*.csv', or a list of files."
        )
    return sorted({path for name in names for path in _named_by(name)})


def still_growing(files: Sequence[Path], pause: float) -> set[Path]:
    """Files that change between two looks, this many seconds apart; only those that were changed lately are waited for."""
    if pause <= 0:
        return set()
    latest = time.time() - _FRESH
    before = {file: state for file in files if (state := _state(file)) is not None and state[1] > latest}
    if not before:
        return set()
    time.sleep(pause)
    return {file for file, state in before.items() if _state(file) != state}


def file_digest(path: str | Path) -> str:
    """SHA-256 of the bytes of a file, 64 hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def move_to_quarantine(path: Path, reason: str) -> Path:
    """Move a bad file into the folder `quarantine` beside it, with a text file that says why; returns where it lies.

    An earlier file of that name is not replaced.

    Raises
    ------
    WorkspaceError
        When it cannot be moved; it stays where it was then.
    """
    folder = path.parent / QUARANTINE
    target = folder / path.name
    number = 1
    try:
        folder.mkdir(exist_ok=True)
        while target.exists():
            number += 1
            target = folder / f"{path.stem}-{number}{path.suffix}"
        # The reason first: a file in quarantine never lies there without.
        target.with_name(target.name + ".reason.txt").write_text(f"{path}\n{reason}\n", encoding="utf-8")
        path.rename(target)
    except OSError as error:
        target.with_name(target.name + ".reason.txt").unlink(missing_ok=True)
        raise WorkspaceError(f"{path} cannot be moved to {folder}: {error.strerror or error}.") from error
    return target


def _state(file: Path) -> tuple[int, float] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime


def _named_by(name: str) -> list[Path]:
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        suffixes = known_suffixes()
        return [file for file in _below(path) if file.suffix.lower() in suffixes]
    if path.is_file():
        return [path]
    if path.exists():
        raise InvalidInputError(f"{name} is neither a folder nor a regular file: give files that hold spectra.")
    if glob.has_magic(name):
        return [found for match in glob.iglob(str(path), recursive=True) if _is_candidate(found := Path(match))]
    raise MissingFileError(f"There is no file or folder {name}: check the path.")


def _below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise WorkspaceError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name != QUARANTINE and not name.startswith(".")]
        for name in names:
            if _is_candidate(file := Path(parent, name)):
                yield file


def _is_candidate(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")
