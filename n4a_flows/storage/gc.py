"""Garbage collection as plan and apply.

Garbage is an artifact that no chain references **and** that has no reference left or was last saved before the grace period; and a
file that no row names, older than the grace period. A plan only looks. Applying it looks again, while the store is held, and
removes what was planned and is still garbage: the rows with the commit, the files right after it. A crash in between leaves an
orphan file, which the next plan finds.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.backup import refuse_during_backup
from n4a_flows.storage.clock import before, now
from n4a_flows.storage.durable_files import TEMPORARY_PREFIX
from n4a_flows.storage.errors import ArtifactMissingError, InvalidInputError
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

_OURS = re.compile(r"[0-9a-f]{64}\.\w+")
_UNREFERENCED = "NOT EXISTS (SELECT 1 FROM chain_artifacts e WHERE e.artifact_id = a.artifact_id)"
_ROWS = (
    "SELECT a.artifact_id, a.artifact_path, a.size_bytes, a.ref_count, coalesce(s.saved_at, a.created_at) AS saved_at "
    f"FROM artifacts a LEFT JOIN artifact_saves s USING (artifact_id) WHERE {_UNREFERENCED}"
)


@dataclass(frozen=True)
class GarbageArtifact:
    """An artifact that nothing needs.

    Attributes
    ----------
    artifact_id, path
        Its id, and its file relative to `artifacts/`.
    reason
        Why it is garbage.
    """

    artifact_id: str
    path: str
    reason: str


@dataclass(frozen=True)
class GarbageFile:
    """A file in `artifacts/` that no row names.

    Attributes
    ----------
    path
        Relative to `artifacts/`.
    reason
        Why it is garbage.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class GcPlan:
    """What a garbage collection would remove.

    Attributes
    ----------
    made_at
        When it was made (naive UTC, ISO 8601).
    saved_before
        What was saved or written later than this is left alone (naive UTC, ISO 8601).
    artifacts
        Rows to remove.
    orphans
        Files without a row to remove.
    files, bytes
        How many files would go, and their size.
    foreign
        Files that no row names and that this package did not write: they are left alone.
    """

    made_at: str
    saved_before: str
    artifacts: tuple[GarbageArtifact, ...]
    orphans: tuple[GarbageFile, ...]
    files: int
    bytes: int
    foreign: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of what would be removed, 64 hexadecimal digits: two plans with one digest are the same."""
        content = {
            "artifacts": [asdict(item) for item in self.artifacts],
            "orphans": [asdict(item) for item in self.orphans],
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON takes it, with its digest."""
        return {**asdict(self), "digest": self.digest}


@dataclass(frozen=True)
class GcReport:
    """What a garbage collection did.

    Attributes
    ----------
    removed_artifacts, removed_files
        How many rows and files went.
    freed_bytes
        Size of those files.
    kept
        Ids and paths of the plan that are no garbage any more, and stayed.
    """

    removed_artifacts: int
    removed_files: int
    freed_bytes: int
    kept: tuple[str, ...]


LONGEST_GRACE_HOURS = 1_000_000
"""The longest grace period that can be asked for."""


def grace_of(hours: float) -> timedelta:
    """The grace period of so many hours; `InvalidInputError` when that is none."""
    if not 0 <= hours <= LONGEST_GRACE_HOURS:
        raise InvalidInputError(
            f"The grace period must be a number of hours between 0 and {LONGEST_GRACE_HOURS}, not {hours:g}."
        )
    return timedelta(hours=hours)


def plan(session: Session, files: ArtifactFiles, grace: timedelta) -> GcPlan:
    """Find what is garbage now; nothing is changed.

    Raises
    ------
    ArtifactMissingError
        When the file of an artifact that a chain needs is missing.
    InvalidInputError
        When the grace period is negative.
    """
    if grace < timedelta(0):
        raise InvalidInputError(f"The grace period must not be negative, but is {grace}.")
    refuse_missing(session, files)
    made_at = now()
    saved_before = before(made_at, grace)
    garbage = tuple(_garbage(session, saved_before))
    orphans, foreign = _unnamed(session, files, saved_before)
    going = [*_only_named_by(session, garbage), *(item.path for item in orphans)]
    sizes = [_size(files.path(path)) for path in going]
    return GcPlan(
        made_at.isoformat(),
        saved_before.isoformat(),
        garbage,
        tuple(orphans),
        sum(size is not None for size in sizes),
        sum(size or 0 for size in sizes),
        tuple(foreign),
    )


def apply(session: Session, files: ArtifactFiles, planned: GcPlan) -> GcReport:
    """Remove what a plan names and is still garbage.

    Raises
    ------
    ArtifactMissingError
        When the file of an artifact that a chain needs is missing; nothing is removed then.
    """
    refuse_missing(session, files)
    saved_before = datetime.fromisoformat(planned.saved_before)
    still = {item.artifact_id for item in _garbage(session, saved_before)}
    garbage = [item for item in planned.artifacts if item.artifact_id in still]
    named = {path for (path,) in session.rows("SELECT artifact_path FROM artifacts")}
    orphans = [
        item
        for item in planned.orphans
        if item.path not in named and _written_before(files.path(item.path), saved_before)
    ]
    going = [*_only_named_by(session, garbage), *(item.path for item in orphans)]
    sizes = [size for path in going if (size := _size(files.path(path))) is not None]
    _remove(session, files, [item.artifact_id for item in garbage], going)
    session.tell(
        logger,
        "Garbage collection by plan %s removed %d artifacts: %d files, %d bytes",
        planned.digest[:12],
        len(garbage),
        len(sizes),
        sum(sizes),
    )
    return GcReport(
        len(garbage),
        len(sizes),
        sum(sizes),
        (
            *(item.artifact_id for item in planned.artifacts if item not in garbage),
            *(item.path for item in planned.orphans if item not in orphans),
        ),
    )


def collect_released(session: Session, files: ArtifactFiles) -> int:
    """Remove the artifacts that a deletion left without any reference; returns how many files go."""
    garbage = [item for item in _garbage(session, None) if item.path]
    if not garbage:
        return 0
    refuse_missing(session, files)
    going = _only_named_by(session, garbage)
    count = sum(files.path(path).exists() for path in going)
    _remove(session, files, [item.artifact_id for item in garbage], going)
    return count


def refuse_missing(session: Session, files: ArtifactFiles) -> None:
    """Raise `ArtifactMissingError` when the file of an artifact that a chain needs is not there."""
    needed = session.rows(
        "SELECT DISTINCT artifact_path FROM artifacts WHERE artifact_id IN (SELECT artifact_id FROM chain_artifacts)"
    )
    missing = [path for (path,) in needed if not files.path(path).exists()]
    if missing:
        raise ArtifactMissingError(
            f"Nothing was removed, for {len(missing)} artifact files that chains need are missing, the first is "
            f"{files.path(missing[0])}. Restore them from a backup, then collect again."
        )


def _garbage(session: Session, saved_before: datetime | None) -> Iterable[GarbageArtifact]:
    for row in session.dicts(f"{_ROWS} ORDER BY a.artifact_id"):
        if row["ref_count"] <= 0:
            yield GarbageArtifact(
                row["artifact_id"], row["artifact_path"], "no chain references it, and no save is left"
            )
        elif saved_before is not None and row["saved_at"] < saved_before:
            moment = row["saved_at"].isoformat(sep=" ", timespec="seconds")
            yield GarbageArtifact(
                row["artifact_id"],
                row["artifact_path"],
                f"no chain references it, and it was last saved at {moment} UTC",
            )


def _only_named_by(session: Session, garbage: Sequence[GarbageArtifact]) -> list[str]:
    """The files that no other row names."""
    others = session.rows(
        "SELECT artifact_path FROM artifacts WHERE NOT list_contains(?, artifact_id)",
        [[item.artifact_id for item in garbage]],
    )
    return sorted({item.path for item in garbage} - {path for (path,) in others})


def _unnamed(session: Session, files: ArtifactFiles, saved_before: datetime) -> tuple[list[GarbageFile], list[str]]:
    named = {path for (path,) in session.rows("SELECT artifact_path FROM artifacts")}
    orphans, foreign = [], []
    for path in sorted(files.folder.rglob("*")):
        relative = path.relative_to(files.folder).as_posix()
        if relative in named or (path.is_dir() and not path.is_symlink()):
            continue
        if path.name.startswith(TEMPORARY_PREFIX):
            reason = "left behind by a process that died while it wrote"
        elif _OURS.fullmatch(path.name) and path.parent.name == path.name[:2]:
            reason = "no row names it"
        else:
            foreign.append(relative)
            continue
        if _written_before(path, saved_before):
            orphans.append(GarbageFile(relative, reason))
    return orphans, foreign


def _written_before(path: Path, moment: datetime) -> bool:
    try:
        written = datetime.fromtimestamp(path.lstat().st_mtime, UTC).replace(tzinfo=None)
    except FileNotFoundError:
        return False
    return written < moment


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None


def _remove(session: Session, files: ArtifactFiles, artifact_ids: Sequence[str], paths: Sequence[str]) -> None:
    if paths:
        refuse_during_backup(files.folder.parent)
    for table in ("artifacts", "artifact_saves") if artifact_ids else ():
        session.execute(f"DELETE FROM {table} WHERE list_contains(?, artifact_id)", [list(artifact_ids)])
    session.memo.clear()

    def remove_files() -> None:
        # The same bytes may have been saved again later in this transaction.
        sql = "SELECT artifact_path FROM artifacts WHERE list_contains(?, artifact_path)"
        used = {path for (path,) in session.written(sql, [list(paths)])}
        files.remove(path for path in paths if path not in used)
        files.remove_empty_folders()

    session.after_commit.append(remove_files)
