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
from n4a_flows.flows import approval, events
from n4a_flows.flows.dead_runs import flow_run_is_over
from n4a_flows.flows.options import MaintenanceOptions, RetentionOptions
from n4a_flows.flows.summaries import MaintenanceSummary
from n4a_flows.reports import Maintenance, maintenance_markdown
from n4a_flows.storage import CleaningPlan, RetentionPolicy
from n4a_flows.storage.check import CheckLevel, listed
from n4a_flows.storage.errors import PlanOutdatedError

DAMAGE_FOUND = "DamageFound"
"""Name of the final state of a flow run that found damage, for automations to react to."""

NOT_DELETED = "NotDeleted"
"""Name of the final state of a flow run whose plan was not approved, or was not true any more."""


@flow(persist_result=False, on_failure=[events.maintenance_failed], on_crashed=[events.maintenance_failed])
def maintain(
    store: WorkspaceStoreBlock,
    options: MaintenanceOptions = MaintenanceOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
) -> MaintenanceSummary | State[MaintenanceSummary]:
    """Check a workspace, end runs that died, delete what the retention rules give up, collect garbage, make the file smaller.

    A quick check comes first. When it finds damage, nothing is deleted: the flow run ends with the state `DamageFound`, and
    its report says what is wrong. Every deletion is a plan that is applied only as far as it is still true; with `approval` the
    flow run pauses until somebody has looked at the plan and said yes. At the end a random share of the files is hashed and of
    the chains replayed.

    Args:
        store: The workspace. Where the form names none, it is the block of the deployment.
        options: Which steps are taken, in this order. A dry run shows the plans and changes nothing.

    Raises:
        InvalidInputError: When there is no retention rule, or the rules would keep no run that has ended.
        StoreBusyError: When the store stays busy, or a backup is being made of it; what was done before stays done.
    """
    done = Maintenance(options.dry_run, tasks.check(store), _database_size(store))
    if done.check.ok and options.reap:
        done = replace(done, reaped=tuple(tasks.reap_dead_runs(store, flow_run_is_over, dry_run=options.dry_run)))
    if done.check.ok and options.approval and not options.dry_run:
        done = _clean_if_approved(store, options, done)
    elif done.check.ok:
        if options.retention is not None:
            done = _retain(store, options.retention, done)
        if options.collect_garbage:
            done = _collect(store, options.grace_hours, done)
    if done.check.ok and options.vacuum and not options.dry_run and done.not_deleted is None:
        done = replace(done, compacted=tasks.compact(store, options.min_dead_share))
    if done.check.ok and options.verify_share > 0:
        level: CheckLevel = "full" if store.trust == "none" else "replay"
        done = replace(done, verified=tasks.check(store, level, options.verify_share))
    done = replace(done, database_bytes_after=_database_size(store))
    _show(store, done)
    summary = _summary(done)
    if not summary.checks_ok:
        for finding in summary.findings:
            get_run_logger().error(finding)
        events.damage_found(store, summary)
        return Completed(name=DAMAGE_FOUND, message=f"{len(summary.findings)} findings", data=summary)
    if summary.not_deleted is not None:
        return Completed(name=NOT_DELETED, message=f"Nothing was deleted: {summary.not_deleted}", data=summary)
    return summary


def _show(store: WorkspaceStoreBlock, done: Maintenance) -> str:
    """Show how far it is as a report; returns it."""
    markdown = f"# Maintenance of {store.workspace_path.name}\n\n{maintenance_markdown(done)}"
    create_markdown_artifact(
        key="n4a-maintenance", description=f"Maintenance of {store.workspace_path.name}", markdown=markdown
    )
    return markdown


def _database_size(store: WorkspaceStoreBlock) -> int:
    return (store.workspace_path / "store.duckdb").stat().st_size


def _clean_if_approved(store: WorkspaceStoreBlock, options: MaintenanceOptions, done: Maintenance) -> Maintenance:
    policy = None if options.retention is None else RetentionPolicy(**options.retention.model_dump())
    plan = tasks.plan_cleaning(store, policy, timedelta(hours=options.grace_hours))
    if not options.collect_garbage:
        plan = CleaningPlan(plan.retention, replace(plan.garbage, artifacts=(), orphans=(), files=0, bytes=0))
    done = replace(done, retention_plan=plan.retention, gc_plan=plan.garbage if options.collect_garbage else None)
    if plan.empty:
        return done
    shown = _show(store, replace(done, waiting=plan.digest))
    refusal = approval.why_not(shown, options.approval_timeout)
    if refusal is None:
        try:
            report = tasks.apply_cleaning(store, plan)
        except PlanOutdatedError as error:
            refusal = str(error)
        else:
            return replace(done, retained=report.retained, collected=report.collected)
    get_run_logger().warning("Nothing was deleted: %s", refusal)
    return replace(done, not_deleted=refusal)


def _retain(store: WorkspaceStoreBlock, rules: RetentionOptions, done: Maintenance) -> Maintenance:
    plan = tasks.plan_retention(store, RetentionPolicy(**rules.model_dump()))
    return replace(done, retention_plan=plan, retained=None if done.dry_run else tasks.apply_retention(store, plan))


def _collect(store: WorkspaceStoreBlock, grace_hours: float, done: Maintenance) -> Maintenance:
    plan = tasks.plan_gc(store, timedelta(hours=grace_hours))
    return replace(done, gc_plan=plan, collected=None if done.dry_run else tasks.apply_gc(store, plan))


def _summary(done: Maintenance) -> MaintenanceSummary:
    # What was not deleted is in the plans, but not in the numbers.
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
        not_deleted=done.not_deleted,
        database_bytes_before=done.database_bytes_before,
        database_bytes_after=done.database_bytes_after,
        verified_files=done.verified.checked["hashed"] if done.verified else 0,
        replayed_chains=done.verified.checked["replayed"] if done.verified else 0,
    )
