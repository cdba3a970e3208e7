"""Repair: mend what a check found, as far as that needs no guessing."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.check import LINKS, CheckReport, Finding, Link, listed, look, without_parent
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import WorkspaceError
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RepairReport:
    """What a repair did.

    Attributes
    ----------
    mended
        Findings and notes that were mended.
    left
        Findings that cannot be mended without guessing; their messages say what to do.
    passed
        Findings and notes that were not true any more when it came to mending them.
    quarantine
        Folder that files were moved to, or None when none was.
    """

    mended: tuple[Finding, ...]
    left: tuple[Finding, ...]
    passed: tuple[Finding, ...]
    quarantine: Path | None

    def summary(self) -> str:
        """Text for people: what was mended, counted by kind, and everything that is left."""
        lines = [f"{len(self.mended)} mended, {len(self.left)} left, {len(self.passed)} not true any more"]
        lines += [f"mended: {count} x {kind}" for kind, count in Counter(one.kind for one in self.mended).items()]
        lines += [] if self.quarantine is None else [f"files moved to {self.quarantine}"]
        return "\n".join(lines + listed(self.left))


def repair(session: Session, files: ArtifactFiles, report: CheckReport, quarantine: Path) -> RepairReport:
    """Mend what a report calls mendable and is still so; the session holds the store exclusively.

    Raises
    ------
    WorkspaceError
        When a file cannot be moved to the quarantine.
    """
    seen = look(session, files)
    current = {(one.kind, one.subject): one for one in (*seen.findings, *seen.notes)}
    mended, left, passed = [], [], []
    for finding in (*report.findings, *report.notes):
        now_so = current.get((finding.kind, finding.subject))
        # The bytes of files are not looked at again.
        if now_so is None and finding.kind not in ("damaged_file", "unreadable_file"):
            passed.append(finding)
        elif now_so is not None and now_so.mendable:
            mended.append(now_so)
        elif finding in report.findings:
            left.append(finding)
    folder = quarantine / now().strftime("%Y%m%dT%H%M%S.%fZ")
    moved = [one.subject for one in mended if one.kind in ("orphan_file", "temporary_file")]
    for relative in moved:
        _move(files, relative, folder)
    menders: dict[str, Callable[[str], Any]] = {link.kind: _remover(session, link) for link in LINKS if link.removable}
    menders["edges"] = lambda chain_id: _rebuild(session, chain_id, seen.edges[chain_id])
    for finding in mended:
        if finding.kind in menders:
            menders[finding.kind](finding.subject)
    counts = {one.subject for one in mended if one.kind == "ref_count"}
    counts |= {artifact_id for one in mended if one.kind == "edges" for artifact_id in seen.edges[one.subject]}
    _raise_ref_counts(session, counts)
    session.memo.clear()
    if mended:
        session.tell(
            logger, "Repair mended %d findings: %s", len(mended), ", ".join(f"{m.kind} {m.subject}" for m in mended)
        )
    return RepairReport(tuple(mended), tuple(left), tuple(passed), folder if moved else None)


def _remover(session: Session, link: Link) -> Callable[[str], None]:
    sql = f"DELETE FROM {link.table} t WHERE {link.column} = ? AND {without_parent(link)}"
    return lambda subject: session.execute(sql, [subject])


def _rebuild(session: Session, chain_id: str, edges: Mapping[str, int]) -> None:
    session.execute("DELETE FROM chain_artifacts WHERE chain_id = ?", [chain_id])
    for artifact_id, count in edges.items():
        session.append("chain_artifacts", {"chain_id": chain_id, "artifact_id": artifact_id, "count": count})


def _raise_ref_counts(session: Session, artifact_ids: Collection[str]) -> None:
    session.execute(
        "UPDATE artifacts SET ref_count = greatest(coalesce(ref_count, 0), coalesce((SELECT sum(e.count) FROM chain_artifacts e "
        "WHERE e.artifact_id = artifacts.artifact_id), 0)) WHERE list_contains(?, artifact_id)",
        [list(artifact_ids)],
    )


def _move(files: ArtifactFiles, relative: str, folder: Path) -> None:
    source, target = files.path(relative), folder / relative
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except FileNotFoundError:
        return  # the process that was writing it has taken it away
    except OSError as error:
        raise WorkspaceError(f"The file {source} cannot be moved to {target}: {error.strerror}.") from error
    with contextlib.suppress(OSError):
        source.parent.rmdir()
