"""Tasks that look after a workspace: check, retain, collect, compact, back up."""

from __future__ import annotations

from pathlib import Path

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import RestoreReport, UpgradeReport, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.tasks._task import storage_task, verb_task

check = verb_task(WorkspaceStore.check, "check ({level})")
repair = verb_task(WorkspaceStore.repair, "repair")

plan_retention = verb_task(WorkspaceStore.plan_retention, "plan retention")
apply_retention = verb_task(WorkspaceStore.apply_retention, "apply retention")
plan_gc = verb_task(WorkspaceStore.plan_gc, "plan gc")
apply_gc = verb_task(WorkspaceStore.apply_gc, "apply gc")
gc_artifacts = verb_task(WorkspaceStore.gc_artifacts, "gc")
plan_cleaning = verb_task(WorkspaceStore.plan_cleaning, "plan cleaning")
apply_cleaning = verb_task(WorkspaceStore.apply_cleaning, "apply cleaning")
cleanup_transient_artifacts = verb_task(WorkspaceStore.cleanup_transient_artifacts, "give up folds of run {run_id}")

compact = verb_task(WorkspaceStore.compact, "vacuum")
vacuum = verb_task(WorkspaceStore.vacuum, "vacuum")
backup = verb_task(WorkspaceStore.backup, "back up")


@storage_task("restore a backup")
def restore(store: WorkspaceStoreBlock, backup: str | Path, dry_run: bool = False) -> RestoreReport:
    """Make the workspace of the block, whose folder must not be there or be empty, from a backup."""
    _refuse_read_only(store, "restored")
    return WorkspaceStore.restore(backup, store.workspace_path, dry_run=dry_run)


@storage_task("upgrade")
def upgrade(store: WorkspaceStoreBlock) -> UpgradeReport:
    """Bring the workspace of the block, which nirs4all wrote, to the schema of this package; the original database is kept."""
    _refuse_read_only(store, "upgraded")
    return WorkspaceStore.upgrade(store.workspace_path, lock_timeout=store.lock_timeout)


def _refuse_read_only(store: WorkspaceStoreBlock, done: str) -> None:
    if store.read_only:
        raise InvalidInputError(f"The block is read-only, so {store.workspace_path} is not {done}: use another block.")
