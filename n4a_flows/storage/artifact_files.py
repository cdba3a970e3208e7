"""The folder `artifacts/`: files named by the SHA-256 of their bytes, written whole and durably or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from n4a_flows.storage.codecs import SerializedArtifact, content_hash, extension
from n4a_flows.storage.durable_files import write_all_durably
from n4a_flows.storage.errors import ArtifactCorruptError, ArtifactMissingError, InvalidInputError, WorkspaceError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedArtifact:
    """An artifact whose file is on disk already; `WorkspaceStore.save_artifact` adds its row.

    It keeps the bytes, so that a file which a clean-up removed in between is written again before the commit.

    Attributes
    ----------
    serialized
        The bytes and what they are.
    relative_path
        The file, relative to `artifacts/`: `<first two digits of the hash>/<hash>.<extension of the format>`.
    """

    serialized: SerializedArtifact
    relative_path: str


_TOGETHER = 256
"""Files that wait at most, in a transaction, to be written together."""


def prepared_unwritten(artifact: SerializedArtifact) -> PreparedArtifact:
    """What `ArtifactFiles.write` gives, with the file still to be written."""
    digest = artifact.content_hash
    return PreparedArtifact(artifact, f"{digest[:2]}/{digest}{extension(artifact.format)}")


class ArtifactFiles:
    """The folder `artifacts/`: bytes in, atomically and durably; verified bytes out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, relative_path: str) -> Path:
        """Absolute path of a file; whether it exists is not checked.

        Raises
        ------
        InvalidInputError
            When the path leads out of the folder.
        """
        if os.path.isabs(relative_path) or ".." in Path(relative_path).parts:
            raise InvalidInputError(f"The artifact path {relative_path!r} leads out of the workspace.")
        return self.folder / relative_path

    def relative(self, path: str) -> str:
        """A path below the folder, absolute or not, as the rows hold it; `InvalidInputError` when it leads out."""
        absolute = Path(path)
        if absolute.is_absolute() and absolute.is_relative_to(self.folder):
            path = str(absolute.relative_to(self.folder))
        self.path(path)
        return path

    def write(self, artifact: SerializedArtifact) -> PreparedArtifact:
        """Put the bytes on disk under their hash, unless they are there already.

        A file whose bytes no longer fit its name is replaced.

        Raises
        ------
        WorkspaceError
            When the disk refuses; no half file is left.
        """
        return self.write_many([artifact])[0]

    def write_many(self, artifacts: Sequence[SerializedArtifact]) -> list[PreparedArtifact]:
        """`write` for many at once, which a disk syncs together."""
        prepared = [prepared_unwritten(one) for one in artifacts]
        self.write_at_once({one.relative_path: one.serialized for one in prepared})
        return prepared

    def write_at_once(self, wanted: Mapping[str, SerializedArtifact]) -> None:
        """Write files that are not there with these very bytes."""
        absent = [(path, one.data) for path, one in wanted.items() if not self._holds(path, one.content_hash)]
        try:
            write_all_durably(self.folder, absent)
        except OSError as error:
            raise WorkspaceError(f"Artifacts cannot be written to {self.folder}: {error.strerror}.") from error

    def ensure(self, wanted: Mapping[str, SerializedArtifact]) -> None:
        """Write those of the files again that have gone since they were prepared."""
        self.write_at_once(
            {path: artifact for path, artifact in wanted.items() if not self._is_there(path, len(artifact.data))}
        )

    def _is_there(self, relative_path: str, size: int) -> bool:
        try:
            return self.path(relative_path).stat().st_size == size
        except OSError:
            return False

    def remove(self, relative_paths: Iterable[str]) -> None:
        """Remove files; what cannot be removed is left as an orphan and logged."""
        for relative_path in relative_paths:
            path = self.path(relative_path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("The file %s is not needed any more, but cannot be removed: %s", path, error.strerror)

    def remove_empty_folders(self) -> None:
        """Remove the folders that hold nothing; whoever is about to write into one makes it again."""
        for folder in self.folder.iterdir():
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def read(self, relative_path: str, expected_hash: str) -> bytes:
        """The bytes of a file, after comparing them with the hash that was recorded.

        Raises
        ------
        ArtifactMissingError, ArtifactCorruptError
        """
        path = self.path(relative_path)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissingError(
                f"The artifact file {path} is missing, though the workspace records it. Restore it from a backup."
            ) from error
        except OSError as error:
            raise WorkspaceError(f"The artifact file {path} cannot be read: {error.strerror}.") from error
        if content_hash(data) != expected_hash:
            raise ArtifactCorruptError(
                f"The artifact file {path} is damaged: its bytes do not match the recorded SHA-256. It is not loaded. "
                "Restore it from a backup, or save the same object again."
            )
        return data

    def _holds(self, relative_path: str, expected_hash: str) -> bool:
        try:
            return content_hash(self.path(relative_path).read_bytes()) == expected_hash
        except OSError:
            return False


class NeededFiles:
    """The files that a transaction needs; called before its commit."""

    def __init__(self, folder: ArtifactFiles) -> None:
        self._folder = folder
        self._needed: dict[str, SerializedArtifact] = {}
        self._unwritten: dict[str, SerializedArtifact] = {}

    def __call__(self) -> None:
        self.write()
        # A clean-up may have taken one that was prepared before the transaction began.
        self._folder.ensure(self._needed)

    def need(self, path: str, artifact: SerializedArtifact, *, unwritten: bool) -> None:
        """Note a file; many that are unwritten are written now."""
        self._needed[path] = artifact
        if unwritten:
            self._unwritten[path] = artifact
            if len(self._unwritten) >= _TOGETHER:
                self.write()

    def write(self) -> None:
        """Write what is unwritten."""
        self._folder.write_at_once(self._unwritten)
        self._unwritten.clear()
