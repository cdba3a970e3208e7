"""The one door to `store.duckdb`.

Nothing else opens that file. Every operation takes the lock, attaches the file to this process's in-memory DuckDB, works in one
transaction, detaches and lets the lock go: no handle outlives it, so any number of processes can take turns.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa

from n4a_flows.storage.errors import InvalidInputError, N4AError, StoreBusyError, TransactionError, WorkspaceError
from n4a_flows.storage.locks import StoreLock
from n4a_flows.storage.schema import ARROW_SCHEMAS

if TYPE_CHECKING:
    from n4a_flows.storage.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

FILE_NAME = "store.duckdb"

_registry_lock = threading.Lock()
_databases: weakref.WeakValueDictionary[Path, Database] = weakref.WeakValueDictionary()
_FOREIGN_HOLDER = re.compile(r"Conflicting lock is held in (?P<program>.*?) ?\(PID (?P<pid>\d+)\)", re.DOTALL)


class Database:
    """The database file of one workspace as this process sees it; get it with `Database.at`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = StoreLock(path)
        self._start_afresh()

    @classmethod
    def at(cls, workspace: Path) -> Database:
        """The database of a workspace folder; the same object for every path that leads there."""
        path = Path(os.path.realpath(workspace)) / FILE_NAME
        with _registry_lock:
            database = _databases.get(path)
            if database is None:
                database = _databases[path] = cls(path)
            return database

    def _start_afresh(self) -> None:
        self.pid = os.getpid()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._local = threading.local()

    @property
    def unit(self) -> UnitOfWork | None:
        """The unit of work that this thread has begun, if any."""
        return getattr(self._local, "unit", None)

    @unit.setter
    def unit(self, unit: UnitOfWork | None) -> None:
        self._local.unit = unit

    @contextlib.contextmanager
    def session(self, *, write: bool, operation: str, timeout: float) -> Iterator[Session]:
        """One locked, attached transaction: committed on leaving, rolled back when an exception leaves.

        Raises
        ------
        StoreBusyError
            When the store stays held until `timeout` seconds from now.
        WorkspaceError
            When the file cannot be opened, or the disk refuses the commit; nothing of the session is stored then.
        """
        session = self.open_session(write=write, operation=operation, timeout=timeout)
        try:
            yield session
        except BaseException:
            self.close_session(session, commit=False)
            raise
        self.close_session(session, commit=True)

    def open_session(self, *, write: bool, operation: str, timeout: float) -> Session:
        """Take the store and begin; every session opened must be closed with `close_session`."""
        deadline = time.monotonic() + timeout
        self.lock.acquire(exclusive=write, operation=operation, timeout=timeout)
        try:
            connection = self._attached(write, operation, deadline, timeout)
            try:
                connection.execute("BEGIN")
            except BaseException:
                self._detach(connection)
                raise
        except BaseException:
            self.lock.release()
            raise
        return Session(connection, write=write)

    def close_session(self, session: Session, *, commit: bool) -> None:
        """Commit or roll back, detach and let the lock go, whatever happens on the way."""
        if session.pid != os.getpid():
            return  # a child forked inside the parent's unit of work: it is the parent's to end
        try:
            if commit:
                session.commit()
        finally:
            session.connection, connection = None, session.connection
            try:
                if connection is not None:
                    self._detach(connection)
            finally:
                self.lock.release()

    def _attached(self, write: bool, operation: str, deadline: float, timeout: float) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            # Extensions are never fetched, and what does not fit into memory spills into the system's temporary folder.
            self._connection = duckdb.connect(
                ":memory:",
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "temp_directory": str(Path(tempfile.gettempdir()) / f"n4a-duckdb-{os.getpid()}"),
                },
            )
        mode = "" if write else " (READ_ONLY)"
        target = str(self.path).replace("'", "''")
        while True:
            try:
                self._connection.execute(f"ATTACH '{target}' AS ws{mode}")
                break
            except duckdb.IOException as error:
                foreign = _FOREIGN_HOLDER.search(str(error))
                if foreign is None:
                    raise WorkspaceError(f"The database {self.path} cannot be opened: {error}") from error
                if time.monotonic() >= deadline:
                    raise StoreBusyError(
                        f"The store {self.path} was busy for {timeout:g} s, so {operation!r} was not done. Another program "
                        f"has the file open: process {foreign['pid']} ({foreign['program'].strip()}). "
                        "Close it there, then try again."
                    ) from error
                time.sleep(0.05)
            except duckdb.Error as error:
                raise WorkspaceError(f"The database {self.path} cannot be opened: {error}") from error
        self._connection.execute("USE ws")
        return self._connection

    def _detach(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            with contextlib.suppress(duckdb.TransactionException):
                connection.execute("ROLLBACK")
            connection.execute("USE memory")
            connection.execute("DETACH ws")
        except duckdb.Error as error:
            # What was committed is in the write-ahead log and safe. The instance is not to be trusted with the file any more.
            logger.warning("Detaching %s failed (%s); the connection is built anew.", self.path, error)
            self._connection = None
            connection.close()

    def forget_after_fork(self) -> None:
        """In a forked child: leave the parent's instance alone and start afresh."""
        if self._connection is not None:
            # Its threads stayed in the parent, so destroying it here could hang: keep it for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._start_afresh()


class Session:
    """One open transaction. Rows of the bulk tables are collected and written as one frame per table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, write: bool) -> None:
        self.connection: duckdb.DuckDBPyConnection | None = connection
        self.write = write
        self.pid = os.getpid()
        self.changes = 0
        self.broken = False
        """Whether a statement failed: DuckDB goes on with nothing in this transaction then."""
        self.memo: dict[Any, Any] = {}
        """What verbs remember of this transaction, for example ids known to exist."""
        self.before_commit: dict[str, Callable[[], None]] = {}
        """Last looks by name, for example that the file of an artifact is still there."""
        self.after_commit: list[Callable[[], None]] = []
        """What follows the commit while the store is still held, for example removing files whose rows went."""
        self._pending: dict[str, list[dict[str, Any]]] = {}
        self._deferred: dict[str, Callable[[], None]] = {}

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement that changes the database, after everything collected so far."""
        self.changed(sql, parameters)

    def changed(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Like `execute`; returns how many rows the statement changed."""
        self.flush()
        self.changes += 1
        # Read to its end: DuckDB refuses the next statement while a result is unfinished.
        rows = self._run(sql, parameters).fetchall()
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Collect one row of a table; it is written before the next read or change, or at commit."""
        self.changes += 1
        self._pending.setdefault(table, []).append(row)

    def amend(self, table: str, key: str, identity: str, columns: Mapping[str, Any]) -> None:
        """Set columns of the row with this id, in what was collected if it is still there."""
        self.changes += 1
        for row in self._pending.get(table, ()):
            if row[key] == identity:
                row.update(columns)
                return
        assignments = ", ".join(f"{column} = ?" for column in columns)
        self.execute(f"UPDATE {table} SET {assignments} WHERE {key} = ?", [*columns.values(), identity])

    def defer(self, name: str, work: Callable[[], None]) -> None:
        """Do some work once, when the collected rows have been written."""
        self.changes += 1
        self._deferred.setdefault(name, work)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Fetch all rows of a query as tuples; sees everything collected so far."""
        self.flush()
        return self._run(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any] | None:
        """Fetch the first row of a query as a dict, or None."""
        rows = self.dicts(sql, parameters)
        return rows[0] if rows else None

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """Fetch a query as a polars frame; sees everything collected so far."""
        self.flush()
        try:
            # Read while the file is attached, for a relation is lazy.
            table = self._live().sql(sql, params=list(parameters)).to_arrow_table()
        except duckdb.Error as error:
            self.broken = True
            raise _translated(error) from error
        # As a stream: the other ways into polars use its threads, which a forked child does not have.
        return pl.DataFrame(table.to_reader())

    def dicts(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Fetch all rows of a query as dicts; sees everything collected so far."""
        self.flush()
        result = self._run(sql, parameters)
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def flush(self) -> None:
        """Write the collected rows, one statement a table, then do what was deferred until then."""
        pending, self._pending = self._pending, {}
        deferred, self._deferred = self._deferred, {}
        for table, rows in pending.items():
            self.insert(table, rows)
        for work in deferred.values():
            work()

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, whose keys are columns of the table, in one statement."""
        if rows:
            columns = ", ".join(ARROW_SCHEMAS[table].names)
            self.execute_with(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM collected", rows, ARROW_SCHEMAS[table]
            )

    def execute_with(self, sql: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        """Run a statement in which `collected` stands for these rows. What was collected before is not written first."""
        try:
            arrow = pa.Table.from_pylist(list(rows), schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InvalidInputError(f"A value has the wrong type for its column: {error}") from error
        connection = self._live()
        connection.register("collected", arrow)
        try:
            self._run(sql, ()).fetchall()
        finally:
            connection.unregister("collected")

    def written(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Like `rows`, but what was collected in this transaction stays unwritten and unseen."""
        return self._run(sql, parameters).fetchall()

    def commit(self) -> None:
        """Write what was collected and commit.

        Raises
        ------
        WorkspaceError
            When the database refuses, for example on a full disk; nothing is stored then.
        """
        for check in self.before_commit.values():
            check()
        self.flush()
        try:
            self._live().execute("COMMIT")
        except duckdb.Error as error:
            raise WorkspaceError(f"Nothing was stored, for the commit failed: {error}") from error
        for work in self.after_commit:
            work()

    def _run(self, sql: str, parameters: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        try:
            return self._live().execute(sql, list(parameters))
        except duckdb.Error as error:
            self.broken = True
            raise _translated(error) from error

    def _live(self) -> duckdb.DuckDBPyConnection:
        if self.connection is None:
            raise TransactionError("This unit of work is over; start another one with store.transaction().")
        return self.connection


_VALUE_ERRORS = (
    duckdb.ConversionException,
    duckdb.ConstraintException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
)


def _translated(error: duckdb.Error) -> N4AError:
    if isinstance(error, _VALUE_ERRORS):
        return InvalidInputError(f"The database refused a value: {error}")
    return WorkspaceError(f"The database could not be read or written: {error}")


def _after_fork_in_child() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    for database in list(_databases.values()):
        database.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
