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
    # Text and plain system calls: pathlib and buffered files take as long as the disk does for a small file.
    temporary: dict[str, str] = {}
    size = 0
    changed_folders: set[str] = set()
    try:
        with contextlib.ExitStack() as opened:
            written = []
            for relative_path, data in waiting:
                if not temporary:
                    _make_folder(str(folder), changed_folders)
                # All in one folder: in many, a file system looks for room for each.
                path = temporary[f"{folder}/{relative_path}"] = f"{folder}/{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
                written.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
                opened.callback(os.close, written[-1])
                _write(written[-1], data)
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
            Path(path).unlink(missing_ok=True)
        raise
    _at_once(sync_folder, changed_folders)
    return len(temporary)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]  # a disk that fills up takes a part, and refuses the next one


def _move(path: str, target: str, changed_folders: set[str]) -> None:
    folder = os.path.dirname(target)
    changed_folders.add(folder)
    for _ in range(5):
        _make_folder(folder, changed_folders)
        # A clean-up may remove the empty folder before the file is in it.
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, target)
            return
    os.replace(path, target)


def _make_folder(folder: str, changed_folders: set[str]) -> None:
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        changed_folders.add(os.path.dirname(folder))


def _begin_writing(descriptor: int) -> None:
    """Have the kernel begin to write a file; the syncs that follow wait for all of them at once, not for one after the other."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _at_once(sync: Callable[[Any], None], items: Iterable[Any]) -> None:
    items = list(items)
    threads = max(1, min(_SYNCED_AT_ONCE, len(items)))

    def some(first: int) -> None:
        for item in items[first::threads]:
            sync(item)

    if threads < 2:
        some(0)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="n4a-sync") as pool:
        for done in [pool.submit(some, first) for first in range(threads)]:
            done.result()


def sync_folder(folder: str | Path) -> None:
    """Make the names in a folder (or the bytes of a file) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
