"""A ZIP file from anywhere, read without believing it: its names stay inside, its sizes stay below a limit, nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from n4a_flows.storage.errors import BundleError, MissingFileError

MAX_BYTES: Final = 2 * 1024**3
"""What the members of a bundle may hold together, unless the caller says otherwise."""

MAX_MEMBERS: Final = 10_000
_MAX_NAME = 200
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+\-]+(/[A-Za-z0-9_.+\-]+)*")

# The end record of a ZIP file without a comment: signature, numbers of disks, entries, size and place of the directory.
_END = struct.Struct("<4s4H2LH")
_LOCATOR_OF_ZIP64 = b"PK\x06\x07"
_LOCATOR_SIZE = 20

# What zipfile raises for a file that is none, or is damaged.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
    ValueError,
    OverflowError,
    OSError,
)


class Archive:
    """The members of a bundle, by name. Every name has been looked at before anything is read.

    Attributes
    ----------
    names
        Names of the members, in their order.
    sha256
        Of the whole file.
    """

    def __init__(self, zip_file: zipfile.ZipFile, sha256: str, max_bytes: int) -> None:
        self.sha256 = sha256
        self._zip = zip_file
        self._max_bytes = max_bytes
        self._left = max_bytes
        members = zip_file.infolist()
        _refuse_unsafe(members)
        declared = sum(member.file_size for member in members)
        if declared > max_bytes:
            raise _too_big(max_bytes)
        self._members = {member.filename: member for member in members}
        self.names = list(self._members)

    def size(self, name: str) -> int:
        """Bytes that a member says it holds."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises
        ------
        BundleError
            When there is no such member, it is damaged, or what was read so far exceeds the limit.
        """
        member = self._members.get(name)
        if member is None:
            raise BundleError(f"The bundle has no {name}.")
        try:
            with self._zip.open(member) as file:
                # Never more than was promised, whatever the compressed bytes unfold to.
                data = file.read(min(member.file_size, self._left) + 1)
        except _DAMAGE as error:
            raise BundleError(f"The member {name} of the bundle is damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise _too_big(self._max_bytes)
        if len(data) != member.file_size:
            raise BundleError(f"The member {name} of the bundle is damaged: it does not hold as many bytes as it says.")
        return data


@contextmanager
def open_archive(path: str | os.PathLike[str], max_bytes: int) -> Iterator[Archive]:
    """The archive in a file.

    Raises
    ------
    MissingFileError
        When there is no such file.
    BundleError
        When it is no ZIP file, a name or an entry in it is unsafe, or it holds more than `max_bytes`.
    """
    path = Path(path)
    with _open(path) as file, archive_in(file, path.name, max_bytes) as archive:
        yield archive


@contextmanager
def archive_in(file: Any, name: str, max_bytes: int) -> Iterator[Archive]:
    """The archive in an open file; raises as `open_archive` does."""
    _refuse_odd_end(file, name)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        zip_file = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise BundleError(f"{name} is no bundle: its ZIP directory is damaged ({error}).") from error
    with zip_file:
        yield Archive(zip_file, sha256, max_bytes)


def _open(path: Path) -> BinaryIO:
    try:
        # Without waiting for anybody to write into a pipe; what is no file is refused at once.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no bundle {path}.") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"The bundle {path} cannot be read: {error}.") from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise BundleError(f"The bundle {path} is no file.")


def _refuse_odd_end(file: BinaryIO, name: str) -> None:
    """Look at the record that ends a ZIP file before zipfile believes it and reads a directory of any size."""
    size = file.seek(0, os.SEEK_END)
    tail_size = _END.size + _LOCATOR_SIZE
    file.seek(max(0, size - tail_size))
    tail = file.read(tail_size)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04" or len(tail) < tail_size:
        raise BundleError(f"{name} is no bundle: it is no ZIP file, or an empty one.")
    signature, disk, first_disk, entries_here, entries, directory, _, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment or disk or first_disk or entries_here != entries:
        raise BundleError(f"{name} is no bundle: its end is missing, or is not that of a ZIP file in one part.")
    if tail.startswith(_LOCATOR_OF_ZIP64) or entries > MAX_MEMBERS or directory > MAX_MEMBERS * 512:
        raise BundleError(f"{name} has more than {MAX_MEMBERS} members, or is too big for a bundle.")


def _refuse_unsafe(members: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for member in members:
        # As the file has it: zipfile cuts names at a NUL, and newer ones take another name that an entry may carry.
        name = member.orig_filename
        why = _unsafe(name, member)
        if why is None and name.casefold() in seen:
            why = "is there twice (or differs from another name in upper and lower case only)"
        if why is not None:
            raise BundleError(f"The bundle is refused: its member {name[:_MAX_NAME]!r} {why}.")
        seen.add(name.casefold())


def _unsafe(name: str, member: zipfile.ZipInfo) -> str | None:
    """What is wrong with an entry, or None."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "has an absolute name"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the bundle"
    if name != member.filename or len(name) > _MAX_NAME or not _PLAIN_NAME.fullmatch(name) or "." in name.split("/"):
        return "has a name that a bundle does not need (letters, digits, _ . + - and /, at most 200)"
    if kind not in (0, stat.S_IFREG):
        return "is a link or something else that is no file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    return None


def _too_big(max_bytes: int) -> BundleError:
    return BundleError(
        f"The bundle holds more than {max_bytes:,} bytes. Give a higher max_bytes if you expect one of this size."
    )
