"""Look after a workspace: check, end dead runs, apply retention, collect garbage, vacuum, verify."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows.dead_runs import flow_run_is_over
from n4a_flows.flows.options import MaintenanceOptions, RetentionOptions
from n4a_flows.flows.summaries import MaintenanceSummary
from n4a_flows.reports import Maintenance, maintenance_markdown
from n4a_flows.storage import RetentionPolicy
from n4a_flows.storage.check import CheckLevel, listed

DAMAGE_FOUND = "DamageFound"
"""Name of the final state of a flow run that found damage, for automations to react to."""


@flow(persist_result=False)
def maintain(
    store: WorkspaceStoreBlock,
    options: MaintenanceOptions = MaintenanceOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
) -> MaintenanceSummary | State[MaintenanceSummary]:
    """Check a workspace, end runs that died, delete what the retention rules give up, collect garbage, make the file smaller.

    A quick check comes first. When it finds damage, nothing is deleted: the flow run ends with the state `DamageFound`, and
    its report says what is wrong. Every deletion is a plan that is applied only as far as it is still true. At the end a
    random share of the files is hashed and of the chains replayed.

    Parameters
    ----------
    store
        The workspace.
    options
        Which steps are taken; `dry_run` shows the plans and changes nothing.

    Raises
    ------
    InvalidInputError
        When the retention rules would keep no run that has ended.
    StoreBusyError
        When the store stays busy, or a backup is being made of it; what was done before stays done.
    """
    done = Maintenance(options.dry_run, tasks.check(store), _database_size(store))
    if done.check.ok and options.reap:
        done = replace(done, reaped=tuple(tasks.reap_dead_runs(store, flow_run_is_over, options.dry_run)))
    if done.check.ok and options.retention is not None:
        done = _retain(store, options.retention, done)
    if done.check.ok and options.collect_garbage:
        done = _collect(store, options.grace_hours, done)
    if done.check.ok and options.vacuum and not options.dry_run:
        done = replace(done, compacted=tasks.compact(store, options.min_dead_share))
    if done.check.ok and options.verify_share > 0:
        level: CheckLevel = "full" if store.trust == "none" else "replay"
        done = replace(done, verified=tasks.check(store, level, options.verify_share))
    done = replace(done, database_bytes_after=_database_size(store))
    create_markdown_artifact(
        key="n4a-maintenance",
        description=f"Maintenance of {store.workspace_path.name}",
        markdown=f"# Maintenance of {store.workspace_path.name}\n\n{maintenance_markdown(done)}",
    )
    summary = _summary(done)
    if summary.checks_ok:
        return summary
    for finding in summary.findings:
        get_run_logger().error(finding)
    return Completed(name=DAMAGE_FOUND, message=f"{len(summary.findings)} findings", data=summary)


def _database_size(store: WorkspaceStoreBlock) -> int:
    return (store.workspace_path / "store.duckdb").stat().st_size


def _retain(store: WorkspaceStoreBlock, rules: RetentionOptions, done: Maintenance) -> Maintenance:
    plan = tasks.plan_retention(store, RetentionPolicy(**rules.model_dump()))
    return replace(done, retention_plan=plan, retained=None if done.dry_run else tasks.apply_retention(store, plan))


def _collect(store: WorkspaceStoreBlock, grace_hours: float, done: Maintenance) -> Maintenance:
    plan = tasks.plan_gc(store, timedelta(hours=grace_hours))
    return replace(done, gc_plan=plan, collected=None if done.dry_run else tasks.apply_gc(store, plan))


def _summary(done: Maintenance) -> MaintenanceSummary:
    retired = done.retention_plan if done.dry_run else None
    garbage = done.gc_plan if done.dry_run else None
    return MaintenanceSummary(
        dry_run=done.dry_run,
        checks_ok=done.ok,
        findings=listed(done.findings),
        reaped_runs=[run.run_id for run in done.reaped],
        removed_runs=retired.runs if retired else done.retained.removed_runs if done.retained else 0,
        removed_pipelines=retired.pipelines if retired else done.retained.removed_pipelines if done.retained else 0,
        removed_files=garbage.files if garbage else done.collected.removed_files if done.collected else 0,
        freed_bytes=garbage.bytes if garbage else done.collected.freed_bytes if done.collected else 0,
        database_bytes_before=done.database_bytes_before,
        database_bytes_after=done.database_bytes_after,
        verified_files=done.verified.checked["hashed"] if done.verified else 0,
        replayed_chains=done.verified.checked["replayed"] if done.verified else 0,
    )
