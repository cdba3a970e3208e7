"""Files that are whole and on the disk when a call returns, or not there at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".tmp-"

_SYNCED_AT_ONCE = 8
_OPEN_AT_ONCE = 128
_BYTES_AT_ONCE = 2**26
"""Of large files fewer are written together: who is interrupted has those before."""


def write_durably(target: Path, data: bytes) -> None:
    """Write a whole file or nothing; what is there already is replaced.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    write_all_durably(target.parent, [(target.name, data)])


def write_all_durably(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """`write_durably` for many files, in a fraction of the time: what a disk is given together it syncs together.

    Parameters
    ----------
    files
        Paths relative to the folder, and bytes; those of one file are asked for when those of the one before are written.

    Raises
    ------
    OSError
        When the disk refuses; each of the files is there whole or as it was before.
    """
    waiting = iter(files)
    while _write_some(folder, waiting):
        pass


def _write_some(folder: Path, waiting: Iterator[tuple[str, bytes]]) -> int:
    """Write as many of the files as are written together; returns their number."""
    temporary: dict[Path, Path] = {}
    size = 0
    changed_folders: set[Path] = set()
    try:
        with contextlib.ExitStack() as opened:
            written = []
            for relative_path, data in waiting:
                _make_folder(folder, changed_folders)
                # All in one folder: in many, a file system looks for room for each.
                path = temporary[folder / relative_path] = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
                file = opened.enter_context(path.open("xb"))
                file.write(data)
                file.flush()
                written.append(file.fileno())
                size += len(data)
                if len(written) == _OPEN_AT_ONCE or size >= _BYTES_AT_ONCE:
                    break
            if len(written) > 1:
                for descriptor in written:
                    _begin_writing(descriptor)
            _at_once(os.fsync, written)
        for target, path in temporary.items():
            _move(path, target, changed_folders)
    except BaseException:
        for path in temporary.values():
            path.unlink(missing_ok=True)
        raise
    _at_once(sync_folder, changed_folders)
    return len(temporary)


def _move(path: Path, target: Path, changed_folders: set[Path]) -> None:
    changed_folders.add(target.parent)
    for _ in range(5):
        _make_folder(target.parent, changed_folders)
        # A clean-up may remove the empty folder before the file is in it.
        with contextlib.suppress(FileNotFoundError):
            path.replace(target)
            return
    path.replace(target)


def _make_folder(folder: Path, changed_folders: set[Path]) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        changed_folders.add(folder.parent)


def _begin_writing(descriptor: int) -> None:
    """Have the kernel begin to write a file; the syncs that follow wait for all of them at once, not for one after the other."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _at_once(sync: Callable[[Any], None], items: Iterable[Any]) -> None:
    items = list(items)
    if len(items) < 2:
        for item in items:
            sync(item)
        return
    with ThreadPoolExecutor(_SYNCED_AT_ONCE, thread_name_prefix="n4a-sync") as pool:
        for done in [pool.submit(sync, item) for item in items]:
            done.result()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder (or the bytes of a file) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
