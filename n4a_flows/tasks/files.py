"""Which files to score, whether they are complete, and what identifies one: here or at URLs. Plain functions, no Prefect."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import takewhile
from pathlib import Path

from n4a_flows.spectra import known_suffixes
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, N4AError, WorkspaceError
from n4a_flows.storage.places import Place, located
from n4a_flows.storage.texts import storable

QUARANTINE = "quarantine"
"""Folder beside a bad file that it is moved to on request; folders of this name are not searched."""

_FRESH = 60.0
"""Seconds after its last change for which a file may still be being written."""


_AT_ONCE = 16
"""Files of other places that are fetched at the same time, to be hashed: most of that is waiting."""


def list_spectra_files(files: str | Sequence[str]) -> list[Path | Place]:
    """The files that a folder, a glob, a file or a list of these names: absolute, sorted, each once. Any of them may be a URL.

    Of a folder and its sub-folders, linked ones too, the regular files that carry a suffix some reader knows; what begins with a
    dot and what lies in a `quarantine` is passed over. A glob that matches nothing is an empty list: nothing has arrived yet.

    Raises
    ------
    MissingFileError
        When a folder or file that is named as such does not exist. In an object store an empty folder is none; what is named with
        a slash at the end may be empty there.
    PlaceError
        When a URL cannot be reached or listed.
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
    return sorted({path for name in names for path in _named_by(located(name))}, key=_in_order)


def still_growing(files: Sequence[Path | Place], pause: float) -> set[Path | Place]:
    """Files that change between two looks, this many seconds apart; only those that were changed lately are waited for.

    What an object store shows is complete.
    """
    if pause <= 0:
        return set()
    latest = time.time() - _FRESH
    before = {file: state for file in files if (state := _state(file)) is not None and not _settled(state, latest)}
    if not before:
        return set()
    time.sleep(pause)
    return {file for file, state in before.items() if _state(file) != state}


def file_digest(path: str | Path | Place) -> str:
    """SHA-256 of the bytes of a file, 64 hex digits."""
    if isinstance(path, Place):
        return path.sha256()
    # Not by hashlib.file_digest, which takes twice as long for a file of a few kilobytes: it clears a buffer of 256 KiB first.
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while part := stream.read(65_536):
            digest.update(part)
    return digest.hexdigest()


def digests_of(
    files: Iterable[Path | Place], failed: Callable[[Path | Place, str], object]
) -> list[tuple[Path | Place, str]]:
    """Each file with its digest, in their order; of those that vanished or cannot be opened `failed` is told why.

    Raises
    ------
    PlaceError
        When a place cannot be reached: then nothing is known of its files.
    """
    listed: list[tuple[Path | Place, str]] = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="n4a-fetch") as pool:
        # Hashing files of this machine is work, and gains nothing from threads.
        found = [
            (f, pool.submit(file_digest, f).result if isinstance(f, Place) else partial(file_digest, f)) for f in files
        ]
        for file, digest in found:
            try:
                listed.append((file, digest()))
            except (MissingFileError, OSError) as error:
                if isinstance(error, N4AError) and not isinstance(error, MissingFileError):
                    raise
                failed(file, str(error) if isinstance(error, N4AError) else error.strerror or str(error))
    return listed


def move_to_quarantine(path: Path | Place, reason: str) -> Path | Place:
    """Move a bad file into the folder `quarantine` beside it, with a text file that says why; returns where it lies.

    An earlier file of that name is not replaced.

    Raises
    ------
    WorkspaceError, PlaceError
        When it cannot be moved; it stays where it was then.
    """
    if isinstance(path, Place):
        return _moved_there(path, reason)
    folder = path.parent / QUARANTINE
    target = folder / path.name
    number = 1
    try:
        folder.mkdir(exist_ok=True)
        while target.exists():
            number += 1
            target = folder / f"{path.stem}-{number}{path.suffix}"
        # The reason first: a file in quarantine never lies there without.
        told = storable(f"{path}\n{reason}\n")
        target.with_name(target.name + ".reason.txt").write_text(told, encoding="utf-8")
        path.rename(target)
    except OSError as error:
        with suppress(OSError):
            target.with_name(target.name + ".reason.txt").unlink()
        raise WorkspaceError(f"{path} cannot be moved to {folder}: {error.strerror or error}.") from error
    return target


def _moved_there(place: Place, reason: str) -> Place:
    folder = place.parent / QUARANTINE
    target = folder / place.name
    number = 1
    while target.is_file():
        number += 1
        target = folder / f"{place.stem}-{number}{place.suffix}"
    told = target.with_name(f"{target.name}.reason.txt")
    told.write(f"{place}\n{reason}\n".encode())
    try:
        place.move(target)
    except BaseException:
        told.remove()
        raise
    return target


def _in_order(file: Path | Place) -> tuple[bool, list[str]]:
    return (True, [str(file)]) if isinstance(file, Place) else (False, str(file).split(os.sep))


def _state(file: Path | Place) -> tuple[object, ...] | None:
    if isinstance(file, Place):
        return None if file.whole else file.state()
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime


def _settled(state: tuple[object, ...], latest: float) -> bool:
    """Whether a file was last changed so long ago that nobody writes to it any more; of other places that is not known."""
    return isinstance(state[1], float) and state[1] <= latest


def _named_by(where: Path | Place) -> Iterable[Path | Place]:
    suffixes = known_suffixes()
    if isinstance(where, Place):
        return [place for place in _there(where, suffixes) if not place.name.startswith(".")]
    path = where.expanduser().absolute()
    if path.is_dir():
        return _below(path, suffixes, (os.path.realpath(path),))
    if path.is_file():
        return [path]
    if path.exists():
        raise InvalidInputError(f"{where} is neither a folder nor a regular file: give files that hold spectra.")
    if glob.has_magic(str(where)):
        return _matching(path)
    raise MissingFileError(f"There is no file or folder {where}: check the path.")


def _there(where: Place, suffixes: Collection[str]) -> Iterable[Place]:
    """The files that a URL names."""
    if (matches := where.matches()) is not None:
        fixed = len(_fixed(str(where).split("/")))
        return (file for file in matches if QUARANTINE not in str(file).split("/")[fixed:-1])
    if where.is_folder():
        start = len(str(where).rstrip("/"))
        return (
            file
            for file in where.files()
            if file.suffix.lower() in suffixes
            and not any(part == QUARANTINE or part.startswith(".") for part in str(file)[start:].split("/")[:-1])
        )
    if where.is_file():
        return [where]
    if where.may_be_an_empty_folder():
        return []
    raise MissingFileError(f"There is no file or folder {where}: check the URL.")


def _matching(pattern: Path) -> list[Path]:
    """The files that a glob names, without those that were put into a quarantine below where it begins."""
    fixed = _fixed(pattern.parts)
    found = map(Path, glob.iglob(str(pattern), recursive=True))
    return [path for path in found if _is_candidate(path) and QUARANTINE not in path.parts[len(fixed) : -1]]


def _fixed(parts: Sequence[str]) -> Sequence[str]:
    """The folders of a glob before the first one that is a pattern."""
    return list(takewhile(lambda part: not glob.has_magic(part), parts[:-1]))


def _below(folder: str | Path, suffixes: Collection[str], way: tuple[str, ...]) -> Iterator[Path]:
    """Asks for each file what the folder knows of it already: ten thousand looks at files take 0.1 s.

    `way` is the real folder in which the search began, and those that links have led to on the way here.
    """
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        raise WorkspaceError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name == QUARANTINE:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, suffixes, way)
        elif os.path.splitext(entry.name)[1].lower() in suffixes and _is_file(entry):
            yield Path(entry.path)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            real = os.path.realpath(entry.path)
            # One that leads up would go round for ever, and what lies below is found without it.
            if not any(_contains(real, other) or _contains(other, real) for other in way):
                yield from _below(entry.path, suffixes, (*way, real))


def _contains(folder: str, other: str) -> bool:
    return os.path.commonpath([folder, other]) == folder


def _is_candidate(path: Path) -> bool:
    return not path.name.startswith(".") and _is_file(path)


def _is_file(found: Path | os.DirEntry[str]) -> bool:
    try:
        return found.is_file()
    except OSError:  # links that lead to each other
        return False
