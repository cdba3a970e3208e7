"""Which files to score, and what identifies one. Plain functions, no Prefect."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path

from n4a_flows.storage.errors import InvalidInputError, MissingFileError

FOLDER_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
"""Suffixes of the files that are taken from a folder; a glob or a list may name others."""


def list_spectra_files(files: str | Sequence[str]) -> list[Path]:
    """The files that a folder, a glob, a file or a list of these names: absolute, sorted, each once.

    Of a folder, the regular files that carry a known suffix and whose name does not start with a dot; its sub-folders
    are not searched (a glob with `**` does that). A glob that matches nothing is an empty list: nothing has arrived
    yet.

    Raises
    ------
    MissingFileError
        When a folder or file that is named as such does not exist.
    InvalidInputError
        When nothing is named at all.
    """
    names = [files] if isinstance(files, str) else list(files)
    if not names or not all(name.strip() for name in names):
        raise InvalidInputError(
            "No files to look at: give a folder, a glob such as 'incoming/*.csv', or a list of files."
        )
    return sorted({path for name in names for path in _named_by(name)})


def file_digest(path: str | Path) -> str:
    """SHA-256 of the bytes of a file, 64 hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _named_by(name: str) -> list[Path]:
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        return [entry for entry in path.iterdir() if _is_candidate(entry) and entry.suffix.lower() in FOLDER_SUFFIXES]
    if path.is_file():
        return [path]
    if path.exists():
        raise InvalidInputError(f"{name} is neither a folder nor a regular file: give files that hold spectra.")
    if glob.has_magic(name):
        return [found for match in glob.iglob(str(path), recursive=True) if _is_candidate(found := Path(match))]
    raise MissingFileError(f"There is no file or folder {name}: check the path.")


def _is_candidate(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")
