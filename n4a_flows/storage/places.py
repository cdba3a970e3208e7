"""Files that do not lie on this machine: URLs such as `s3://bucket/incoming`, by fsspec. Credentials in a URL are never shown.

A workspace is not among them: its locks and its database need a local disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from n4a_flows.storage.errors import InvalidInputError, MissingFileError, N4AError, PlaceError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::.*)?://")
_USER = re.compile(r"(?<=://)[^/\s@]*@")
_SIGNED = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""What is written there is there as a whole or not at all, and folders are only the beginnings of names."""

_ONLY_READ = frozenset({"http", "https", "github", "data", "zip", "tar"})

_MAGIC = re.compile(r"[*?\[]")


def is_url(text: str) -> bool:
    """Whether a text names a place by a URL, and not a path."""
    return _URL.match(text) is not None


def without_credentials(text: str, shown: str = "") -> str:
    """A text whose URLs have no user and password any more, and those of the web no query, which may be a signature."""
    return _SIGNED.sub(rf"\1{shown and '?'}{shown}", _USER.sub(f"{shown}@" if shown else "", text))


def located(where: str | os.PathLike[str] | Place) -> Path | Place:
    """A path as it is, a URL as a `Place`; a `file://` URL is a path.

    Raises
    ------
    InvalidInputError
        When a URL is one of several in a chain, or a `file://` URL of another machine.
    """
    if isinstance(where, Place | Path):
        return where
    text = os.fspath(where)
    if not is_url(text):
        return Path(text)
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in ("file", "local"):
        return Place(text)
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise InvalidInputError(f"{text!r} is no file of this machine: write file:///folder/file.")
    return Path("/" + unquote(path))


def on_this_machine(path: str | os.PathLike[str]) -> Path:
    """The absolute path of what must be a file or folder of this machine; `InvalidInputError` for another place."""
    where = located(path)
    if isinstance(where, Place):
        raise InvalidInputError(f"{where} is not on this machine, which it must be here: give a path.")
    return Path(os.path.abspath(where))


class Place:
    """A file or folder at a URL. It can be pickled and sent to workers, which use credentials of their own environment.

    Whatever is asked of it raises `MissingFileError` when there is no such file, and `PlaceError` when the place cannot be reached,
    refuses, or needs a package that is not installed.

    Parameters
    ----------
    url
        Where it is. A user and a password in it are used and never shown; better leave them to the environment.

    Raises
    ------
    InvalidInputError
        When the URL is one of several in a chain, or (once it is used) of no known kind.

    Examples
    --------
    >>> place = Place("memory://incoming/a1.csv")
    >>> place.write(b"1000,1010")
    >>> place.name, place.size(), [str(found) for found in Place("memory://incoming").files()]
    ('a1.csv', 9, ['memory://incoming/a1.csv'])
    >>> Place("sftp://lab:secret@instrument/incoming")  # doctest: +SKIP
    Place('sftp://instrument/incoming')
    """

    def __init__(self, url: str) -> None:
        self._url = url
        if "::" in url or not is_url(url):
            raise InvalidInputError(
                f"{without_credentials(url)!r} is no plain URL: give one such as s3://bucket/folder."
            )

    def __str__(self) -> str:
        return without_credentials(self._url)

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[type[Place], tuple[str]]:
        return Place, (self._url,)

    @property
    def scheme(self) -> str:
        """The kind of place, such as `s3`."""
        return self._url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self._parts.name

    @property
    def suffix(self) -> str:
        """What the name ends in, with the dot."""
        return self._parts.suffix

    @property
    def stem(self) -> str:
        """The name without that."""
        return self._parts.stem

    @property
    def parent(self) -> Place:
        """The folder that it lies in."""
        return Place(self._url.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> Place:
        """A place of this name in the same folder."""
        return self.parent / name

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self._url.rstrip('/')}/{name}")

    @property
    def whole(self) -> bool:
        """Whether a file there is always complete: it appears with all its bytes, or not at all."""
        return self.scheme in _OBJECT_STORES

    # ---------------------------------------------------------------------- looking

    def is_file(self) -> bool:
        """Whether there is a file."""
        with self._explained("looked at"):
            return bool(self._fs.isfile(self._path))

    def is_folder(self) -> bool:
        """Whether there is a folder: in an object store, whether any name begins so."""
        with self._explained("looked at"):
            self._fs.invalidate_cache()
            return bool(self._fs.isdir(self._path))

    def may_be_an_empty_folder(self) -> bool:
        """Whether it is written as a folder of an object store, which has none: nothing can be told from finding nothing."""
        return self.whole and self._url.endswith("/")

    def size(self) -> int:
        """Size of the file in bytes; `MissingFileError` when there is none."""
        with self._explained("looked at"):
            return int(self._fs.size(self._path) or 0)

    def state(self) -> tuple[int, str] | None:
        """What changes when the file is written to; None when there is none."""
        with self._explained("looked at"):
            try:
                self._fs.invalidate_cache()
                found = self._fs.info(self._path)
            except FileNotFoundError:
                return None
        return int(found.get("size") or 0), str(
            [found.get(key) for key in ("ETag", "mtime", "LastModified", "created")]
        )

    def files(self) -> Iterator[Place]:
        """All files of the folder and its sub-folders, sorted."""
        with self._explained("listed"):
            self._fs.invalidate_cache()
            names = sorted(self._fs.find(self._path))
        start = len(self._path.rstrip("/")) + 1
        return (self / name[start:] for name in names if len(name) > start)

    def sizes(self) -> dict[str, int]:
        """Sizes in bytes of all files of the folder and its sub-folders, by their path inside it."""
        with self._explained("listed"):
            self._fs.invalidate_cache()
            found = self._fs.find(self._path, detail=True)
        start = len(self._path.rstrip("/")) + 1
        return {name[start:]: int(info.get("size") or 0) for name, info in found.items() if len(name) > start}

    def matches(self) -> Iterator[Place] | None:
        """The files that a glob names, sorted; None when the URL is no glob."""
        head = _MAGIC.split(self._url.partition("://")[2])[0]
        if head == self._url.partition("://")[2]:
            return None
        folder = Place(f"{self._url.partition('://')[0]}://{head.rpartition('/')[0]}")
        with self._explained("listed"):
            self._fs.invalidate_cache()
            found = sorted(self._fs.glob(self._path, detail=True).items())
        start = len(folder._path.rstrip("/")) + 1
        return (folder / name[start:] for name, info in found if info["type"] == "file")

    # ---------------------------------------------------------------------- bytes

    def read(self) -> bytes:
        """The bytes of the file; `MissingFileError` when there is none."""
        with self._explained("read"):
            return bytes(self._fs.cat_file(self._path))

    def sha256(self) -> str:
        """SHA-256 of the bytes of the file, 64 hex digits, without having all of it in memory."""
        with self._explained("read"), self._fs.open(self._path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def fetch(self, target: Path) -> None:
        """Copy the file to this machine, without having all of it in memory."""
        with self._explained("read"):
            self._fs.get_file(self._path, str(target))

    def write(self, data: bytes) -> None:
        """Write the whole file or nothing: an object store does, elsewhere it gets its name when it is complete."""
        self._put(lambda path: self._fs.pipe_file(path, data))

    def put(self, source: Path) -> None:
        """Copy a file of this machine there, as `write` does."""
        self._put(lambda path: self._fs.put_file(str(source), path))

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with self._explained("removed"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path)

    def move(self, target: Place) -> None:
        """Give the file another name in the same place."""
        self._refuse_only_read()
        with self._explained("moved"):
            self._fs.makedirs(target.parent._path, exist_ok=True)
            self._fs.mv(self._path, target._path)

    def _put(self, write: Any) -> None:
        self._refuse_only_read()
        with self._explained("written"):
            if self.whole:
                write(self._path)
                return
            temporary = self.with_name(f".tmp-{os.urandom(8).hex()}")
            self._fs.makedirs(self.parent._path, exist_ok=True)
            try:
                write(temporary._path)
                self._fs.mv(temporary._path, self._path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(temporary._path)
                raise

    def _refuse_only_read(self) -> None:
        if self.scheme in _ONLY_READ:
            raise PlaceError(f"{self} can only be read: {self.scheme} takes no files. Name another place to write to.")

    # ---------------------------------------------------------------------- fsspec

    @property
    def _parts(self) -> PurePosixPath:
        path = self._url.partition("://")[2]
        return PurePosixPath(path.partition("?")[0] if self.scheme in ("http", "https") else path)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        with self._explained("reached"):
            try:
                found, path = fsspec.core.url_to_fs(self._url)
            except ImportError as error:
                extra = "pip install 'n4a-flows[s3]'" if self.scheme in ("s3", "s3a") else str(error)
                raise PlaceError(f"{self} needs a package that is not here: {extra}.") from error
            except ValueError as error:
                raise InvalidInputError(
                    f"{self} is no place that is known: there is no scheme {self.scheme!r}."
                ) from error
        return found, str(path)

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _path(self) -> str:
        return self._opened[1]

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """What goes wrong out there as an error of ours, without what a library quotes of the URL."""
        try:
            yield
        except N4AError:
            raise
        except FileNotFoundError as error:
            raise MissingFileError(f"There is no {self}: check the URL.") from error
        except NotImplementedError as error:
            raise PlaceError(f"{self} cannot be {done}: {self.scheme} offers no such thing.") from error
        except Exception as error:  # noqa: BLE001 - libraries raise anything
            said = " ".join(without_credentials(str(error)).split())[:300] or type(error).__name__
            # Not from it: a traceback would show what is hidden here.
            raise PlaceError(
                f"{self} cannot be {done} ({said}). Check the URL, the network and the credentials."
            ) from None


def read_bytes(where: Path | Place) -> bytes:
    """The bytes of a file here or elsewhere."""
    return where.read() if isinstance(where, Place) else where.read_bytes()


def size_of(where: Path | Place) -> int:
    """Size in bytes of a file here or elsewhere."""
    return where.size() if isinstance(where, Place) else where.stat().st_size
