"""What a maintenance did, for people: what was found, what went and why, what stayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from n4a_flows.reports.leaderboard import markdown_table
from n4a_flows.storage import (
    CheckReport,
    CompactReport,
    Finding,
    GcPlan,
    GcReport,
    ReapedRun,
    RetentionPlan,
    RetentionReport,
)

_SHOWN = 30


@dataclass(frozen=True)
class Maintenance:
    """What the steps of a maintenance gave; None for a step that was not taken.

    Attributes
    ----------
    dry_run
        Whether the plans were only made.
    check
        The quick check that comes first.
    database_bytes_before, database_bytes_after
        Size of the database file.
    waiting
        The digest of the plan that waits for approval, None when none does.
    not_deleted
        Why what the plans name was not deleted, though this is no dry run; None when it was.
    """

    dry_run: bool
    check: CheckReport
    database_bytes_before: int
    database_bytes_after: int = 0
    reaped: tuple[ReapedRun, ...] = ()
    retention_plan: RetentionPlan | None = None
    retained: RetentionReport | None = None
    gc_plan: GcPlan | None = None
    collected: GcReport | None = None
    compacted: CompactReport | None = None
    verified: CheckReport | None = None
    waiting: str | None = None
    not_deleted: str | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All damage that was found."""
        later = () if self.verified is None else self.verified.findings
        return (*self.check.findings, *(finding for finding in later if finding not in self.check.findings))

    @property
    def ok(self) -> bool:
        """Whether no damage was found."""
        return not self.findings


def maintenance_markdown(done: Maintenance) -> str:
    """The report of a maintenance as Markdown: the outcome first, then each step with its reasons."""
    parts = [_outcome(done)]
    if done.findings:
        rows = ([finding.kind, finding.subject, finding.message] for finding in done.findings)
        parts.append("## Damage\n\n" + _cut_table(["what", "where", "what to do"], rows))
    if done.reaped:
        rows = ([run.name, run.run_id, run.reason] for run in done.reaped)
        parts.append("## Runs that had died\n\n" + _cut_table(["run", "id", "reason"], rows))
    if done.retention_plan is not None:
        parts.append(_retention(done.retention_plan))
    if done.gc_plan is not None:
        parts.append(_garbage(done.gc_plan))
        if done.dry_run and done.retention_plan is not None and done.retention_plan.retired:
            parts.append("What the retention would give up is not counted here yet.\n")
    return "\n".join(parts)


def _outcome(done: Maintenance) -> str:
    only_planned = done.dry_run or done.waiting is not None or done.not_deleted is not None
    would = "would go" if only_planned else "removed"
    rows = [["checks", "no damage" if done.ok else f"damage in {len(done.findings)} places"]]
    if not done.check.ok:
        rows.append(["deletions", "none: nothing is deleted from a damaged workspace"])
    if done.waiting is not None:
        rows += [["deletions", "none yet, it waits for approval"], ["plan", f"`{done.waiting[:12]}`"]]
    if done.not_deleted is not None:
        rows.append(["deletions", f"none: {done.not_deleted}"])
    rows.append(["runs that had died", str(len(done.reaped))])
    if done.retention_plan is not None:
        kept = 0 if done.retained is None else len(done.retained.kept)
        plan = f"{done.retention_plan.runs} runs, {done.retention_plan.pipelines} pipelines"
        rows.append([f"retention {would}", plan + _less(kept)])
    if done.gc_plan is not None:
        went = (done.gc_plan.files, done.gc_plan.bytes)
        kept = 0
        if done.collected is not None:
            went = (done.collected.removed_files, done.collected.freed_bytes)
            kept = len(done.collected.kept)
        rows.append([f"garbage {would}", f"{went[0]} files, {readable_bytes(went[1])}" + _less(kept)])
    if done.compacted is not None:
        before, after = readable_bytes(done.compacted.bytes_before), readable_bytes(done.compacted.bytes_after)
        dead = f"{done.compacted.dead_share:.0%} of it was dead" + (
            ", larger blocks" if done.compacted.outgrown else ""
        )
        rows.append(
            ["database", f"{before} → {after}, {dead}" if done.compacted.compacted else f"{before}, {dead}: left"]
        )
    else:
        rows.append(["database", readable_bytes(done.database_bytes_after or done.database_bytes_before)])
    if done.verified is not None:
        checked = done.verified.checked
        rows.append(["verified", f"{checked['hashed']} files hashed, {checked['replayed']} chains replayed"])
    return markdown_table(["step", "dry run: what would be done" if done.dry_run else "outcome"], rows)


def _less(kept: int) -> str:
    return f"; {kept} of the plan were needed by then and stayed" if kept else ""


def _retention(plan: RetentionPlan) -> str:
    rows = (
        [item.name, "whole" if item.whole else f"{len(item.pipeline_ids)} pipelines", item.reason, item.run_id]
        for item in plan.retired
    )
    kept = ", ".join(f"{count} ({reason})" for reason, count in plan.kept.items()) or "none"
    return f"## Retention\n\nRuns kept: {kept}. Plan `{plan.digest[:12]}`.\n\n" + _cut_table(
        ["run", "goes", "why", "id"], rows
    )


def _garbage(plan: GcPlan) -> str:
    reasons = Counter(item.reason.partition(", and it was last saved")[0] for item in plan.artifacts)
    reasons.update(item.reason for item in plan.orphans)
    moment = plan.saved_before[:19].replace("T", " ")
    text = f"## Garbage\n\nSaved before {moment} UTC. Plan `{plan.digest[:12]}`.\n\n"
    text += _cut_table(["why", "how many"], ([reason, str(count)] for reason, count in reasons.items()))
    if plan.foreign:
        text += f"\n{len(plan.foreign)} files in `artifacts/` were not written by n4a_flows and are left alone.\n"
    return text


def _cut_table(header: list[str], rows: Iterable[list[str]]) -> str:
    listed = list(rows)
    if not listed:
        return "Nothing.\n"
    more = f"\n… and {len(listed) - _SHOWN} more.\n" if len(listed) > _SHOWN else ""
    return markdown_table(header, listed[:_SHOWN]) + more


def readable_bytes(size: int) -> str:
    """A size for people: `12.3 MB`."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
