"""Where runs come from, and which died: one whose flow run is over, or whose process is gone, will never end by itself."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from n4a_flows.storage.clock import now
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

FlowRunIsOver = Callable[[str], bool | None]
"""Whether a flow run, by its id, has ended; None when the server does not know it."""

_CLOCK_STEP = 2.0
"""Seconds by which the start of one and the same process may seem to move when the clock is set."""

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""That of a Linux machine itself; the kernel gives it this number."""


@dataclass(frozen=True)
class RunOrigin:
    """A run that has not ended, and who is recording it.

    Attributes
    ----------
    run_id, name
        The run.
    created_at
        When it began, naive UTC.
    flow_run_id
        The Prefect flow run, None without Prefect.
    host, pid, process_started_at
        The process; the three name it for good. None for a run of a workspace that was upgraded.
    """

    run_id: str
    name: str
    created_at: datetime
    flow_run_id: str | None
    host: str | None
    pid: int | None
    process_started_at: datetime | None

    def why_dead(self, flow_run_is_over: FlowRunIsOver | None = None) -> str | None:
        """Why this run will never end by itself, or None when that is not certain.

        It is dead when the server says that its flow run is over, and when its process is gone from this host, whatever the server
        says: for a server, a flow run whose process was killed goes on running.
        """
        if self.flow_run_id is not None and flow_run_is_over is not None and flow_run_is_over(self.flow_run_id):
            return f"The flow run {self.flow_run_id} is over, but did not end this run."
        if self.host != _host() or self.pid is None or self.process_started_at is None:
            return None
        started = _started(self.pid)
        if started is not None and abs((started - self.process_started_at).total_seconds()) <= _CLOCK_STEP:
            return None
        return f"The process {self.pid} on {self.host} that recorded this run is gone."


@dataclass(frozen=True)
class ReapedRun:
    """A run that was ended as failed, for whoever recorded it is gone.

    Attributes
    ----------
    run_id, name
        The run.
    reason
        How it is known.
    """

    run_id: str
    name: str
    reason: str


def of_this_process() -> dict[str, Any]:
    """Host, pid and start of this process, as `run_origins` holds them."""
    pid = os.getpid()
    return {"host": _host(), "pid": pid, "process_started_at": _started(pid)}


def _host() -> str:
    """Where a pid says something: this machine or, when the process lives in a container, that container.

    Containers may share the name of their host, but not its processes.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return socket.gethostname()  # no Linux
    return socket.gethostname() if namespace == _FIRST_PID_NAMESPACE else f"{socket.gethostname()} {namespace}"


def _started(pid: int) -> datetime | None:
    """When a process of this host began, naive UTC; None when there is none that runs."""
    import psutil  # takes a while, and who only reads needs it not

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return datetime.fromtimestamp(process.create_time(), UTC).replace(tzinfo=None)
    except psutil.NoSuchProcess:
        return None


def running(session: Session) -> list[RunOrigin]:
    """The runs that have not ended, the oldest first."""
    rows = session.rows(
        "SELECT r.run_id, r.name, r.created_at, o.flow_run_id, o.host, o.pid, o.process_started_at FROM runs r "
        "LEFT JOIN run_origins o USING (run_id) WHERE r.status = 'running' ORDER BY r.created_at, r.rowid"
    )
    return [RunOrigin(*row) for row in rows]


def reap(session: Session, run_id: str, reason: str) -> bool:
    """End a run, and those of its pipelines that have not ended, as failed; False when it had ended already.

    What pipelines recorded stays: a whole pipeline is worth keeping, and retention takes failed runs.
    """
    running = "status = 'running' AND run_id = ?"
    if not session.rows(f"SELECT 1 FROM runs WHERE {running}", [run_id]):
        return False
    for table in ("pipelines", "runs"):
        sql = f"UPDATE {table} SET status = 'failed', completed_at = ?, error = ? WHERE {running}"
        session.execute(sql, [now(), reason, run_id])
    session.tell(logger, "Run %s was ended as failed: %s", run_id, reason)
    return True
