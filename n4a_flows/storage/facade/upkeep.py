"""Verbs that remove: deletion, garbage collection, compaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from n4a_flows.storage import cleaning, cleanup, compaction, gc, retention
from n4a_flows.storage.cleaning import CleaningPlan, CleaningReport
from n4a_flows.storage.compaction import CompactReport
from n4a_flows.storage.errors import TransactionError
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.gc import GcPlan, GcReport
from n4a_flows.storage.retention import RetentionPlan, RetentionPolicy, RetentionReport

GRACE = timedelta(hours=1)
"""How long an artifact that no chain references is left alone, for a recording may still be on its way."""


class UpkeepVerbs(StoreBase):
    """Deletion, garbage collection and compaction."""

    def delete_run(self, run_id: str, delete_artifacts: bool = True, *, force: bool = False) -> int:
        """Delete a run with its pipelines, chains, predictions, arrays and logs, in one transaction.

        Scored files and samples stay, and so does what other runs share.

        Parameters
        ----------
        delete_artifacts
            Also give back its references and remove the artifacts that nothing needs any more.
        force
            Delete even chains that an alias names, or named lately.

        Returns
        -------
        How many rows went (artifacts not counted); 0 for an unknown run.

        Raises
        ------
        ProtectedError
            When an alias needs one of its chains; nothing is deleted then.
        ArtifactMissingError
            When artifacts would go, but the file of one that another chain needs is missing; nothing is deleted then.

        Examples
        --------
        >>> store.delete_run(run_id) > 0, store.get_run(run_id)
        (True, None)
        """
        with self._writing("delete_run") as session:
            return cleanup.delete_run(session, self._files, run_id, delete_artifacts, force)

    def plan_retention(self, policy: RetentionPolicy) -> RetentionPlan:
        """Find the runs, and pipelines of runs, that no rule of a policy keeps; nothing is changed.

        Raises
        ------
        InvalidInputError
            When the policy has no rule, or no run that has ended would be left, and it does not say that this is meant.

        Examples
        --------
        >>> plan = store.plan_retention(RetentionPolicy(last_runs=30, best_chains=5))
        >>> plan.runs, plan.kept
        (0, {'among the last 30 runs': 1})
        """
        with self._reading("plan_retention") as session:
            return retention.plan(session, policy)

    def apply_retention(self, plan: RetentionPlan) -> RetentionReport:
        """Delete exactly what a plan names, less what its policy keeps by now, in one transaction.

        Only rows go; the next garbage collection removes the artifacts that nothing needs any more. Scored files and samples stay.

        Raises
        ------
        InvalidInputError
            When by now no run that has ended would be left, which the policy does not allow; nothing is deleted then.
        """
        with self._writing("apply_retention") as session:
            return retention.apply(session, plan)

    def plan_gc(self, grace: timedelta = GRACE) -> GcPlan:
        """Find what a garbage collection would remove; nothing is changed.

        Parameters
        ----------
        grace
            Artifacts without a chain that were saved, and files without a row that were written, within this time are left alone: a
            recording may be on its way.

        Raises
        ------
        ArtifactMissingError
            When the file of an artifact that a chain needs is missing: restore it first.
        InvalidInputError
            When the grace period is negative.
        """
        with self._reading("plan_gc") as session:
            return gc.plan(session, self._files, grace)

    def apply_gc(self, plan: GcPlan) -> GcReport:
        """Remove exactly what a plan names, less what has come alive since.

        Raises
        ------
        ArtifactMissingError
            When the file of an artifact that a chain needs is missing; nothing is removed then.
        StoreBusyError
            While a backup copies the artifacts, when files would go; nothing is removed then.
        """
        with self._writing("apply_gc") as session:
            return gc.apply(session, self._files, plan)

    def plan_cleaning(self, policy: RetentionPolicy | None = None, grace: timedelta = GRACE) -> CleaningPlan:
        """Find what retention and then garbage collection would delete, as one plan; nothing is changed.

        Other than `plan_gc`, it counts the artifacts that the retention would release.

        Parameters
        ----------
        policy
            Which runs are kept; None keeps all.
        grace
            As in `plan_gc`.

        Raises
        ------
        InvalidInputError
            When the policy has no rule or would leave no run that has ended, or the grace period is negative.
        ArtifactMissingError
            When the file of an artifact that a chain needs is missing: restore it first.
        TransactionError
            Inside a transaction.

        Examples
        --------
        >>> plan = store.plan_cleaning(RetentionPolicy(last_runs=30))
        >>> plan.empty, plan.garbage.files
        (True, 0)
        """
        if policy is None:
            with self._reading("plan_cleaning") as session:
                return cleaning.plan(session, self._files, None, grace)
        if self.in_transaction:
            raise TransactionError("'plan_cleaning' deletes and takes it back, so it cannot be part of a transaction.")
        try:
            with self._writing("plan_cleaning") as session:
                raise cleaning.Undone(cleaning.plan(session, self._files, policy, grace))
        except cleaning.Undone as undone:
            return undone.plan

    def apply_cleaning(self, plan: CleaningPlan) -> CleaningReport:
        """Delete exactly what a plan names, in one transaction; nothing at all when any of it is needed by now.

        What others deleted meanwhile is no obstacle.

        Raises
        ------
        PlanOutdatedError
            When something of it came to be needed since the plan was made; nothing is deleted then.
        ArtifactMissingError
            When the file of an artifact that a chain needs is missing; nothing is deleted then.
        InvalidInputError
            When by now no run that has ended would be left, which the policy does not allow; nothing is deleted then.
        StoreBusyError
            While a backup copies the artifacts, when files would go; nothing is deleted then.
        """
        with self._writing("apply_cleaning") as session:
            return cleaning.apply(session, self._files, plan)

    def gc_artifacts(self) -> int:
        """Remove artifacts that no chain references and that have no reference left, or were saved over an hour ago.

        This is `plan_gc` and `apply_gc` in one.

        Returns
        -------
        How many files went.

        Raises
        ------
        ArtifactMissingError
            When the file of an artifact that a chain needs is missing; nothing is removed then.
        StoreBusyError
            While a backup copies the artifacts, when files would go; nothing is removed then.
        """
        with self._writing("gc_artifacts") as session:
            return gc.apply(session, self._files, gc.plan(session, self._files, GRACE)).removed_files

    def compact(self, min_dead_share: float = 0.3, *, dry_run: bool = False) -> CompactReport:
        """Rewrite the database file without the space of deleted rows, if enough of it is dead.

        Once in its life a file is rewritten although little of it is dead: when 100 MiB of it are alive, for large blocks.

        Parameters
        ----------
        min_dead_share
            Least share of dead row places in the file (0 to 1) for which it is done.
        dry_run
            Say how much is dead, and do nothing.

        Returns
        -------
        Whether it was done, sizes before and after (bytes), dead share, live rows by table, and whether larger blocks were due.

        Raises
        ------
        WorkspaceError
            When the disk has no room for the copy; the old file is in place then.
        TransactionError
            Inside a transaction.
        InvalidInputError
            When the share does not lie between 0 and 1.
        """
        self._refuse_closed()
        self._refuse_read_only("compact")
        self._refuse_transaction("compact")
        return compaction.compact(self._database, self.lock_timeout, min_dead_share, dry_run=dry_run)

    def vacuum(self) -> None:
        """Rewrite the database file without the space of deleted rows: `compact(0)`, and raises what that does."""
        self.compact(0.0)

    def cleanup_transient_artifacts(self, run_id: str, dataset_name: str, winning_pipeline_ids: Sequence[str]) -> int:
        """Give up the fold artifacts of a run that no stored prediction, winning pipeline or alias needs.

        Folds with a prediction stay; a prediction of fold `avg`, `w_avg` or without a name keeps all folds of its chain. Winners
        also keep their refit, averages and shared artifacts; chains that an alias names, or named lately, keep all. A chain that
        lost artifacts says so when it is replayed.

        Parameters
        ----------
        dataset_name
            Only chains whose pipelines were trained on this dataset.
        winning_pipeline_ids
            Pipelines of the run that are to stay able to predict.

        Returns
        -------
        How many files went.

        Raises
        ------
        UnknownIdError
            When there is no such run, or a winner is no pipeline of it that was trained on this dataset; nothing is changed then.
        InvalidInputError
            When the winners are a single text instead of a list.
        ArtifactMissingError
            When files would go, but the file of an artifact that a chain needs is missing; nothing is changed then.
        """
        with self._writing("cleanup_transient_artifacts") as session:
            return cleanup.trim_run(session, self._files, run_id, dataset_name, winning_pipeline_ids)
