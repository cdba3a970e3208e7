"""One open transaction of the store, and how rows get in and out of it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from n4a_flows.storage.errors import InvalidInputError, TransactionError, WorkspaceError
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.schema import ARROW_SCHEMAS


class Session:
    """One open transaction. Rows of the bulk tables are collected and written as one frame per table."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, write: bool, kept: dict[str, Any] | None = None
    ) -> None:
        self.connection: duckdb.DuckDBPyConnection | None = connection
        self.write = write
        self.pid = os.getpid()
        self.changes = 0
        self.broken = False
        """Whether a statement failed: DuckDB goes on with nothing in this transaction then."""
        self.memo: dict[Any, Any] = {}
        """What verbs remember of this transaction, for example ids known to exist."""
        self.kept: dict[str, Any] = {} if kept is None else kept
        """What is known of the file and stays true, whatever becomes of transactions, until another process changes it."""
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

    def tell(self, logger: logging.Logger, message: str, *args: object) -> None:
        """Log at INFO what was done, once it is stored; nothing when it is rolled back."""
        self.after_commit.append(lambda: logger.info(message, *args))

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
        with _translated(self):
            # Read while the file is attached, for a relation is lazy.
            table = self._live().sql(sql, params=list(parameters)).to_arrow_table()
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
        try:
            for table, rows in pending.items():
                self.insert(table, rows)
            for work in deferred.values():
                work()
        except BaseException:
            # Rows were taken that are not written: nothing of this transaction may be committed any more.
            self.broken = True
            raise

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
            collected = pa.Table.from_pylist(list(rows), schema=schema)  # noqa: F841 - DuckDB finds it by its name
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError) as error:
            self.broken = True
            raise InvalidInputError(f"A value cannot be stored by {sql.split(' (')[0]!r}: {error}") from error
        with _translated(self):
            self._live().execute(sql).fetchall()

    def written(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Like `rows`, but what was collected in this transaction stays unwritten and unseen."""
        return self._run(sql, parameters).fetchall()

    def numbers(self, sql: str) -> npt.NDArray[np.int64]:
        """The whole numbers of a query of one column, without those that are NULL; like `written`, sees nothing collected."""
        column = next(iter(self._run(f"SELECT * FROM ({sql}) q(n) WHERE n IS NOT NULL", ()).fetchnumpy().values()))
        return np.asarray(column, dtype=np.int64)

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
        if self.broken:
            raise TransactionError("Nothing was stored, for an earlier statement of this transaction failed.")
        try:
            with interrupts_kept():
                self._live().execute("COMMIT")
        except duckdb.Error as error:
            raise WorkspaceError(f"Nothing was stored, for the commit failed: {error}") from error
        for work in self.after_commit:
            work()

    def _run(self, sql: str, parameters: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        with _translated(self):
            return self._live().execute(sql, list(parameters))

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


@contextlib.contextmanager
def _translated(session: Session) -> Iterator[None]:
    """Turn what DuckDB raises into our errors, and note that the transaction is lost."""
    try:
        with interrupts_kept():
            yield
    except duckdb.Error as error:
        session.broken = True
        if isinstance(error, _VALUE_ERRORS):
            raise InvalidInputError(f"The database refused a value: {error}") from error
        raise WorkspaceError(f"The database could not be read or written: {error}") from error
    except BaseException:
        session.broken = True
        raise


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt where DuckDB hides one behind a plain RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if "Query interrupted" in str(error):
            raise KeyboardInterrupt("interrupted while the database was working") from error
        raise
