"""A workspace of nirs4all becomes a workspace of this package.

Its database is copied into a new file beside it, compared with it, and only then replaced by it, in one rename. Whenever the
process dies, `store.duckdb` is either the old database or the new one, whole. The old one is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from n4a_flows.storage import old_layouts, schema
from n4a_flows.storage.clock import now
from n4a_flows.storage.database import FILE_NAME, Database
from n4a_flows.storage.durable_files import sync_folder
from n4a_flows.storage.errors import MissingFileError, N4AError, SchemaError, StoreBusyError, WorkspaceError
from n4a_flows.storage.locks import refuse_network_file_system
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

_NEW_NAME = FILE_NAME + ".upgrading"
_KEPT_NAME = FILE_NAME + ".nirs4all-"


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade did.

    Attributes
    ----------
    workspace
        Absolute path of the workspace folder.
    layout
        The layout that was found (`"nirs4all 0.7.1"` or `"nirs4all after 0.7.1"`); None when the workspace was up to date already
        and nothing was done.
    rows
        Rows copied, by table.
    kept
        The old database, as it was found; its write-ahead log, if it had one, stands beside it under the same name and `.wal`.
    warnings
        What is not as it should be and was so before: artifacts without a file, chains that name artifacts which do not exist ...
        Nothing was left out because of them.
    """

    workspace: Path
    layout: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    kept: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def upgraded(self) -> bool:
        """Whether anything was done."""
        return self.layout is not None


def upgrade(
    workspace_path: str | os.PathLike[str], *, lock_timeout: float = 60.0, allow_network: bool = False
) -> UpgradeReport:
    """Bring the database of a workspace that nirs4all wrote to the schema of this package.

    Nothing but the database is touched. Every row is copied as it is, times too: nirs4all wrote them in the local time of its
    machine and did not record which. Hashes lose the prefix `sha256:`. Chain summaries are computed where the old layout had none.
    It needs free disk space for a second database, and for a third when a write-ahead log was left over. An interrupted upgrade
    is simply run again.

    Parameters
    ----------
    workspace_path
        The workspace folder.
    lock_timeout
        Seconds to wait for other processes that use the workspace.
    allow_network
        Work on a network file system all the same.

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
    workspace = Path(os.path.realpath(workspace_path))
    store = workspace / FILE_NAME
    if store.is_symlink():
        raise WorkspaceError(f"{store} is a link: upgrade the folder that holds the file itself.")
    if not store.is_file():
        raise MissingFileError(f"There is no workspace to upgrade in {workspace}: it holds no {FILE_NAME}.")
    if not allow_network:
        refuse_network_file_system(workspace)
    database = Database.at(workspace)
    with database.held(operation="upgrade", timeout=lock_timeout), _explained(store):
        return _Upgrade(workspace, database, lock_timeout).run()


@contextlib.contextmanager
def _explained(store: Path) -> Iterator[None]:
    try:
        yield
    except N4AError:
        raise
    except OSError as error:
        raise WorkspaceError(
            f"The upgrade of {store} did not finish: {error.strerror or error} ({error.filename}). Nothing is lost; run it again "
            "when that is mended."
        ) from error


class _Upgrade:
    """One upgrade, while the store is held."""

    def __init__(self, workspace: Path, database: Database, timeout: float) -> None:
        self._workspace = workspace
        self._database = database
        self._timeout = timeout
        self._store = database.path
        self._new = self._store.with_name(_NEW_NAME)
        self._kept = self._store.with_name(_KEPT_NAME + now().strftime("%Y%m%dT%H%M%S.%fZ"))
        self._changed = False

    def run(self) -> UpgradeReport:
        self._clear()
        try:
            if not self._keep_if_old():
                return UpgradeReport(self._workspace)
            if self._journals():
                # A log of the old file would make the new one unopenable.
                self._changed = True
                with self._opened(self._store, write=True):
                    pass
            with self._opened(self._store, name="old"):
                if self._journals():
                    raise StoreBusyError(
                        f"Another program wrote to {self._store} meanwhile, so it was not upgraded. Close it there, then try again."
                    )
                copied = self._write_new()
                self._new.chmod(self._store.stat().st_mode & 0o777)
                sync_folder(self._new)
                # Before the old file is detached, so that no other program can write to it in between.
                self._changed = True
                self._new.replace(self._store)
                sync_folder(self._workspace)
        except BaseException:
            self._clear()
            if not self._changed:
                for path in self._workspace.glob(self._kept.name + "*"):
                    path.unlink()
            raise
        logger.info("%s was upgraded from %s; the original is kept as %s", self._workspace, copied.layout, self._kept)
        return UpgradeReport(self._workspace, copied.layout, copied.rows, self._kept, tuple(copied.warnings))

    def _opened(
        self, path: Path, *, write: bool = False, name: str = "ws"
    ) -> contextlib.AbstractContextManager[Session]:
        return self._database.opened(path, write=write, operation="upgrade", timeout=self._timeout, name=name)

    def _journals(self) -> list[Path]:
        """The write-ahead log of the store, and what DuckDB leaves beside it when it dies in a checkpoint."""
        return sorted(self._workspace.glob(FILE_NAME + ".wal*"))

    def _clear(self) -> None:
        """Remove what an interrupted upgrade left behind."""
        for path in self._workspace.glob(_NEW_NAME + "*"):
            path.unlink()

    def _keep_if_old(self) -> bool:
        """Give an old database a second name or, with a log, a copy; False when it is up to date already."""
        with contextlib.ExitStack() as stack:
            # Opened before DuckDB opens them and closed afterwards: closing one earlier would drop DuckDB's lock.
            files = [stack.enter_context(path.open("rb")) for path in (self._store, *self._journals())]
            with self._opened(self._store) as session:
                if not _is_old(session):
                    return False
                if len(files) > 1 or not self._link():
                    self._copy(files)
        sync_folder(self._workspace)
        return True

    def _link(self) -> bool:
        """Whether the database has a second name; an interrupted upgrade may have given it one."""
        for earlier in self._workspace.glob(_KEPT_NAME + "*"):
            if earlier.samefile(self._store):
                self._kept = earlier
                return True
        try:
            self._kept.hardlink_to(self._store)
        except OSError:
            return False  # not every file system has second names
        return True

    def _copy(self, files: Sequence[BinaryIO]) -> None:
        """Copy the database last, so that the copy's name never stands for half of it."""
        for file in reversed(files):
            suffix = Path(file.name).name.removeprefix(FILE_NAME)
            temporary = self._store.with_name(_NEW_NAME + ".copy")
            with temporary.open("xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            shutil.copystat(file.name, temporary)
            sync_folder(temporary)
            temporary.replace(self._kept.with_name(self._kept.name + suffix))

    def _write_new(self) -> old_layouts.Copied:
        with self._opened(self._new, write=True) as session:
            schema.create(session)
            copied = old_layouts.copy(session, self._workspace / "artifacts")
        with self._opened(self._new) as session:
            old_layouts.compare(session, copied)
        return copied


def _is_old(session: Session) -> bool:
    tables = {name for (name,) in session.rows("SELECT table_name FROM duckdb_tables() WHERE database_name = 'ws'")}
    if "meta" not in tables and old_layouts.recognised(tables):
        return True
    version = schema.version_of(session)
    if version is None:
        raise SchemaError(
            "This store.duckdb holds no tables yet, so there is nothing to upgrade: just open the workspace."
        )
    schema.refuse_newer(version)
    return False
