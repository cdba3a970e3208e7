"""`read_spectra`: a file to `Spectra`."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from n4a_flows.spectra.contained import contained, deadline
from n4a_flows.spectra.guards import checked
from n4a_flows.spectra.model import Spectra
from n4a_flows.spectra.raw import Source
from n4a_flows.spectra.registry import HEAD, Reader, detect, readers
from n4a_flows.storage.axis import Signal, Unit
from n4a_flows.storage.errors import FileChangedError, MissingFileError, SpectraError
from n4a_flows.storage.places import Place, located

_QUICK = 2**22
"""Bytes of a text that is read without a watchdog, which would take longer than the text."""


def read_spectra(
    path: str | PathLike[str] | Place,
    *,
    target: str | Sequence[str] | None = None,
    unit: Unit | None = None,
    signal: Signal | None = None,
    id_column: str | None = None,
    name: str | None = None,
) -> Spectra:
    """Read a file of spectra: text, Excel, Parquet, NPZ, JCAMP-DX, Bruker OPUS, Galactic SPC, ASD or DPT.

    The format is told by the content first and by the name second. In a table, columns whose name is a number (also as
    `X950` or `950 nm`) are the points of the spectra. Of the others, one may hold the sample ids (called `sample_id`,
    `id` or `sample`, or the first column when it is text without repetition); without one, the ids are the name of the
    file and the number of the row. Columns of numbers are targets (empty, `NA` and `NaN` mean missing), columns of text
    are metadata. Tables with a spectrum per column and tables of two columns are read too.

    Parameters
    ----------
    path
        The file, or its URL such as `s3://bucket/a1.spc`.
    target
        Columns that must be there as targets; a column of text is then read as classes.
    unit
        Unit of the axis, when the file does not say it. Without either, the axis is taken to be in nm, or in cm-1 when its
        values can be nothing else.
    signal
        What the values are, when the file does not say it. Nothing is guessed or converted. Of a file that holds several
        signals, this one is read.
    id_column
        The column with the sample ids.
    name
        Name of the set; the stem of the file when left out.

    Returns
    -------
    Spectra
        A row that does not hold a whole spectrum of finite numbers is in `rejected`, with its line and the reason.

    Raises
    ------
    MissingFileError
        When the file does not exist.
    PlaceError
        When a URL cannot be reached.
    SpectraError
        When it is damaged, in no format that is known, holds no axis, no usable spectrum, an id twice, or not the columns
        asked for; the message says which.

    Examples
    --------
    >>> file = folder / "two.csv"
    >>> _ = file.write_text("sample_id,1000,1010,1020,fat\\na,0.1,0.2,0.3,12.5\\nb,0.2,,0.5,9.1\\n")
    >>> read_spectra(file, target="fat", signal="absorbance")
    Spectra('two': 1 samples, 3 points, 1000 to 1020 nm, targets: fat)
    >>> read_spectra(file).rejected
    [RejectedRow(row=2, line=3, reason="column '1010' has no value")]
    """
    with fetched(path) as (file, fetched_from):
        targets = (target,) if isinstance(target, str) else tuple(target or ())
        return read_file(file, targets, unit, signal, id_column, name, fetched_from)


@contextmanager
def fetched(path: str | PathLike[str] | Place) -> Iterator[tuple[Path, str]]:
    """A file on this machine: itself, or a copy of the same name that is fetched from its URL and removed afterwards.

    Yields
    ------
    The path, and the URL that it was fetched from (without credentials), empty when it lies here.

    Raises
    ------
    MissingFileError, PlaceError
        When there is no file at the URL, or it cannot be fetched.
    SpectraError
        When it is larger than any file of spectra may be; it is not fetched then.
    """
    where = located(path)
    if isinstance(where, Path):
        yield where, ""
        return
    limit = max(reader.max_bytes for reader in readers())
    if (size := where.size()) > limit:
        raise SpectraError(f"{where} is larger ({size >> 20} MiB) than a file may be ({limit >> 20} MiB); split it.")
    with TemporaryDirectory(prefix="n4a-fetched-") as folder:
        file = Path(folder) / where.name
        where.fetch(file)
        yield file, str(where)


def read_file(
    file: Path,
    targets: Sequence[str] = (),
    unit: Unit | None = None,
    signal: Signal | None = None,
    id_column: str | None = None,
    name: str | None = None,
    fetched_from: str = "",
    sha256: str | None = None,
) -> Spectra:
    """Read a file that lies on this machine, perhaps since it was fetched.

    Raises
    ------
    FileChangedError
        When its bytes have another SHA-256 than the one that is given.
    MissingFileError, SpectraError
        As `read_spectra` does.
    """
    data, reader = _opened(file, fetched_from or str(file))
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise FileChangedError(f"{fetched_from or file} changed since it was listed.")
    source = Source(file, data, targets, unit, signal, id_column, fetched_from)
    with contained(source, reader.name):
        with deadline(source) if reader.watched or len(data) > _QUICK else nullcontext():
            raw = reader.read(source)
        return checked(raw, source, name=name or file.stem, reader=reader.name, version=reader.version)


def readers_in_use() -> str:
    """Names and versions of the readers that are here: what one of them refused, others may be able to read."""
    return ", ".join(f"{reader.name} {reader.version}" for reader in readers() if reader.installed)


def known_suffixes() -> frozenset[str]:
    """What the names of files end in that some reader is for, in lower case with the dot."""
    return frozenset(suffix for reader in readers() for suffix in reader.suffixes)


def _opened(file: Path, shown: str) -> tuple[bytes, Reader]:
    """The bytes of a file and the reader for them; what is too large is not read."""
    try:
        before = os.stat(file)
        if not stat.S_ISREG(before.st_mode):
            # Opening a pipe would wait for somebody to write into it.
            raise SpectraError(f"{shown} is a folder or a device; name the file with the spectra.")
        with open(file, "rb", buffering=0) as stream:
            head = stream.read(HEAD)
            reader = detect(head, shown)
            if before.st_size > reader.max_bytes:
                raise SpectraError(
                    f"{shown} is larger ({before.st_size >> 20} MiB) than a file of this kind may be "
                    f"({reader.max_bytes >> 20} MiB); split it."
                )
            data = head if len(head) == before.st_size else head + stream.read(before.st_size)
            after = os.fstat(stream.fileno())
    except FileNotFoundError as error:
        raise MissingFileError(f"The file {shown} does not exist.") from error
    except OSError as error:
        raise SpectraError(f"{shown} cannot be read: {error.strerror or error}.") from error
    if len(data) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise FileChangedError(f"{shown} changed while it was read; read it again when it is complete.")
    return data, reader
