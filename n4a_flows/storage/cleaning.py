"""Retention and garbage collection as one plan, for a person to look at: applied as it stands, or not at all.

Runs that go release artifacts, so what would be garbage is known only once they are gone. The plan is made by deleting them in a
transaction that is never committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from n4a_flows.storage import gc, retention
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.errors import PlanOutdatedError
from n4a_flows.storage.gc import GcPlan, GcReport
from n4a_flows.storage.retention import RetentionPlan, RetentionPolicy, RetentionReport
from n4a_flows.storage.session import Session


@dataclass(frozen=True)
class CleaningPlan:
    """What would be deleted, runs and files.

    Attributes
    ----------
    retention
        The runs and pipelines that would go; None without a policy.
    garbage
        The artifacts and files that would go, those that these runs release too.
    """

    retention: RetentionPlan | None
    garbage: GcPlan

    @property
    def empty(self) -> bool:
        """Whether nothing would be deleted."""
        nothing_retired = self.retention is None or not self.retention.retired
        return nothing_retired and not (self.garbage.artifacts or self.garbage.orphans)

    @property
    def digest(self) -> str:
        """SHA-256 of what would be deleted, 64 hexadecimal digits: two plans with one digest are the same."""
        parts = ["" if self.retention is None else self.retention.digest, self.garbage.digest]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class CleaningReport:
    """What was deleted.

    Attributes
    ----------
    retained
        What the retention removed; None without one.
    collected
        What the garbage collection removed.
    """

    retained: RetentionReport | None
    collected: GcReport


class Undone(Exception):  # noqa: N818 - not an error: it carries a plan out of the transaction that it undoes
    """Ends the transaction that a plan was made in, and holds the plan."""

    def __init__(self, plan: CleaningPlan) -> None:
        self.plan = plan
        super().__init__()


def plan(session: Session, files: ArtifactFiles, policy: RetentionPolicy | None, grace: timedelta) -> CleaningPlan:
    """Find what would go. With a policy the session has deleted it then, and must not be committed."""
    retired = None
    if policy is not None:
        retired = retention.plan(session, policy)
        retention.apply(session, retired)
    return CleaningPlan(retired, gc.plan(session, files, grace))


def apply(session: Session, files: ArtifactFiles, planned: CleaningPlan) -> CleaningReport:
    """Delete all that a plan names.

    Raises
    ------
    PlanOutdatedError
        When something of it is needed by now; the session must not be committed then.
    """
    retained = None if planned.retention is None else retention.apply(session, planned.retention)
    collected = gc.apply(session, files, planned.garbage)
    kept = () if retained is None else retained.kept
    # What others deleted meanwhile is no reason to stop.
    needed = [*_still_recorded(session, (*kept, *collected.kept)), *_still_there(files, planned.garbage, collected)]
    if needed:
        raise PlanOutdatedError(
            f"{len(needed)} of what plan {planned.digest[:12]} names came to be needed since it was made, the first is "
            f"{needed[0]}; "
            "nothing was deleted. Make a new plan."
        )
    return CleaningReport(retained, collected)


def _still_recorded(session: Session, ids: tuple[str, ...]) -> Iterator[str]:
    for what, table, key in (
        ("run", "runs", "run_id"),
        ("pipeline", "pipelines", "pipeline_id"),
        ("artifact", "artifacts", "artifact_id"),
    ):
        for (found,) in session.rows(
            f"SELECT {key} FROM {table} WHERE list_contains(?, {key}) ORDER BY {key}", [list(ids)]
        ):
            yield f"{what} {found}"


def _still_there(files: ArtifactFiles, planned: GcPlan, collected: GcReport) -> Iterator[str]:
    kept = set(collected.kept)
    for orphan in planned.orphans:
        if orphan.path in kept and files.path(orphan.path).exists():
            yield f"file {orphan.path}"
