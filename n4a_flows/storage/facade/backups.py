"""Verbs that copy a whole workspace: backup and restore."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from n4a_flows.storage import backup as backups
from n4a_flows.storage import backup_away
from n4a_flows.storage.backup import BackupReport, RestoreReport
from n4a_flows.storage.errors import TransactionError
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.places import Place, located

logger = logging.getLogger(__name__)


class BackupVerbs(StoreBase):
    """Backup and restore."""

    def backup(self, target: str | os.PathLike[str]) -> BackupReport:
        """Copy database and artifacts into a folder, as they are at one moment; others may go on working meanwhile.

        Writers wait only while the database is copied, and clean-ups are refused until the artifacts are copied too. Every artifact
        is compared with its hash. Backups of one workspace may go to the same folder again and again: artifacts that are there
        already are not copied again, and what only the earlier backup needed is removed at the end. Until a backup is whole, the
        one before it can be restored. `exports/` and whatever else lies in the workspace is not copied.

        Parameters
        ----------
        target
            The folder, which is made when it is not there; or a URL such as `s3://lab/backup`. There are no locks at a URL: nothing
            may restore from it meanwhile; and what is there already is not read, but known by its name, which is a hash, and size.

        Returns
        -------
        What the backup holds: when it was made, sizes (bytes), artifacts, rows by table, and how much of it was copied now.

        Raises
        ------
        InvalidInputError
            When the folder lies in the workspace or holds it, or holds something else than backups of this workspace.
        ArtifactMissingError, ArtifactCorruptError
            When the file of an artifact is gone or damaged, which is named; this backup is not finished then.
        StoreBusyError
            Also when another process writes to the same folder or restores from it.
        WorkspaceError
            Also when the folder cannot be written or its disk is full; this backup is not finished then.
        PlaceError
            When a URL cannot be reached or does not take the files; this backup is not finished then.
        TransactionError
            Inside a transaction.

        Examples
        --------
        >>> report = store.backup(folder / "backup")
        >>> report.rows["chains"], report.artifacts == report.copied_artifacts
        (1, True)
        >>> store.backup(folder / "backup").copied_artifacts
        0
        """
        self._refuse_closed()
        self._refuse_read_only("backup")
        if self._database.unit is not None:
            raise TransactionError("A backup copies what is committed, so it cannot be part of a transaction.")
        where = located(target)
        if isinstance(where, Place):
            report = backup_away.backup(self._database, self._files, where, self.lock_timeout)
        else:
            report = backups.backup(self._database, self._files, where, self.lock_timeout)
        logger.info("%s was backed up to %s: %d artifacts", self.workspace_path, report.target, report.artifacts)
        return report

    @staticmethod
    def restore(
        backup: str | os.PathLike[str], target: str | os.PathLike[str], *, dry_run: bool = False
    ) -> RestoreReport:
        """Make a workspace of a backup.

        Every byte is compared with its hash before anything is written. The copy is built beside the target as
        `<target>.restoring-...` and renamed when it is whole.

        Parameters
        ----------
        backup
            The folder that `backup` filled, or its URL. From a URL all of it is fetched to the disk of the target first, which
            needs room for it twice.
        target
            The new workspace folder: not there yet, or empty.
        dry_run
            Verify the backup and the target, and write nothing.

        Returns
        -------
        What was put in place, or would be: when the backup was made, sizes (bytes), artifacts and rows by table.

        Raises
        ------
        MissingFileError, PlaceError
            When the folder holds no finished backup; when its URL cannot be reached.
        InvalidInputError
            When the target holds something, or lies inside the backup.
        ArtifactMissingError, ArtifactCorruptError
            When an artifact of the backup is gone or damaged, which is named; nothing is restored then.
        SchemaError
            When the backup was made by a newer n4a_flows.
        StoreBusyError
            When a backup to that folder is being made.
        WorkspaceError
            When the database of the backup is damaged, or the disk refuses; nothing is restored then.

        Examples
        --------
        >>> report = store.backup(folder / "backup")
        >>> restored = WorkspaceStore.restore(folder / "backup", folder / "restored")
        >>> restored.created == report.created
        True
        >>> with WorkspaceStore(restored.workspace) as again:
        ...     again.replay_chain(chain_id, spectra.X[:3], spectra.axis).shape
        (3,)
        """
        where = located(backup)
        if isinstance(where, Place):
            report = backup_away.restore(where, Path(os.path.realpath(target)), dry_run=dry_run)
        else:
            report = backups.restore(where, target, dry_run=dry_run)
        if not dry_run:
            logger.info("%s was restored from %s: %d artifacts", report.workspace, where, report.artifacts)
        return report
