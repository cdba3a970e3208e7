"""Backups at a URL: the same files as in a backup folder, copied to a place that has no locks, and the way back.

`backup.json` is written last, so until a backup is whole the one before it counts. Whoever backs a workspace up holds a lock beside
its database, for only one machine can do it, that of the workspace. What is there already is known by its name, which is the hash
of the bytes, and its size; a restore compares every byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from n4a_flows.storage import backup as here
from n4a_flows.storage import schema
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.backup import BackupReport, RestoreReport, Summary
from n4a_flows.storage.clock import now
from n4a_flows.storage.database import FILE_NAME, Database
from n4a_flows.storage.durable_files import TEMPORARY_PREFIX
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, PlaceError
from n4a_flows.storage.places import Place

_LOCK_NAME = FILE_NAME + ".backup-away"
_COPY_PREFIX = f"{TEMPORARY_PREFIX}backup-"
_AT_ONCE = 8


def backup(database: Database, files: ArtifactFiles, place: Place, timeout: float) -> BackupReport:
    """Copy database and artifacts of a workspace to a URL; see `WorkspaceStore.backup`."""
    workspace = database.path.parent
    with database.session(write=True, operation="backup", timeout=timeout) as session:
        identity = here.identity_of(session)
    busy = f"Another process copies {workspace} to a URL. Try again when it is done."
    with (
        here.explained(f"The backup to {place} did not finish, what an earlier one brought there is still whole"),
        here.locked(workspace / _LOCK_NAME, fcntl.LOCK_EX, busy),
    ):
        there = _claimed(place, identity)
        return _fill(database, files, place, there, timeout)


def _claimed(place: Place, identity: str) -> dict[str, int]:
    """What there is at the place, after a look at whose it is."""
    there, owner = place.sizes(), place / here.OWNER_NAME
    if not there:
        owner.write(identity.encode())
    elif here.OWNER_NAME not in there:
        raise InvalidInputError(f"The backup cannot go to {place}, for that holds something else. Choose another URL.")
    elif owner.read().decode() != identity:
        raise InvalidInputError(
            f"The backup cannot go to {place}, for that holds backups of another workspace. Choose another URL."
        )
    return there


def _fill(
    database: Database, files: ArtifactFiles, place: Place, there: Mapping[str, int], timeout: float
) -> BackupReport:
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(_room_for_a_copy(database.path.parent)) / FILE_NAME
        with database.held(operation="backup", timeout=timeout):
            stack.enter_context(here.holding_off_gc(database.path.parent))
            created = now()
            contents = here.copy_database(database, copy, timeout)
        sizes, copied = _send_artifacts(files, place, contents.artifacts, there)
        digest, database_bytes = here.digest_of(copy), copy.stat().st_size
        (place / here.database_name(digest)).put(copy)
    summary = Summary(schema.SCHEMA_VERSION, created.isoformat(), digest, len(sizes))
    (place / here.SUMMARY_NAME).write(json.dumps(asdict(summary), indent=2).encode())
    _forget_earlier(place, digest, sizes)
    return BackupReport(
        target=place,
        created=created,
        database_bytes=database_bytes,
        artifacts=len(sizes),
        artifact_bytes=sum(sizes.values()),
        copied_artifacts=len(copied),
        copied_bytes=sum(sizes[path] for path in copied),
        rows=contents.rows,
    )


@contextlib.contextmanager
def _room_for_a_copy(workspace: Path) -> Iterator[Path]:
    """A folder on the disk of the workspace, which holds the database and so has room for it; those of killed processes go."""
    for left in workspace.glob(f"{_COPY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_COPY_PREFIX, dir=workspace) as folder:
        yield Path(folder)


def _send_artifacts(
    files: ArtifactFiles, place: Place, artifacts: Mapping[str, str], there: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Bring the artifacts there that are not; returns the size of each, and which were copied."""

    def send(path: str, digest: str) -> tuple[int, bool]:
        source = files.path(path)
        if source.is_file() and (size := source.stat().st_size) == there.get(f"artifacts/{path}"):
            return size, False
        data = files.read(path, digest)
        (place / "artifacts" / path).write(data)
        return len(data), True

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="n4a-backup") as pool:
        sent = dict(zip(artifacts, pool.map(send, artifacts.keys(), artifacts.values()), strict=True))
    return {path: size for path, (size, _) in sent.items()}, [path for path, (_, now_sent) in sent.items() if now_sent]


def _forget_earlier(place: Place, digest: str, artifacts: Mapping[str, int]) -> None:
    """Remove what only an earlier backup needed, or an interrupted one left."""
    kept = {
        here.SUMMARY_NAME,
        here.OWNER_NAME,
        here.database_name(digest),
        *(f"artifacts/{path}" for path in artifacts),
    }
    for name in place.sizes().keys() - kept:
        (place / name).remove()


def restore(place: Place, target: Path, *, dry_run: bool = False) -> RestoreReport:
    """Fetch a backup beside the target, and make a workspace of it; see `WorkspaceStore.restore`."""
    there = place.sizes()
    if here.SUMMARY_NAME not in there:
        raise MissingFileError(f"There is no finished backup in {place}: it holds no {here.SUMMARY_NAME}.")
    outside = [name for name in there if ".." in PurePosixPath(name).parts or name.startswith("/")]
    if outside:
        raise PlaceError(f"{place} holds {outside[0]!r}, which is no name of a backup. Use another backup.")
    with here.explained(f"The backup in {place} was not restored"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.fetching-", dir=target.parent) as folder:
            fetched = Path(folder)

            def fetch(name: str) -> None:
                (fetched / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).fetch(fetched / name)

            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="n4a-restore") as pool:
                list(pool.map(fetch, there))
            return here.restore(fetched, target, dry_run=dry_run)
