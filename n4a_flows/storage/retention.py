"""Retention as plan and apply: which runs are kept, and what of the others.

Each rule of a policy keeps something; what no rule keeps goes. A run that is kept only for some of its chains keeps the pipelines
of those chains and gives up the others. Rows go here; the files that nothing needs any more go with the next garbage collection.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from n4a_flows.storage import aliases, cleanup
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.storage.queries import HIGHER_IS_BETTER, LOWER_IS_BETTER
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetentionPolicy:
    """What is kept. Rules add up; one that is None keeps nothing.

    Runs that have not ended are always kept, and so are the chains that an alias names, and the three that it named before. Without
    `last_runs`, `days` and `best_chains` the policy is about failed runs only, and all others stay.

    Attributes
    ----------
    last_runs
        The latest runs.
    days
        Runs that began within this many days.
    best_chains
        The best chains for each dataset, target and metric, by the pooled out-of-fold score of their pipelines.
    failed_days
        Failed runs that began within this many days; no other rule keeps failed runs then. When None they are treated as any run.
    remove_everything
        Allow a policy without a rule, which removes all of them, and a plan that leaves no run that has ended.

    Raises
    ------
    InvalidInputError
        When a number is negative.
    """

    last_runs: int | None = None
    days: float | None = None
    best_chains: int | None = None
    failed_days: float | None = None
    remove_everything: bool = False

    @property
    def for_completed(self) -> bool:
        """Whether a rule says which completed runs are kept."""
        return (self.last_runs, self.days, self.best_chains) != (None, None, None)

    def __post_init__(self) -> None:
        for name in ("last_runs", "days", "best_chains", "failed_days"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InvalidInputError(f"{name} of a retention policy must be at least 0, not {value!r}.")


@dataclass(frozen=True)
class RetiredRun:
    """A run that goes, or gives up pipelines.

    Attributes
    ----------
    run_id, name
        The run.
    pipeline_ids
        The pipelines that go with all they recorded.
    whole
        Whether the run itself goes too.
    reason
        Why.
    """

    run_id: str
    name: str
    pipeline_ids: tuple[str, ...]
    whole: bool
    reason: str


@dataclass(frozen=True)
class RetentionPlan:
    """What a policy would remove.

    Attributes
    ----------
    made_at
        The moment that days are counted from (naive UTC, ISO 8601).
    policy
        The policy.
    retired
        Runs that go or give up pipelines.
    kept
        How many runs stay, by the rule that keeps them first.
    """

    made_at: str
    policy: RetentionPolicy
    retired: tuple[RetiredRun, ...]
    kept: dict[str, int]

    @property
    def runs(self) -> int:
        """How many runs go whole."""
        return sum(item.whole for item in self.retired)

    @property
    def pipelines(self) -> int:
        """How many pipelines go, those of whole runs too."""
        return sum(len(item.pipeline_ids) for item in self.retired)

    @property
    def digest(self) -> str:
        """SHA-256 of what would be removed, 64 hexadecimal digits: two plans with one digest are the same."""
        return hashlib.sha256(canonical_json([asdict(item) for item in self.retired]).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON takes it, with its counts and digest."""
        return {**asdict(self), "runs": self.runs, "pipelines": self.pipelines, "digest": self.digest}


@dataclass(frozen=True)
class RetentionReport:
    """What a retention removed.

    Attributes
    ----------
    removed_runs, removed_pipelines, removed_rows
        How many went; rows of all tables.
    kept
        Ids of planned runs and pipelines that are to be kept by now, and stayed.
    """

    removed_runs: int
    removed_pipelines: int
    removed_rows: int
    kept: tuple[str, ...]


def plan(session: Session, policy: RetentionPolicy, made_at: datetime | None = None) -> RetentionPlan:
    """Find what a policy would remove; nothing is changed.

    Raises
    ------
    InvalidInputError
        When the policy has no rule, or no run that has ended would be left, and it does not say that this is meant.
    """
    if not policy.for_completed and policy.failed_days is None and not policy.remove_everything:
        raise InvalidInputError(
            "This policy has no rule, so it does not say which runs are kept. Give last_runs, days, best_chains or failed_days, or "
            "set remove_everything if all of them shall go."
        )
    moment = made_at or now()
    runs = session.dicts("SELECT run_id, name, status, created_at FROM runs ORDER BY created_at DESC, rowid DESC")
    pipelines: dict[str, list[str]] = {row["run_id"]: [] for row in runs}
    for run_id, pipeline_id in session.rows("SELECT run_id, pipeline_id FROM pipelines ORDER BY created_at, rowid"):
        pipelines.setdefault(run_id, []).append(pipeline_id)
    needed = _needed_pipelines(session, policy)
    reasons = _kept_whole(runs, policy, moment)
    retired, kept = [], []
    for run in runs:
        run_id = run["run_id"]
        if run_id in reasons:
            kept.append(reasons[run_id])
            continue
        held = [needed[pipeline_id] for pipeline_id in pipelines[run_id] if pipeline_id in needed]
        going = tuple(pipeline_id for pipeline_id in pipelines[run_id] if pipeline_id not in needed)
        kept += held[:1]
        if going or not held:
            said = f"{run['status']}, begun {run['created_at'].isoformat(sep=' ', timespec='seconds')} UTC; "
            said += f"kept only for {len(held)} of its pipelines" if held else "no rule keeps it"
            retired.append(RetiredRun(run_id, run["name"], going, not held, said))
    nothing_left = any(item.whole for item in retired) and set(kept) <= {_BY_STATUS}
    if policy.for_completed and nothing_left and not policy.remove_everything:
        raise InvalidInputError(
            f"This policy would remove every run that has ended ({len(retired)}). Add a rule that keeps some, or set "
            "remove_everything if it is meant."
        )
    return RetentionPlan(moment.isoformat(), policy, tuple(retired), _counted(kept))


def apply(session: Session, planned: RetentionPlan) -> RetentionReport:
    """Remove what a plan names and what its policy, asked again, still does not keep."""
    still = {
        item.run_id: item for item in plan(session, planned.policy, datetime.fromisoformat(planned.made_at)).retired
    }
    pipelines, runs, kept = [], [], []
    for item in planned.retired:
        current = still.get(item.run_id)
        allowed = set(current.pipeline_ids) if current is not None else set()
        pipelines += [pipeline_id for pipeline_id in item.pipeline_ids if pipeline_id in allowed]
        kept += [pipeline_id for pipeline_id in item.pipeline_ids if pipeline_id not in allowed]
        # A pipeline that was added since the plan was made is not in it, and keeps its run.
        if item.whole and current is not None and current.whole and set(current.pipeline_ids) <= set(item.pipeline_ids):
            runs.append(item.run_id)
        elif item.whole:
            kept.append(item.run_id)
    rows = cleanup.delete_pipelines(session, pipelines) + cleanup.delete_emptied_runs(session, runs)
    session.tell(
        logger,
        "Retention by plan %s deleted %d pipelines and %d runs%s",
        planned.digest[:12],
        len(pipelines),
        len(runs),
        f": {', '.join(runs)}" if runs else "",
    )
    return RetentionReport(len(runs), len(pipelines), rows, tuple(kept))


_BY_STATUS, _BY_ALIAS, _BY_RANK = "has not ended", "an alias needs a chain of it", "among the best chains"
_UNTOUCHED = "no rule is about completed runs"


def _kept_whole(runs: Sequence[dict[str, Any]], policy: RetentionPolicy, moment: datetime) -> dict[str, str]:
    """Why a run is kept with everything, by run id; `runs` are the newest first."""
    reasons: dict[str, str] = {}

    def keep(kept: Iterable[dict[str, Any]], reason: str) -> None:
        for run in kept:
            reasons.setdefault(run["run_id"], reason)

    def within(days: float, of: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [run for run in of if (moment - run["created_at"]).total_seconds() <= days * 86_400]

    ended = [run for run in runs if run["status"] in ("completed", "failed")]
    keep((run for run in runs if run not in ended), _BY_STATUS)
    if policy.failed_days is not None:
        failed = [run for run in ended if run["status"] == "failed"]
        ended = [run for run in ended if run["status"] != "failed"]
        keep(within(policy.failed_days, failed), f"failed within {policy.failed_days:g} days")
        if not policy.for_completed:
            keep(ended, _UNTOUCHED)
    if policy.last_runs is not None:
        keep(ended[: policy.last_runs], f"among the last {policy.last_runs} runs")
    if policy.days is not None:
        keep(within(policy.days, ended), f"begun within {policy.days:g} days")
    return reasons


def _needed_pipelines(session: Session, policy: RetentionPolicy) -> dict[str, str]:
    """Why a pipeline is kept for a chain of it, by pipeline id."""
    protected = {chain_id for _, chain_id, _ in aliases.protected(session)}
    needed = {
        pipeline_id: _BY_ALIAS
        for chain_id, pipeline_id in session.rows("SELECT chain_id, pipeline_id FROM chains")
        if chain_id in protected
    }
    if policy.best_chains:
        rows = session.dicts(
            "SELECT p.dataset_name, x.target, lower(p.metric) AS metric, p.best_val, p.pipeline_id, x.digest FROM pipelines p "
            "JOIN chains c USING (pipeline_id) LEFT JOIN chain_context x USING (chain_id) WHERE p.status = 'completed' "
            "AND isfinite(p.best_val) AND p.metric IS NOT NULL ORDER BY c.created_at DESC, c.rowid DESC"
        )
        ranked: dict[tuple[str, str | None, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["metric"] in HIGHER_IS_BETTER | LOWER_IS_BETTER:
                ranked.setdefault((row["dataset_name"], row["target"], row["metric"]), []).append(row)
            else:
                needed.setdefault(row["pipeline_id"], f"whether more or less {row['metric']} is better is not known")
        for (_, _, metric), group in ranked.items():
            group.sort(key=lambda row: row["best_val"], reverse=metric in HIGHER_IS_BETTER)
            # The same training night after night gives the same chain: the latest stands for all of them.
            distinct = {row["digest"]: row["pipeline_id"] for row in reversed(group)}
            order = dict.fromkeys(row["digest"] for row in group)
            for digest in list(order)[: policy.best_chains]:
                needed.setdefault(distinct[digest], _BY_RANK)
    return needed


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return counts
