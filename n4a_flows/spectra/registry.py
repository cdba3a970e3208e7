"""The readers, and which of them a file is for: by its content first, by its name second."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import PurePath

from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.storage.errors import SpectraError

GROUP = "n4a_flows.readers"
"""The group of entry points that names further readers; each is a `Reader`."""

HEAD = 4096
"""Bytes from the beginning of a file that a reader gets to see before it says whether the file is its own."""


@dataclass(frozen=True)
class Reader:
    """A format that can be read.

    Parameters
    ----------
    name
        What the format is called.
    version
        Changes when the same bytes would give other spectra.
    read
        Makes `RawSpectra` of a `Source`. What it raises becomes a `SpectraError`; what it gives back passes the guards.
    recognises
        Whether a file is its own, by its first bytes and its name.
    suffixes
        What the names of such files end in, in lower case with the dot; for listings, and for files that no content tells.
    max_bytes
        Files larger than this are refused unread.
    needs
        Module that must be installed; None when the reader is always there.
    watched
        Whether small files of its kind are stopped too when they take too long; text takes less time than the watchdog.

    Examples
    --------
    >>> from n4a_flows.spectra.registry import readers
    >>> [reader.name for reader in readers()][:3]
    ['opus', 'asd', 'spc']
    """

    name: str
    version: str
    read: Callable[[Source], RawSpectra]
    recognises: Callable[[bytes, str], bool]
    suffixes: frozenset[str] = frozenset()
    max_bytes: int = 64 * 2**20
    needs: str | None = None
    watched: bool = True

    @property
    def installed(self) -> bool:
        """Whether what it needs is there."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


@cache
def readers() -> tuple[Reader, ...]:
    """All readers in the order they are asked: signatures of instruments, further readers, text.

    Raises
    ------
    SpectraError
        When an entry point is no reader.
    """
    from n4a_flows.spectra.formats import asd, dpt, excel, jcamp, npz, opus, parquet, spc, text

    first = (opus.READER, asd.READER, spc.READER, parquet.READER, excel.READER, npz.READER, jcamp.READER)
    return (*first, *_further(), dpt.READER, text.READER)


def _further() -> tuple[Reader, ...]:
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            reader = entry.load()
        except Exception as error:
            raise SpectraError(
                f"The reader {entry.name!r} ({entry.value}) cannot be loaded: {error}; repair or remove its package."
            ) from error
        if not isinstance(reader, Reader):
            raise SpectraError(
                f"The entry point {entry.name!r} of {GROUP} ({entry.value}) is no Reader; repair or remove its package."
            )
        found.append(reader)
    return tuple(found)


def detect(head: bytes, name: str) -> Reader:
    """The reader for a file that begins with these bytes and has this name.

    Raises
    ------
    SpectraError
        When there are no bytes, or no reader knows them.
    """
    if not head:
        raise SpectraError(f"{name} is empty; write the file again.")
    for reader in readers():
        if reader.recognises(head, name):
            return reader
    suffix = PurePath(name).suffix.lower()
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise SpectraError(f"{name} is an old Excel or another OLE file; save it as .xlsx or as comma-separated text.")
    if named := [reader.name for reader in readers() if suffix in reader.suffixes and suffix]:
        raise SpectraError(
            f"{name} is not what its name says ({named[0]}): it is not a text file, nor begins as such a file does."
        )
    raise SpectraError(f"{name} is not a text file, and no other format that is known; see docs/spectra.md.")
