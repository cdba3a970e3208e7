"""How far a flow run is: shown in the Prefect UI, and told to whoever called the flow from Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

Listener = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_UPDATE_EVERY = 1.0  # seconds; an update of the UI costs a request to the server

_listener: ContextVar[Listener | None] = ContextVar("n4a_flows_progress_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` about the progress of the flows that are called inside this block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Progress:
    """Counts what a flow run has done. To be made and advanced in the flow itself."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._updated = time.monotonic()
        # In a synchronous flow these two are synchronous, which their types do not say.
        self._report = cast(UUID, create_progress_artifact(progress=0.0, description=what)) if total else None
        self._tell()

    def advance(self, number: int) -> None:
        """`number` more are done."""
        self._done += number
        self._tell()
        finished = self._done >= self._total
        if self._report is not None and (finished or time.monotonic() - self._updated >= _UPDATE_EVERY):
            self._updated = time.monotonic()
            update_progress_artifact(self._report, progress=100.0 * self._done / self._total)

    def _tell(self) -> None:
        listener = _listener.get()
        if listener is not None:
            listener(self._what, self._done, self._total)
