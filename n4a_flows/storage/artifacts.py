"""Content-addressed binaries: files named by the SHA-256 of their bytes, and the rows that describe them."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from n4a_flows.storage.clock import now
from n4a_flows.storage.codecs import SerializedArtifact, content_hash, extension
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    InvalidInputError,
    UnknownIdError,
    WorkspaceError,
)
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

TEMPORARY_PREFIX = ".tmp-"


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


@dataclass(frozen=True)
class StoredArtifact:
    """The verified bytes of one artifact, and what is needed to load them. Picklable, for workers."""

    artifact_id: str
    data: bytes
    content_hash: str
    format: str
    operator_class: str
    artifact_type: str


_AT_ONCE = 8
"""Files that are written and synced at the same time."""


def _relative_path(artifact: SerializedArtifact) -> str:
    return f"{artifact.content_hash[:2]}/{artifact.content_hash}{extension(artifact.format)}"


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
        relative = _relative_path(artifact)
        self._write_if_absent(relative, artifact)
        return PreparedArtifact(artifact, relative)

    def write_many(self, artifacts: Sequence[SerializedArtifact]) -> list[PreparedArtifact]:
        """`write` for many at once, several at a time: a disk syncs a few files together in the time it takes for one."""
        prepared = [PreparedArtifact(one, _relative_path(one)) for one in artifacts]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="n4a-write") as pool:
            # Each path once: two threads would replace each other's file.
            distinct = {one.relative_path: one.serialized for one in prepared}
            for written in [pool.submit(self._write_if_absent, *pair) for pair in distinct.items()]:
                written.result()
        return prepared

    def ensure(self, relative_path: str, artifact: SerializedArtifact) -> None:
        """Write the file again if it has gone since it was prepared."""
        with contextlib.suppress(OSError):
            if self.path(relative_path).stat().st_size == len(artifact.data):
                return
        self._write_if_absent(relative_path, artifact)

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

    def _write_if_absent(self, relative_path: str, artifact: SerializedArtifact) -> None:
        target = self.path(relative_path)
        with contextlib.suppress(OSError):
            if content_hash(target.read_bytes()) == artifact.content_hash:
                return
        try:
            write_durably(target, artifact.data)
        except OSError as error:
            raise WorkspaceError(f"The artifact file {target} cannot be written: {error.strerror}.") from error


def write_durably(target: Path, data: bytes) -> None:
    """Write a whole file or nothing: temporary name, fsync, rename, fsync of the folder."""
    folder = target.parent
    temporary = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with _open_new(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def _open_new(path: Path) -> BinaryIO:
    for _ in range(5):
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
        # A clean-up may remove the empty folder before the file is in it.
        with contextlib.suppress(FileNotFoundError):
            return path.open("xb")
    return path.open("xb")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder (or the bytes of a file) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save(session: Session, files: ArtifactFiles, prepared: PreparedArtifact) -> str:
    """Record a prepared artifact: a new row, or one more reference to the row that has the same bytes."""
    artifact = prepared.serialized
    found = _by_hash(session, artifact.content_hash)
    if found is None:
        found = (str(uuid.uuid4()), prepared.relative_path)
        insert(
            session,
            artifact_id=found[0],
            artifact_path=found[1],
            content_hash=artifact.content_hash,
            operator_class=artifact.operator_class,
            artifact_type=artifact.artifact_type,
            format=artifact.format,
            size_bytes=len(artifact.data),
        )
        _known(session)[artifact.content_hash] = found
    artifact_id, relative_path = found
    saves: Counter[str] = session.memo.setdefault("saves", Counter())
    saves[artifact_id] += 1
    session.defer("count saves", lambda: _count_saves(session, saves))
    session.before_commit.setdefault(artifact_id, lambda: files.ensure(relative_path, artifact))
    return artifact_id


def save_many(session: Session, files: ArtifactFiles, prepared: Sequence[PreparedArtifact]) -> list[str]:
    """`save` for many, which are looked up together."""
    known = _known(session)
    wanted = list({item.serialized.content_hash for item in prepared} - known.keys())
    if wanted:
        sql = (
            "SELECT content_hash, artifact_id, artifact_path FROM artifacts WHERE list_contains(?, content_hash) "
            "ORDER BY created_at DESC"
        )
        known.update(dict.fromkeys(wanted))
        # Of several rows with the same bytes the first one counts.
        known.update({digest: (artifact_id, path) for digest, artifact_id, path in session.written(sql, [wanted])})
    return [save(session, files, item) for item in prepared]


def _known(session: Session) -> dict[str, tuple[str, str] | None]:
    """Id and path of artifacts by content hash, of those looked up in this transaction; None for what has no row."""
    known: dict[str, tuple[str, str] | None] = session.memo.setdefault("artifact of hash", {})
    return known


def _by_hash(session: Session, digest: str) -> tuple[str, str] | None:
    known = _known(session)
    if digest not in known:
        sql = "SELECT artifact_id, artifact_path FROM artifacts WHERE content_hash = ? ORDER BY created_at LIMIT 1"
        known[digest] = next(iter(session.written(sql, [digest])), None)
    return known[digest]


_SAVES = pa.schema([("artifact_id", pa.string()), ("saves", pa.int32()), ("saved_at", pa.timestamp("us"))])


def _count_saves(session: Session, saves: Counter[str]) -> None:
    saved_at = now()
    rows = [{"artifact_id": key, "saves": count, "saved_at": saved_at} for key, count in saves.items()]
    saves.clear()
    session.execute_with(
        "UPDATE artifacts SET ref_count = ref_count + saves FROM collected WHERE artifacts.artifact_id = collected.artifact_id",
        rows,
        _SAVES,
    )
    session.execute_with(
        "INSERT OR REPLACE INTO artifact_saves SELECT artifact_id, saved_at FROM collected", rows, _SAVES
    )


def insert(session: Session, **row: object) -> None:
    """Add a row to `artifacts`, with no reference yet."""
    session.append("artifacts", {**row, "ref_count": 0, "created_at": now()})


def row_of(session: Session, artifact_id: str) -> dict[str, object]:
    """The row of an artifact; `UnknownIdError` when there is none."""
    row = session.one("SELECT * FROM artifacts WHERE artifact_id = ?", [artifact_id])
    if row is None:
        raise UnknownIdError(f"No artifact has the id {artifact_id!r} in this workspace.")
    return row


def rows_of(session: Session, artifact_ids: Iterable[str]) -> dict[str, dict[str, object]]:
    """The rows of artifacts by id; `UnknownIdError` names those that do not exist."""
    wanted = list(dict.fromkeys(artifact_ids))
    rows = session.dicts("SELECT * FROM artifacts WHERE list_contains(?, artifact_id)", [wanted]) if wanted else []
    found = {row["artifact_id"]: row for row in rows}
    _refuse_unknown(artifact_id for artifact_id in wanted if artifact_id not in found)
    return found


def existing(session: Session, artifact_ids: Iterable[str]) -> set[str]:
    """Those of the ids that have a row."""
    sql = "SELECT artifact_id FROM artifacts WHERE list_contains(?, artifact_id)"
    return {str(row[0]) for row in session.rows(sql, [list(artifact_ids)])}


def known_hashes(session: Session, content_hashes: Iterable[str]) -> int:
    """How many of these bytes are recorded."""
    sql = "SELECT count(DISTINCT content_hash) FROM artifacts WHERE list_contains(?, content_hash)"
    return int(session.rows(sql, [list(content_hashes)])[0][0])


def hashes_of(session: Session, artifact_ids: Iterable[str]) -> dict[str, str]:
    """Content hashes of artifacts by id; `UnknownIdError` names those that do not exist."""
    known = {found[0]: digest for digest, found in _known(session).items() if found is not None}
    wanted = dict.fromkeys(artifact_ids)
    others = [artifact_id for artifact_id in wanted if artifact_id not in known]
    if others:
        sql = "SELECT artifact_id, content_hash FROM artifacts WHERE list_contains(?, artifact_id)"
        known.update(session.rows(sql, [others]))
    _refuse_unknown(artifact_id for artifact_id in wanted if artifact_id not in known)
    return {artifact_id: known[artifact_id] for artifact_id in wanted}


def _refuse_unknown(artifact_ids: Iterable[str]) -> None:
    unknown = ", ".join(map(repr, artifact_ids))
    if unknown:
        raise UnknownIdError(f"No artifact has the id {unknown} in this workspace.")


def stored(session: Session, files: ArtifactFiles, artifact_ids: Iterable[str]) -> dict[str, StoredArtifact]:
    """The verified bytes of artifacts by id.

    They are read while the store is held, so that no clean-up takes a file between its row and its bytes.
    """
    return {
        artifact_id: StoredArtifact(
            artifact_id=artifact_id,
            data=files.read(str(row["artifact_path"]), str(row["content_hash"])),
            content_hash=str(row["content_hash"]),
            format=str(row["format"]),
            operator_class=str(row["operator_class"] or ""),
            artifact_type=str(row["artifact_type"] or ""),
        )
        for artifact_id, row in rows_of(session, artifact_ids).items()
    }


def register(session: Session, **row: object) -> None:
    """Add the row of an artifact whose file is there already, with one reference; a known id is left as it is."""
    if not session.rows("SELECT 1 FROM artifacts WHERE artifact_id = ?", [row["artifact_id"]]):
        moment, digest = now(), str(row["content_hash"])
        if _by_hash(session, digest) is None:
            _known(session)[digest] = (str(row["artifact_id"]), str(row["artifact_path"]))
        session.append("artifacts", {**row, "ref_count": 1, "created_at": moment})
        session.append("artifact_saves", {"artifact_id": row["artifact_id"], "saved_at": moment})


def set_cache_key(
    session: Session,
    artifact_id: str,
    chain_path_hash: str | None,
    input_data_hash: str | None,
    dataset_hash: str | None,
) -> None:
    """Note what an artifact was fitted by and on."""
    row_of(session, artifact_id)
    session.execute(
        "UPDATE artifacts SET chain_path_hash = ?, input_data_hash = ?, dataset_hash = ? WHERE artifact_id = ?",
        [chain_path_hash, input_data_hash, dataset_hash, artifact_id],
    )


def cached(session: Session, chain_path_hash: str, input_data_hash: str) -> str | None:
    """The latest artifact with this cache key that has a reference, or None."""
    rows = session.rows(
        "SELECT artifact_id FROM artifacts WHERE chain_path_hash = ? AND input_data_hash = ? AND ref_count > 0 "
        "ORDER BY created_at DESC, rowid DESC LIMIT 1",
        [chain_path_hash, input_data_hash],
    )
    return str(rows[0][0]) if rows else None


def forget_dataset(session: Session, dataset_hash: str) -> int:
    """Remove the cache keys of artifacts that were fitted on a dataset; returns how many had one."""
    return session.changed(
        "UPDATE artifacts SET chain_path_hash = NULL, input_data_hash = NULL "
        "WHERE dataset_hash = ? AND chain_path_hash IS NOT NULL",
        [dataset_hash],
    )
