"""Commands that look after a workspace. They need no Prefect."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from n4a_flows.cli.common import (
    DEFAULT_WORKSPACE,
    FOUND_DAMAGE,
    AsJson,
    DryRun,
    Workspace,
    opened,
    print_json,
)
from n4a_flows.cli.console import out
from n4a_flows.storage import RetentionPolicy, WorkspaceStore
from n4a_flows.storage.gc import grace_of


def gc(
    workspace: Workspace = DEFAULT_WORKSPACE,
    grace: Annotated[float, typer.Option(help="Hours for which what no chain needs yet is left alone.")] = 1.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove artifacts that no chain needs, and files that no artifact names.

    \b
    Examples:
      n4a-flows gc --dry-run
      n4a-flows gc --grace 24
    """
    with opened(workspace) as store:
        plan = store.plan_gc(grace_of(grace))
        report = None if dry_run else store.apply_gc(plan)
    if as_json:
        print_json({"plan": plan.to_dict(), "report": report})
        return
    if report is None:
        reasons = [(item.path, item.reason) for item in plan.artifacts] + [
            (item.path, item.reason) for item in plan.orphans
        ]
        for path, reason in reasons:
            out.print(f"{path}: {reason}", markup=False)
        out.print(f"{plan.files} files, {plan.bytes} bytes would go")
    else:
        out.print(f"{report.removed_files} files, {report.freed_bytes} bytes removed")
    if plan.foreign:
        out.print(f"{len(plan.foreign)} files in artifacts/ are not ours and were left alone")


def vacuum(
    workspace: Workspace = DEFAULT_WORKSPACE,
    min_dead_share: Annotated[
        float, typer.Option(help="Least share of dead rows for which it is done (0 to 1).")
    ] = 0.3,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make the database file smaller when enough of its rows were deleted.

    \b
    Examples:
      n4a-flows vacuum
      n4a-flows vacuum --min-dead-share 0.5 --dry-run
    """
    with opened(workspace) as store:
        report = store.compact(min_dead_share, dry_run=dry_run)
    if as_json:
        print_json(report)
    elif report.compacted:
        out.print(f"{report.bytes_before} bytes before, {report.bytes_after} after")
    else:
        out.print(f"nothing done: {report.dead_share:.0%} of it is dead, {report.bytes_before} bytes")


def check(
    workspace: Workspace = DEFAULT_WORKSPACE,
    full: Annotated[bool, typer.Option("--full", help="Also compare the bytes of every file with their hash.")] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also replay the spectra kept with each chain; loads its pickles.")
    ] = False,
    sample: Annotated[float, typer.Option(help="Share of the files to hash and the chains to replay (0 to 1).")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Look for damage: rows without files, files without rows, counts and links that are wrong. Exit code 3 when there is any.

    \b
    Examples:
      n4a-flows check
      n4a-flows check --full
      n4a-flows check --replay --sample 0.05 --json
    """
    with opened(workspace) as store:
        report = store.check("replay" if replay else "full" if full else "quick", sample)
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        out.print(report.summary(), markup=False)
    if not report.ok:
        raise typer.Exit(FOUND_DAMAGE)


def backup(
    target: Annotated[
        str, typer.Argument(help="Folder for the backup, or a URL; an earlier one there is brought up to date.")
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Make one consistent copy of the database and the artifacts, while others go on working.

    \b
    Examples:
      n4a-flows backup /mnt/backups/workspace
      n4a-flows backup s3://lab/backups/workspace
    """
    with opened(workspace) as store:
        report = store.backup(target)
    if as_json:
        print_json(report)
    else:
        out.print(f"{report.artifacts} artifacts and the database are in {report.target}", markup=False)
        out.print(f"{report.copied_artifacts} artifacts, {report.copied_bytes} bytes were new")


def restore(
    backup_folder: Annotated[
        str, typer.Argument(metavar="BACKUP", help="Folder or URL of the backup that `backup` made.")
    ],
    target: Annotated[Path, typer.Argument(help="Where the workspace shall be; must not exist, or be empty.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Verify a backup and make a workspace of it.

    \b
    Examples:
      n4a-flows restore /mnt/backups/workspace workspace --dry-run
      n4a-flows restore /mnt/backups/workspace workspace
    """
    report = WorkspaceStore.restore(backup_folder, target, dry_run=dry_run)
    if as_json:
        print_json(report)
    else:
        done = "could be restored" if dry_run else "restored"
        out.print(f"{report.workspace} {done}: {report.artifacts} artifacts, made {report.created}", markup=False)


def retain(
    workspace: Workspace = DEFAULT_WORKSPACE,
    last_runs: Annotated[int | None, typer.Option(help="Keep this many of the latest runs.")] = None,
    days: Annotated[float | None, typer.Option(help="Keep runs that began within this many days.")] = None,
    best_chains: Annotated[
        int | None, typer.Option(help="Keep this many of the best chains for each dataset, target and metric.")
    ] = None,
    failed_days: Annotated[
        float | None, typer.Option(help="Keep failed runs that began within this many days, and no others that failed.")
    ] = None,
    remove_everything: Annotated[
        bool, typer.Option(help="Allow that no rule is given, or that no run is left.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete the runs that no rule keeps. Chains that an alias names always stay; files go with the next gc.

    At least one rule must be given; with --failed-days alone only failed runs go.

    \b
    Examples:
      n4a-flows retain --last-runs 30 --best-chains 5 --dry-run
      n4a-flows retain --days 90 --failed-days 7
    """
    policy = RetentionPolicy(last_runs, days, best_chains, failed_days, remove_everything)
    with opened(workspace) as store:
        plan = store.plan_retention(policy)
        report = None if dry_run else store.apply_retention(plan)
    if as_json:
        print_json({"plan": plan.to_dict(), "report": report})
        return
    if report is None:
        for item in plan.retired:
            goes = "" if item.whole else f", {len(item.pipeline_ids)} pipelines"
            out.print(f"{item.run_id} {item.name}{goes}: {item.reason}", markup=False)
        out.print(f"{plan.runs} runs and {plan.pipelines} pipelines would go")
    else:
        out.print(f"{report.removed_runs} runs and {report.removed_pipelines} pipelines deleted")


def reap(workspace: Workspace = DEFAULT_WORKSPACE, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Mark runs as failed whose process is gone from this machine. The flow `maintain` also asks the server of Prefect.

    \b
    Examples:
      n4a-flows reap
      n4a-flows reap --dry-run
    """
    with opened(workspace) as store:
        reaped = store.reap_dead_runs(dry_run=dry_run)
    if as_json:
        print_json(reaped)
        return
    for run in reaped:
        out.print(f"{run.run_id} {run.name}: {run.reason}", markup=False)
    out.print(f"{len(reaped)} runs had died")


def upgrade(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Folder of a workspace that nirs4all wrote.")],
    as_json: AsJson = False,
) -> None:
    """Bring a workspace of nirs4all to the layout of n4a-flows. The original database is kept beside the new one.

    \b
    Example:
      n4a-flows upgrade workspace
    """
    report = WorkspaceStore.upgrade(workspace)
    if as_json:
        print_json(report)
        return
    if report.kept is None:
        out.print(f"{report.workspace} is up to date already, nothing was done", markup=False)
        return
    out.print(f"{report.workspace} upgraded from {report.layout}", markup=False)
    out.print(", ".join(f"{count} {table}" for table, count in report.rows.items()))
    out.print(f"the original is kept as {report.kept}", markup=False)
    for warning in report.warnings:
        out.print(f"warning: {warning}", markup=False)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (check, gc, vacuum, retain, reap, backup, restore, upgrade):
        app.command(rich_help_panel="Look after the workspace")(command)
