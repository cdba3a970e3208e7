"""The facade: every verb of the workspace in one class."""

from __future__ import annotations

import os

from n4a_flows.storage.facade.artifacts import ArtifactVerbs
from n4a_flows.storage.facade.backups import BackupVerbs
from n4a_flows.storage.facade.chains import ChainVerbs
from n4a_flows.storage.facade.checking import CheckVerbs
from n4a_flows.storage.facade.files import FileVerbs
from n4a_flows.storage.facade.finding import FindingVerbs
from n4a_flows.storage.facade.naming import NamingVerbs
from n4a_flows.storage.facade.references import ReferenceVerbs
from n4a_flows.storage.facade.runs import RunVerbs
from n4a_flows.storage.facade.scoring import ScoringVerbs
from n4a_flows.storage.facade.upkeep import UpkeepVerbs
from n4a_flows.storage.upgrade import UpgradeReport, upgrade


class WorkspaceStore(
    RunVerbs,
    ArtifactVerbs,
    ChainVerbs,
    FindingVerbs,
    FileVerbs,
    ScoringVerbs,
    ReferenceVerbs,
    NamingVerbs,
    UpkeepVerbs,
    BackupVerbs,
    CheckVerbs,
):
    """A workspace folder: `store.duckdb` and content-addressed `artifacts/`.

    The folder, the database and `artifacts/` are made when they are not there. Any number of processes and threads may use the
    same workspace; each verb is one transaction of its own, and `transaction()` makes many verbs one. A store can be pickled (path
    and settings travel) and used as a context manager.

    What any verb may raise is not repeated below: `StoreClosedError` after `close`, `StoreBusyError` when others hold the store for
    `lock_timeout` seconds, `WorkspaceError` when the disk or the database refuses, `TransactionError` inside a transaction that an
    earlier error doomed, `InvalidInputError` for a value that the database cannot take, and of verbs that write also on a store
    opened `read_only`.

    Parameters
    ----------
    workspace_path
        The folder.
    lock_timeout
        Seconds that a verb waits for the store before it raises `StoreBusyError`.
    trust
        What may be unpickled: `"all"` that is stored under a verified hash, classes of allowed `"modules"` only, or `"none"`.
    allowed_modules
        Prefixes of module names for trust `"modules"` and for rebuilding stateless steps.
    read_only
        Refuse every verb that writes.
    allow_network
        Use a network file system all the same; safe only while one machine uses the workspace.

    Raises
    ------
    WorkspaceError
        When the folder cannot be made, the database cannot be opened, is gone from a workspace with artifacts, or there is none to
        open `read_only`.
    SchemaError
        When the database was written by nirs4all or by a newer n4a_flows.
    UnsupportedPlatformError
        On Windows, and on network file systems.
    InvalidInputError
        When `lock_timeout` or `trust` has a value that cannot be taken.

    Examples
    --------
    >>> with WorkspaceStore(folder) as store:
    ...     run_id = store.begin_run("nightly", config={}, datasets=["tecator"])
    ...     store.complete_run(run_id, {"pipelines": 0})
    ...     store.get_run(run_id)["status"]
    'completed'
    """

    @staticmethod
    def upgrade(
        workspace_path: str | os.PathLike[str], *, lock_timeout: float = 60.0, allow_network: bool = False
    ) -> UpgradeReport:
        """Bring a workspace that nirs4all wrote to the schema of this package, and keep the original database beside it.

        A workspace that is up to date is left as it is. See `UpgradeReport` for what comes back.

        Raises
        ------
        MissingFileError
            When there is no `store.duckdb` in the folder.
        SchemaError
            When it is no workspace, or one of a newer n4a_flows.
        StoreBusyError
            When somebody has the store open until the deadline.
        WorkspaceError
            When a file cannot be read or written, or the disk is full; the old database is still in place then.
        UnsupportedPlatformError
            On network file systems.
        """
        return upgrade(workspace_path, lock_timeout=lock_timeout, allow_network=allow_network)
