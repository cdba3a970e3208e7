"""Any number of verbs as one atomic commit."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from n4a_flows.storage.database import Database
from n4a_flows.storage.errors import TransactionError
from n4a_flows.storage.session import Session

if TYPE_CHECKING:
    from asyncio import Task


class UnitOfWork:
    """What `store.transaction()` opens. It takes the store at its first database verb and keeps it until it ends."""

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._session: Session | None = None
        self._doomed_by: BaseException | None = None
        self._owner = _here()
        self.over = False

    def session(self, operation: str) -> Session:
        """The session of this unit, opened now if this is its first verb."""
        self.refuse_elsewhere()
        self.refuse_if_doomed()
        if self._session is None:
            self._session = self._database.open_session(
                write=True, operation=f"transaction: {operation}", timeout=self._timeout
            )
        return self._session

    def doom(self, error: BaseException) -> None:
        """Note that nothing of this unit may be committed any more."""
        self._doomed_by = self._doomed_by or error

    def refuse_if_doomed(self) -> None:
        """Raise `TransactionError` when an earlier error left this unit half done."""
        if self._doomed_by is not None:
            raise TransactionError(
                f"This transaction cannot go on, nothing of it will be stored: an earlier part failed with "
                f"{type(self._doomed_by).__name__}: {self._doomed_by}"
            ) from self._doomed_by

    def refuse_elsewhere(self) -> None:
        """Raise `TransactionError` unless called by the thread and the asyncio task that began this unit."""
        if self._owner != _here():
            raise TransactionError(
                "A transaction belongs to the thread and the asyncio task that began it, and this is another one. Do not wait for "
                "anything inside a transaction."
            )

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, and give the store back."""
        self.over = True
        session, self._session = self._session, None
        if session is not None:
            self._database.close_session(session, commit=commit and self._doomed_by is None)


def _here() -> tuple[int, int, Task[Any] | None]:
    # Whoever runs a task has imported asyncio; importing it here would only take time.
    asyncio = sys.modules.get("asyncio")
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:
        task = None
    return os.getpid(), threading.get_ident(), task


@contextlib.contextmanager
def transaction(database: Database, timeout: float) -> Iterator[UnitOfWork]:
    """Begin a unit of work, or join the one that this thread has begun.

    An exception that leaves an inner one dooms the outer, even if it is caught in between.
    """
    outer = database.unit
    if outer is not None:
        outer.refuse_elsewhere()
        try:
            yield outer
        except BaseException as error:
            outer.doom(error)
            raise
        return
    unit = database.unit = UnitOfWork(database, timeout)
    try:
        try:
            yield unit
        except BaseException:
            unit.end(commit=False)
            raise
        unit.end(commit=True)
        unit.refuse_if_doomed()
    finally:
        if database.unit is unit:
            database.unit = None


@contextlib.contextmanager
def verb(
    database: Database, *, write: bool, operation: str, timeout: float, create: bool = False, by_ids: bool = False
) -> Iterator[Session]:
    """The session for one verb: that of the unit of work at hand, else one of its own (see `Database.session`)."""
    unit = database.unit
    if unit is None:
        with database.session(
            write=write, operation=operation, timeout=timeout, create=create, by_ids=by_ids
        ) as session:
            yield session
        return
    session = unit.session(operation)
    before = session.changes
    try:
        yield session
    except BaseException as error:
        # A verb that was refused before it changed anything leaves the unit whole; one torn in the middle does not.
        if session.changes != before or session.broken:
            unit.doom(error)
        raise
