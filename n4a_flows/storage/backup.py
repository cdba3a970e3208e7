"""Backup and restore: one consistent copy of database and artifacts in a folder, and the way back.

A backup folder holds `artifacts/` as a workspace does, the database as `store.<start of its SHA-256>.duckdb`, `backup.lock` (whose
backups these are, and the lock of whoever writes or restores them) and `backup.json`, which is written last and in one rename. So
until a backup is whole the one before it counts, and a folder without `backup.json` is no backup.

Writers wait only while the database is copied. The artifacts are copied afterwards: files are never changed, and a clean-up
removes none meanwhile, for a backup that copies holds `store.duckdb.backup` beside the database shared.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from n4a_flows.storage import migrations, schema
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.clock import now
from n4a_flows.storage.database import FILE_NAME, Database
from n4a_flows.storage.durable_files import TEMPORARY_PREFIX, sync_folder, write_all_durably, write_durably
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    InvalidInputError,
    MissingFileError,
    N4AError,
    SchemaError,
    StoreBusyError,
    WorkspaceError,
)
from n4a_flows.storage.places import Place
from n4a_flows.storage.session import Session
from n4a_flows.storage.texts import refuse_odd_path

LOCK_NAME = FILE_NAME + ".backup"
SUMMARY_NAME = "backup.json"
OWNER_NAME = "backup.lock"
_COPYING_NAME = "store.copying.duckdb"
_KINDS = {"schema_version": int, "created": str, "database_sha256": str, "artifacts": int}


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds, and what was copied for it.

    Attributes
    ----------
    target
        Absolute path of the backup folder, or its URL.
    created
        When the database was copied (naive UTC): what was committed before is in the backup.
    database_bytes
        Size of the database copy.
    artifacts, artifact_bytes
        Artifact files of the backup, and their size.
    copied_artifacts, copied_bytes
        Those of them that an earlier backup had not brought there yet.
    rows
        Rows by table.
    """

    target: Path | Place
    created: datetime
    database_bytes: int
    artifacts: int
    artifact_bytes: int
    copied_artifacts: int
    copied_bytes: int
    rows: Mapping[str, int]


@dataclass(frozen=True)
class RestoreReport:
    """What a restore put in place.

    Attributes
    ----------
    workspace
        Absolute path of the new workspace folder.
    created
        When the backup was made (naive UTC).
    database_bytes
        Size of the database.
    artifacts, artifact_bytes
        Artifact files, and their size.
    rows
        Rows by table.
    """

    workspace: Path
    created: datetime
    database_bytes: int
    artifacts: int
    artifact_bytes: int
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """What `backup.json` says."""

    schema_version: int
    created: str
    database_sha256: str
    artifacts: int


@dataclass(frozen=True)
class _Contents:
    """What a database copy says that there is: rows by table, and content hashes by artifact path."""

    rows: dict[str, int]
    artifacts: dict[str, str]


# ---------------------------------------------------------------------- backup and clean-up keep out of each other's way


@contextlib.contextmanager
def holding_off_gc(workspace: Path) -> Iterator[None]:
    """Keep every clean-up from removing artifact files. Entered while the store is held, left at any time."""
    with locked(workspace / LOCK_NAME, fcntl.LOCK_SH, "A clean-up removes artifacts; try the backup again."):
        yield


def refuse_during_backup(workspace: Path) -> None:
    """Raise `StoreBusyError` while a backup copies artifacts; for whoever has the store to write and is about to remove some.

    No backup can begin before the store is given back, so looking once is enough. It does not wait, for everybody would wait for
    the store with it.
    """
    path = workspace / LOCK_NAME
    if path.exists():
        busy = f"Nothing was removed, for a backup of {workspace} is copying the artifacts. Try again when it is done."
        with locked(path, fcntl.LOCK_EX, busy):
            pass


@contextlib.contextmanager
def locked(path: Path, kind: int, busy: str, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """Hold the lock of a file; `StoreBusyError` when others do."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(busy) from None
        yield descriptor
    finally:
        # Unlocked explicitly: a forked child may have a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


# ---------------------------------------------------------------------- backup


def backup(database: Database, files: ArtifactFiles, target: str | os.PathLike[str], timeout: float) -> BackupReport:
    """Copy database and artifacts of a workspace into a folder; see `WorkspaceStore.backup`."""
    workspace = database.path.parent
    folder = Path(os.path.realpath(target))
    refuse_odd_path(folder)
    if folder.is_relative_to(workspace) or workspace.is_relative_to(folder):
        raise InvalidInputError(
            f"The backup cannot go to {folder}, for that lies inside the workspace {workspace} or holds it. "
            "Choose a folder elsewhere."
        )
    with database.session(write=True, operation="backup", timeout=timeout) as session:
        identity = identity_of(session)
    with (
        explained(f"The backup to {folder} did not finish, what an earlier one brought there is still whole"),
        _claimed(folder, identity),
    ):
        return _fill(database, files, folder, timeout)


def identity_of(session: Session) -> str:
    """What tells this workspace from others, wherever it is moved; a workspace begun anew in the same place has another."""
    rows = session.rows("SELECT value FROM meta WHERE key = 'workspace_id'")
    if rows:
        return str(rows[0][0])
    identity = str(uuid.uuid4())
    session.execute("INSERT INTO meta VALUES ('workspace_id', ?)", [identity])
    return identity


@contextlib.contextmanager
def _claimed(folder: Path, identity: str) -> Iterator[None]:
    """Have the backup folder to oneself, after a look at whose it is."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"The backup cannot go to {folder}, for that is a file. Choose a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / OWNER_NAME
    if not lock.exists() and any(folder.iterdir()):
        raise InvalidInputError(
            f"The backup cannot go to {folder}, for that holds something else. Choose another folder."
        )
    with locked(lock, fcntl.LOCK_EX, f"Another process uses the backup in {folder}. Try again later.") as descriptor:
        owner = os.pread(descriptor, 100, 0).decode()
        if owner not in ("", identity):
            raise InvalidInputError(
                f"The backup cannot go to {folder}, for that holds backups of another workspace. Choose another folder."
            )
        os.pwrite(descriptor, identity.encode(), 0)
        os.fsync(descriptor)
        yield


def _fill(database: Database, files: ArtifactFiles, folder: Path, timeout: float) -> BackupReport:
    copy = folder / _COPYING_NAME
    copy.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        stack.callback(copy.unlink, missing_ok=True)
        with database.held(operation="backup", timeout=timeout):
            stack.enter_context(holding_off_gc(database.path.parent))
            created = now()
            contents = copy_database(database, copy, timeout)
        sizes, copied = _copy_artifacts(files, ArtifactFiles(folder / "artifacts"), contents.artifacts)
        sync_folder(copy)
        digest = digest_of(copy)
        copy.replace(folder / database_name(digest))
        sync_folder(folder)
    summary = Summary(schema.SCHEMA_VERSION, created.isoformat(), digest, len(sizes))
    write_durably(folder / SUMMARY_NAME, json.dumps(asdict(summary), indent=2).encode())
    _forget_earlier(folder, digest, sizes)
    return BackupReport(
        target=folder,
        created=created,
        database_bytes=(folder / database_name(digest)).stat().st_size,
        artifacts=len(sizes),
        artifact_bytes=sum(sizes.values()),
        copied_artifacts=len(copied),
        copied_bytes=sum(sizes[path] for path in copied),
        rows=contents.rows,
    )


def copy_database(database: Database, copy: Path, timeout: float) -> _Contents:
    """Copy the file while the store is held; other programs cannot write to it either, for DuckDB has it open to read."""
    path = database.path
    if _journals(path):
        # A killed process left a write-ahead log: opening to write works it off.
        with database.opened(path, write=True, operation="backup", timeout=timeout):
            pass
    # Opened before DuckDB opens it and closed afterwards: closing it earlier would drop DuckDB's lock.
    with path.open("rb") as source, database.opened(path, write=False, operation="backup", timeout=timeout):
        if _journals(path):
            raise StoreBusyError(
                f"Another program wrote to {path} meanwhile. Close it there, then try the backup again."
            )
        with copy.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    with database.opened(copy, write=False, operation="backup", timeout=timeout) as session:
        return _contents(session)


def _journals(path: Path) -> list[Path]:
    return list(path.parent.glob(path.name + ".wal*"))


def _contents(session: Session) -> _Contents:
    version = schema.version_of(session)
    if version is None:
        raise SchemaError("The database of the backup holds no tables, so it is none of a workspace.")
    schema.refuse_newer(version)
    with migrations.shown_as_current(session):
        rows = {table: int(session.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in schema.COLUMNS}
    return _Contents(
        rows, dict(session.rows("SELECT artifact_path, content_hash FROM artifacts ORDER BY artifact_path"))
    )


def _copy_artifacts(
    source: ArtifactFiles, target: ArtifactFiles, artifacts: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Bring the files to the target that are not whole there yet; returns the size of each, and which were copied."""
    sizes: dict[str, int] = {}
    copied: list[str] = []

    def lacking() -> Iterator[tuple[str, bytes]]:
        for path, digest in artifacts.items():
            try:
                data = target.read(path, digest)
            except (ArtifactMissingError, ArtifactCorruptError):
                data = source.read(path, digest)
                copied.append(path)
                yield path, data
            sizes[path] = len(data)

    write_all_durably(target.folder, lacking())
    return sizes, copied


def _forget_earlier(folder: Path, digest: str, artifacts: Mapping[str, int]) -> None:
    """Remove what only an earlier backup needed, or an interrupted one left."""
    patterns = ("store.*.duckdb", f"{TEMPORARY_PREFIX}*")
    beside = {path.name for pattern in patterns for path in folder.glob(pattern)} - {database_name(digest)}
    names = {f"artifacts/{path}" for path in artifacts}
    present = {str(path.relative_to(folder)) for path in (folder / "artifacts").rglob("*") if not path.is_dir()}
    ArtifactFiles(folder).remove(sorted(beside | (present - names)))


def database_name(digest: str) -> str:
    """What the copy of a database is called, by its SHA-256."""
    return f"store.{digest[:16]}.duckdb"


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """What the system refuses as an error of ours, which begins so."""
    try:
        yield
    except N4AError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise WorkspaceError(f"{what}: {error.strerror or error}{where}. Mend that, then try again.") from error


# ---------------------------------------------------------------------- restore


def restore(
    backup_folder: str | os.PathLike[str], target: str | os.PathLike[str], *, dry_run: bool = False
) -> RestoreReport:
    """Make a workspace of a backup; see `WorkspaceStore.restore`."""
    source, workspace = Path(os.path.realpath(backup_folder)), Path(os.path.realpath(target))
    for path in (source, workspace):
        refuse_odd_path(path)
    if workspace.is_relative_to(source):
        raise InvalidInputError(f"A backup cannot be restored into itself ({workspace}). Choose a folder elsewhere.")
    if workspace.exists() and not (workspace.is_dir() and not any(workspace.iterdir())):
        raise InvalidInputError(
            f"A backup is restored into a new or an empty folder, and {workspace} is neither. Move it away, or choose another."
        )
    if not (source / SUMMARY_NAME).is_file():
        raise MissingFileError(f"There is no finished backup in {source}: it holds no {SUMMARY_NAME}.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(explained(f"The backup in {source} was not restored"))
        lock = source / OWNER_NAME
        if lock.exists():
            busy = f"A backup to {source} is being made. Try again when it is done."
            stack.enter_context(locked(lock, fcntl.LOCK_SH, busy, os.O_RDONLY))
        summary = read_summary(source / SUMMARY_NAME)
        contents = _verified(source, summary)
        if not dry_run:
            _put_in_place(source, workspace, summary, contents)
        sizes = [(source / "artifacts" / path).stat().st_size for path in contents.artifacts]
        return RestoreReport(
            workspace=workspace,
            created=datetime.fromisoformat(summary.created),
            database_bytes=(source / database_name(summary.database_sha256)).stat().st_size,
            artifacts=len(sizes),
            artifact_bytes=sum(sizes),
            rows=contents.rows,
        )


def read_summary(path: Path) -> Summary:
    """What `backup.json` says; `WorkspaceError` when it is damaged."""
    try:
        said = json.loads(path.read_bytes())
        summary = Summary(**{key: kind(said[key]) for key, kind in _KINDS.items()})
        datetime.fromisoformat(summary.created)
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceError(f"{path} is damaged, so the backup was not restored. Use another backup.") from error
    if not re.fullmatch("[0-9a-f]{64}", summary.database_sha256):
        raise WorkspaceError(f"{path} is damaged: it holds no SHA-256 of the database. Use another backup.")
    return summary


def _verified(source: Path, summary: Summary) -> _Contents:
    """What the backup holds, after every byte of it was compared with its hash."""
    schema.refuse_newer(summary.schema_version)
    path = source / database_name(summary.database_sha256)
    if not path.is_file() or digest_of(path) != summary.database_sha256:
        raise WorkspaceError(
            f"The database copy {path} is damaged or gone, so it was not restored. Use another backup."
        )
    # An instance of its own: nobody else of this process knows it.
    with Database(path).opened(path, write=False, operation="restore", timeout=0) as session:
        contents = _contents(session)
    files = ArtifactFiles(source / "artifacts")
    for relative, digest in contents.artifacts.items():
        files.read(relative, digest)
    return contents


def _put_in_place(source: Path, workspace: Path, summary: Summary, contents: _Contents) -> None:
    workspace.parent.mkdir(parents=True, exist_ok=True)
    new = workspace.with_name(f"{workspace.name}.restoring-{uuid.uuid4().hex[:8]}")
    try:
        (new / "artifacts").mkdir(parents=True)
        shutil.copyfile(source / database_name(summary.database_sha256), new / FILE_NAME)
        sync_folder(new / FILE_NAME)
        files = ArtifactFiles(source / "artifacts")
        _copy_artifacts(files, ArtifactFiles(new / "artifacts"), contents.artifacts)
        sync_folder(new)
        new.rename(workspace)  # over an empty folder too, but over nothing else
        sync_folder(workspace.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
