"""Tasks that look after a workspace: check, reap, retain, collect, compact, back up."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import (
    BackupReport,
    CheckReport,
    CleaningPlan,
    CleaningReport,
    CompactReport,
    GcPlan,
    GcReport,
    ReapedRun,
    RetentionPlan,
    RetentionPolicy,
    RetentionReport,
)
from n4a_flows.storage.check import CheckLevel
from n4a_flows.storage.origins import FlowRunIsOver
from n4a_flows.tasks._task import storage_task


@storage_task("check ({level})")
def check(store: WorkspaceStoreBlock, level: CheckLevel = "quick", sample: float = 1.0) -> CheckReport:
    """Verify that rows, edges and files say the same; a share of the files is hashed, and of the chains replayed."""
    with store.open() as workspace:
        return workspace.check(level, sample)


@storage_task("reap dead runs")
def reap_dead_runs(
    store: WorkspaceStoreBlock, flow_run_is_over: FlowRunIsOver | None = None, dry_run: bool = False
) -> list[ReapedRun]:
    """End as failed the runs whose flow run is over, or, without a flow run, whose process is gone from this host."""
    with store.open() as workspace:
        return workspace.reap_dead_runs(flow_run_is_over, dry_run=dry_run)


@storage_task("plan retention")
def plan_retention(store: WorkspaceStoreBlock, policy: RetentionPolicy) -> RetentionPlan:
    """Find the runs, and pipelines of runs, that no rule of a policy keeps."""
    with store.open() as workspace:
        return workspace.plan_retention(policy)


@storage_task("apply retention")
def apply_retention(store: WorkspaceStoreBlock, plan: RetentionPlan) -> RetentionReport:
    """Delete what a plan names, less what its policy keeps by now."""
    with store.open() as workspace:
        return workspace.apply_retention(plan)


@storage_task("plan gc")
def plan_gc(store: WorkspaceStoreBlock, grace: timedelta = timedelta(hours=1)) -> GcPlan:
    """Find the artifacts that nothing needs, and the files that no row names."""
    with store.open() as workspace:
        return workspace.plan_gc(grace)


@storage_task("apply gc")
def apply_gc(store: WorkspaceStoreBlock, plan: GcPlan) -> GcReport:
    """Remove what a plan names, less what has come alive since."""
    with store.open() as workspace:
        return workspace.apply_gc(plan)


@storage_task("plan cleaning")
def plan_cleaning(
    store: WorkspaceStoreBlock, policy: RetentionPolicy | None = None, grace: timedelta = timedelta(hours=1)
) -> CleaningPlan:
    """Find what retention and then garbage collection would delete, as one plan."""
    with store.open() as workspace:
        return workspace.plan_cleaning(policy, grace)


@storage_task("apply cleaning")
def apply_cleaning(store: WorkspaceStoreBlock, plan: CleaningPlan) -> CleaningReport:
    """Delete exactly what a plan names, or nothing when any of it is needed by now."""
    with store.open() as workspace:
        return workspace.apply_cleaning(plan)


@storage_task("vacuum")
def compact(store: WorkspaceStoreBlock, min_dead_share: float = 0.3) -> CompactReport:
    """Rewrite the database file without the space of deleted rows, if enough of it is dead."""
    with store.open() as workspace:
        return workspace.compact(min_dead_share)


@storage_task("back up to {target}")
def backup(store: WorkspaceStoreBlock, target: Path) -> BackupReport:
    """Copy database and artifacts, as they are at one moment, into a folder."""
    with store.open() as workspace:
        return workspace.backup(target)
