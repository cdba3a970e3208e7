"""What every verb of the store stands on: opening, closing, sessions and units of work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from n4a_flows.storage import migrations, schema
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES, Trust, check_trust
from n4a_flows.storage.database import Database
from n4a_flows.storage.errors import InvalidInputError, StoreClosedError, TransactionError, WorkspaceError
from n4a_flows.storage.locks import refuse_network_file_system
from n4a_flows.storage.session import Session
from n4a_flows.storage.unit_of_work import UnitOfWork, transaction, verb


class StoreBase:
    """Closing and transactions. A verb is one commit by itself, or one of many inside a transaction."""

    def __init__(
        self,
        workspace_path: str | os.PathLike[str],
        *,
        lock_timeout: float = 60.0,
        trust: Trust = "all",
        allowed_modules: Iterable[str] = DEFAULT_ALLOWED_MODULES,
        read_only: bool = False,
        allow_network: bool = False,
    ) -> None:
        check_trust(trust)
        if not lock_timeout >= 0:
            raise InvalidInputError(f"lock_timeout must be a number of seconds of at least 0, not {lock_timeout!r}.")
        # Absolute from here on: the store means the same folder when the process changes its own.
        self._workspace_path = Path(os.path.abspath(workspace_path))
        self._settings: dict[str, Any] = {
            "lock_timeout": float(lock_timeout),
            "trust": trust,
            "allowed_modules": tuple(allowed_modules),
            "read_only": bool(read_only),
            "allow_network": bool(allow_network),
        }
        self._closed = False
        self._outdated = False
        self._make_folder()
        if not allow_network:
            refuse_network_file_system(Path(os.path.realpath(self._workspace_path)))
        self._database = Database.at(self._workspace_path)
        # By the real path, as the database is: should a link in between be moved, rows and files stay together.
        self._files = ArtifactFiles(self._database.path.parent / "artifacts")
        self._make_or_check_database()

    @property
    def workspace_path(self) -> Path:
        """Absolute path of the workspace folder."""
        return self._workspace_path

    @property
    def lock_timeout(self) -> float:
        """Seconds that a verb waits for the store before it raises `StoreBusyError`."""
        seconds: float = self._settings["lock_timeout"]
        return seconds

    @property
    def trust(self) -> Trust:
        """What may be unpickled."""
        trust: Trust = self._settings["trust"]
        return trust

    @property
    def allowed_modules(self) -> tuple[str, ...]:
        """Modules whose classes may be loaded with trust `"modules"`, or rebuilt for a stateless step."""
        modules: tuple[str, ...] = self._settings["allowed_modules"]
        return modules

    @property
    def read_only(self) -> bool:
        """Whether verbs that write are refused."""
        return bool(self._settings["read_only"])

    @property
    def in_transaction(self) -> bool:
        """Whether this thread has begun a transaction of this workspace."""
        return self._database.unit is not None

    def transaction(self) -> AbstractContextManager[UnitOfWork]:
        """Make any number of verbs one atomic commit.

        It takes the store at its first verb and gives it back at its end, so do slow work (fitting, `prepare_artifact`) before.
        It nests; an exception that leaves an inner block dooms the outer one, even if it is caught in between. A verb that was
        refused before it changed anything leaves it whole. It belongs to the thread and the asyncio task that began it; other
        threads and processes wait until it ends.

        Raises
        ------
        TransactionError
            At the end, when something in it failed and the error was caught inside: nothing is stored then. Also when another task
            of the same thread uses the store meanwhile.
        InvalidInputError
            When the store is read-only.

        Examples
        --------
        >>> with store.transaction():
        ...     run_id = store.begin_run("nightly", {}, [])
        ...     store.complete_run(run_id, {})
        """
        self._refuse_closed()
        self._refuse_read_only("transaction")
        return transaction(self._database, self.lock_timeout)

    def close(self) -> None:
        """Close the store; every verb raises `StoreClosedError` from now on. Closing twice is harmless.

        Examples
        --------
        >>> store.close()
        >>> store.list_runs()
        Traceback (most recent call last):
        n4a_flows.storage.errors.StoreClosedError: WorkspaceStore is closed; open it again with WorkspaceStore(path).
        """
        self._closed = True

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._workspace_path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"workspace_path": self._workspace_path, "closed": self._closed, **self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        closed = state.pop("closed")
        self.__init__(**state)  # type: ignore[misc]
        self._closed = closed

    @contextmanager
    def _reading(self, operation: str, *, by_ids: bool = False) -> Iterator[Session]:
        self._refuse_closed()
        with verb(
            self._database, write=False, operation=operation, timeout=self.lock_timeout, by_ids=by_ids
        ) as session:
            if self._outdated:
                with migrations.shown_as_current(session):
                    yield session
            else:
                yield session

    @contextmanager
    def _writing(self, operation: str) -> Iterator[Session]:
        self._refuse_closed()
        self._refuse_read_only(operation)
        with verb(self._database, write=True, operation=operation, timeout=self.lock_timeout) as session:
            yield session

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosedError("WorkspaceStore is closed; open it again with WorkspaceStore(path).")

    def _refuse_read_only(self, operation: str) -> None:
        if self.read_only:
            raise InvalidInputError(
                f"This store was opened read-only, so {operation!r} is refused. Open it with read_only=False."
            )

    def _refuse_transaction(self, operation: str) -> None:
        if self._database.unit is not None:
            raise TransactionError(f"{operation!r} replaces the database file, so it cannot be part of a transaction.")

    def _make_folder(self) -> None:
        if self.read_only:
            if not (self._workspace_path / "store.duckdb").is_file():
                raise WorkspaceError(f"There is no workspace at {self._workspace_path} to open read-only.")
            return
        try:
            (self._workspace_path / "artifacts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"The workspace {self._workspace_path} cannot be made: {error.strerror}.") from error

    def _make_or_check_database(self) -> None:
        if self._database.schema_is_current:
            return
        version = None
        if self._database.path.is_file():
            with self._reading("open") as session:
                version = schema.version_of(session)
        if version is None:
            self._refuse_lost_database()
            create = verb(
                self._database, write=True, create=True, operation="create workspace", timeout=self.lock_timeout
            )
            with create as session:
                version = schema.version_of(session)
                if version is None:
                    schema.create(session)
                    return
        schema.refuse_newer(version)
        if version < schema.SCHEMA_VERSION:
            self._bring_up_to_date()
        else:
            self._database.note_current_schema()

    def _bring_up_to_date(self) -> None:
        # A store that may not write reads the older version as it is.
        self._outdated = self.read_only
        if not self.read_only:
            with self._writing("migrate workspace") as session:
                migrations.migrate(session)

    def _refuse_lost_database(self) -> None:
        # An empty database beside full folders would make every artifact look like garbage.
        if not self._database.path.exists() and any(self._files.folder.glob("??/*")):
            raise WorkspaceError(
                f"{self._workspace_path} holds artifacts, but {self._database.path.name} is gone. Restore it from a backup, or "
                "move the folder 'artifacts' away to begin anew."
            )
