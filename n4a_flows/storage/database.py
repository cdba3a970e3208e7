"""The one door to `store.duckdb`.

Nothing else opens that file. Every operation takes the lock, attaches the file to this process's in-memory DuckDB, works in one
transaction, detaches and lets the lock go: no handle outlives it, so any number of processes can take turns.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import re
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from n4a_flows.storage.errors import StoreBusyError, TransactionError, WorkspaceError
from n4a_flows.storage.locks import StoreLock
from n4a_flows.storage.session import Session, interrupts_kept

if TYPE_CHECKING:
    from n4a_flows.storage.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

FILE_NAME = "store.duckdb"

SMALL_BLOCKS, LARGE_BLOCKS = 65_536, 262_144
"""Bytes. With small blocks a new workspace takes 0.2 MB, not 0.8; a large one is opened faster with large ones."""

LARGE = 100 * 2**20
"""Bytes from which a database is large."""

_NEEDED_FOR_KEYS = ["filter_pushdown", "expression_rewriter"]  # of DuckDB's optimizer

_registry_lock = threading.Lock()
_databases: weakref.WeakValueDictionary[Path, Database] = weakref.WeakValueDictionary()
# The one used last stays, though nobody has a store open: building its DuckDB anew would take 15 ms of opening the store again.
_latest: Database | None = None
_FOREIGN_HOLDER = re.compile(r"Conflicting lock is held in (?:(?P<program>.*?) ?\()?PID (?P<pid>\d+)", re.DOTALL)


def refuse_missing_workspace(workspace: Path, advice: str) -> None:
    """Raise `WorkspaceError` when there is no workspace in a folder, or it cannot be looked at."""
    try:
        there = (workspace / FILE_NAME).is_file()
    except OSError as error:
        raise WorkspaceError(f"The workspace {workspace} cannot be read: {error.strerror}.") from error
    if not there:
        raise WorkspaceError(f"There is no workspace in {workspace}: {advice}.")


class Database:
    """The database file of one workspace as this process sees it; get it with `Database.at`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = StoreLock(path)
        self._start_afresh()

    @classmethod
    def at(cls, workspace: Path) -> Database:
        """The database of a workspace folder; the same object for every path that leads there."""
        global _latest
        path = Path(os.path.realpath(workspace)) / FILE_NAME
        with _registry_lock:
            database = _databases.get(path)
            if database is None:
                database = _databases[path] = cls(path)
            _latest = database
            return database

    def _start_afresh(self) -> None:
        self.pid = os.getpid()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._all_threads = False
        self._thinks_little = False
        self._clean = True
        self._in_use = threading.Lock()
        self._local = threading.local()
        self._left: tuple[int, ...] | None = None
        self._schema_is_current = False
        self._kept: dict[str, Any] = {}

    @property
    def schema_is_current(self) -> bool:
        """Whether the schema was found current, and no other process has changed the file since."""
        return self._schema_is_current and self._left == self._stamp()

    def note_current_schema(self) -> None:
        """Note that the schema was found current."""
        self._schema_is_current = True

    def _stamp(self) -> tuple[int, ...] | None:
        """Another one when the file was changed; None when it is gone."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        # What a killed process committed is in the write-ahead log only.
        return found.st_ino, found.st_size, found.st_mtime_ns, os.path.exists(f"{self.path}.wal")

    @property
    def unit(self) -> UnitOfWork | None:
        """The unit of work that this thread has begun, if any."""
        unit: UnitOfWork | None = getattr(self._local, "unit", None)
        return None if unit is None or unit.over else unit

    @unit.setter
    def unit(self, unit: UnitOfWork | None) -> None:
        self._local.unit = unit

    @contextlib.contextmanager
    def session(
        self, *, write: bool, operation: str, timeout: float, create: bool = False, by_ids: bool = False
    ) -> Iterator[Session]:
        """One locked, attached transaction: committed on leaving, rolled back when an exception leaves.

        With `by_ids` its questions find single rows of one table by their ids, and DuckDB does not think long about them.

        Raises
        ------
        StoreBusyError
            When the store stays held until `timeout` seconds from now.
        WorkspaceError
            When the file cannot be opened, or the disk refuses the commit; nothing of the session is stored then.
        """
        session = self.open_session(write=write, operation=operation, timeout=timeout, create=create, by_ids=by_ids)
        try:
            yield session
        except BaseException:
            self.close_session(session, commit=False)
            raise
        self.close_session(session, commit=True)

    def open_session(
        self, *, write: bool, operation: str, timeout: float, create: bool = False, by_ids: bool = False
    ) -> Session:
        """Take the store and begin; every session opened must be closed with `close_session`."""
        deadline = time.monotonic() + timeout
        self.lock.acquire(exclusive=write, operation=operation, timeout=timeout)
        self._in_use.acquire()
        try:
            found = self._stamp()
            if found is None or found != self._left:
                self._schema_is_current = False
                self._kept = {}
            if found is None and not create:
                raise WorkspaceError(f"The database {self.path} is gone. Restore it from a backup.")
            connection = self._attached(write, operation, deadline, timeout)
            self._think(connection, little=by_ids)
            with interrupts_kept():
                connection.execute("BEGIN")
            return Session(connection, write=write, kept=self._kept)
        except BaseException:
            try:
                self._abandon()
            finally:
                self._let_go()
            raise

    def close_session(self, session: Session, *, commit: bool) -> None:
        """Commit or roll back, detach and let the lock go, whatever happens on the way."""
        if session.pid != os.getpid():
            if commit:
                raise TransactionError(
                    "This unit of work was begun before the fork: it is the parent's, and ends there."
                )
            return
        over = False
        try:
            if commit:
                session.commit()
                over = True
        finally:
            session.connection, connection = None, session.connection
            try:
                if connection is not None:
                    self._detach(connection, over=over)
                self._left = self._stamp()
            finally:
                self._let_go()

    def _let_go(self) -> None:
        # Not held any more when it was interrupted on the way in.
        with contextlib.suppress(RuntimeError):
            self._in_use.release()
        self.lock.release()

    @contextlib.contextmanager
    def held(self, *, operation: str, timeout: float) -> Iterator[None]:
        """Keep everybody else out with nothing attached, to replace the file; `opened` gives sessions meanwhile."""
        self.lock.acquire(exclusive=True, operation=operation, timeout=timeout)
        self._in_use.acquire()
        try:
            yield
        finally:
            self._let_go()

    @contextlib.contextmanager
    def opened(
        self,
        path: Path,
        *,
        write: bool,
        operation: str,
        timeout: float,
        name: str = "ws",
        block_size: int = SMALL_BLOCKS,
    ) -> Iterator[Session]:
        """A session on this or another database file, for whoever has the store `held`.

        Several may be open at once under different names, and see each other's tables by name. One that wrote leaves the file
        checkpointed, with no write-ahead log. A file that is not there is made with blocks of `block_size` bytes.

        Raises
        ------
        StoreBusyError, WorkspaceError
            As in `session`.
        """
        connection = self._instance().cursor()
        session = Session(connection, write=write)
        try:
            self._use_threads(connection, True)
            self._think(connection, little=False)
            self._attach(connection, path, name, write, operation, time.monotonic() + timeout, timeout, block_size)
            connection.execute("BEGIN")
            yield session
            session.commit()
            if write:
                if not session.changes and os.path.exists(f"{path}.wal"):
                    # The log of a process that was killed in the middle of a commit goes only when something was written.
                    connection.execute(f"CREATE TABLE {name}.n4a_written (n INTEGER)")
                    connection.execute(f"DROP TABLE {name}.n4a_written")
                connection.execute(f"CHECKPOINT {name}")
        except duckdb.Error as error:
            raise WorkspaceError(f"The database {path} cannot be written: {error}") from error
        finally:
            session.connection = None
            self._detach(connection, name)
            connection.close()

    def _attached(self, write: bool, operation: str, deadline: float, timeout: float) -> duckdb.DuckDBPyConnection:
        if not self._clean:
            self._abandon()  # an earlier operation ended between attaching and detaching
        self._clean = False
        connection = self._instance()
        self._attach(connection, self.path, "ws", write, operation, deadline, timeout)
        # Threads share the rows of large tables only; handing them the others' takes a third of a small statement's time.
        self._use_threads(connection, self.path.stat().st_size >= LARGE)
        return connection

    def _use_threads(self, connection: duckdb.DuckDBPyConnection, every: bool) -> None:
        if every != self._all_threads:
            connection.execute("RESET threads" if every else "SET threads = 1")
            self._all_threads = every

    def _think(self, connection: duckdb.DuckDBPyConnection, *, little: bool) -> None:
        # Rows are found by their ids in half the time without most of the optimizer. Keys are used all the same; joins want it.
        if little != self._thinks_little:
            others = "SELECT string_agg(name, ',') FROM duckdb_optimizers() WHERE NOT list_contains(?, name)"
            disabled = connection.execute(others, [_NEEDED_FOR_KEYS]).fetchall()[0][0] if little else ""
            connection.execute("SET disabled_optimizers = ?", [disabled])
            self._thinks_little = little

    def _instance(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            # Extensions are never fetched, and what does not fit into memory spills into the system's temporary folder. Most
            # columns of a page of sorted rows are read when it is known which rows are on it.
            self._all_threads = self._thinks_little = False
            self._connection = duckdb.connect(
                ":memory:",
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "late_materialization_max_rows": "100000",
                    "threads": "1",
                    "temp_directory": str(Path(tempfile.gettempdir()) / f"n4a-duckdb-{os.getpid()}"),
                },
            )
        return self._connection

    def _attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path,
        name: str,
        write: bool,
        operation: str,
        deadline: float,
        timeout: float,
        block_size: int = SMALL_BLOCKS,
    ) -> None:
        # An existing file keeps the blocks it was made with.
        mode = " (READ_ONLY)" if not write else "" if path.exists() else f" (BLOCK_SIZE {block_size})"
        target = str(path).replace("'", "''")
        while True:
            try:
                with interrupts_kept():
                    connection.execute(f"ATTACH '{target}' AS {name}{mode}")
                break
            except duckdb.IOException as error:
                foreign = _FOREIGN_HOLDER.search(str(error))
                if foreign is None:
                    raise WorkspaceError(f"The database {path} cannot be opened: {error}") from error
                if time.monotonic() >= deadline:
                    raise StoreBusyError(
                        f"The store {path} was busy for {timeout:g} s, so {operation!r} was not done. Another program "
                        f"has the file open: process {foreign['pid']} ({(foreign['program'] or 'of another container').strip()}). "
                        "Close it there, then try again."
                    ) from error
                time.sleep(0.05)
            except duckdb.Error as error:
                if "already attached" in str(error):
                    raise TransactionError(
                        f"This process has {path} open already: it was forked inside a transaction, or opened the file itself. "
                        "Fork outside transactions, and leave the file to the store."
                    ) from error
                if "Corrupt WAL file" in str(error):
                    raise WorkspaceError(
                        f"The write-ahead log {path}.wal is damaged, so what was committed last cannot be read. Nothing was "
                        "changed. Restore a backup; or move the log elsewhere, keep it, and go on without what it holds. "
                        f"DuckDB says: {error}"
                    ) from error
                raise WorkspaceError(f"The database {path} cannot be opened: {error}") from error
        connection.execute(f"USE {name}")

    def _detach(self, connection: duckdb.DuckDBPyConnection, name: str = "ws", *, over: bool = False) -> None:
        try:
            with interrupts_kept():
                if not over:
                    with contextlib.suppress(duckdb.TransactionException):
                        connection.execute("ROLLBACK")
                connection.execute("USE memory")
                connection.execute(f"DETACH DATABASE IF EXISTS {name}")
            self._clean = True
        except BaseException as error:
            # What was committed is in the write-ahead log and safe. The instance is not to be trusted with the file any more.
            logger.warning("Detaching %s failed (%s); the connection is built anew.", self.path, error)
            self._abandon()
            if not isinstance(error, duckdb.Error):
                raise

    def _abandon(self) -> None:
        """Close this process's DuckDB, which lets go of every file; the next operation builds it anew."""
        connection, self._connection = self._connection, None
        self._clean = True
        if connection is not None:
            connection.close()

    def forget_after_fork(self) -> None:
        """In a forked child: leave the parent's instance alone and start afresh."""
        if self._connection is not None:
            # Its threads stayed in the parent, so destroying it here could hang: keep it for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._start_afresh()


@atexit.register
def _close_at_exit() -> None:
    # DuckDB complains on stderr about every instance that a kept traceback keeps alive until the interpreter is gone.
    for database in list(_databases.values()):
        database._abandon()


# A child inherits DuckDB's list of attached files, so a fork waits until no other thread of this process is at one. Not for ever:
# who forks may hold what that thread is waiting for.
_FORK_PATIENCE = 10.0
_paused: list[threading.Lock] = []


def _before_fork() -> None:
    deadline = time.monotonic() + _FORK_PATIENCE
    for database in list(_databases.values()):
        lock = database._in_use
        if not database.lock.owned_here() and lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _paused.append(lock)


def _after_fork_in_parent() -> None:
    while _paused:
        _paused.pop().release()


def _after_fork_in_child() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    _paused.clear()
    for database in list(_databases.values()):
        database.forget_after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
